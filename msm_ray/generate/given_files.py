"""The files in which somebody else's rows lie: a user's own, or a data set's, fetched from the hub."""

from __future__ import annotations

from pathlib import Path

from msm_ray import progress
from msm_ray.errors import SettingsError
from msm_ray.generate.given_settings import GivenRows
from msm_ray.rows.hub import fetch_files


def files_of(rows: GivenRows, out: Path, what: str) -> tuple[list[Path], str]:
    """The files, and the commit of a data set that comes from the hub ("" for a file).

    out: where a data set's files are put. what: whose rows they are, for messages. Raises SettingsError where no one place is
    named or no file is meant, PreflightError where the hub does not give them.
    """
    if rows.misplaced:
        raise SettingsError(f"{what} {rows.misplaced}.")
    if rows.path:
        return [Path(rows.path)], ""
    assert rows.hub
    with progress.waiting(rows.hub, "the hub"):
        return fetch_files(rows.hub, rows.revision, rows.split, rows.files, out)
