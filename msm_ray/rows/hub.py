"""Files of a data set on the Hugging Face hub: which of them are meant, and how they come here. Nothing of it is run.

The files are read by the same reader as a user's own (`files.py`), so that one bad row costs that row; `load_dataset` would
refuse the whole set for a row of another form.
"""

from __future__ import annotations

import fnmatch
import glob
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from msm_ray.errors import MsmError, PreflightError, SettingsError

DATASET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FORMATS = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
"""Endings of files with rows, the preferred ones first: some data sets hold the same rows twice."""
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")


def fetch_files(hub: str, revision: str | None, split: str, files: str | None, out: Path) -> tuple[list[Path], str]:
    """Bring a data set's files into `out`; returns them in order of name, and the commit that they are of.

    Raises SettingsError where no file is meant, PreflightError where the hub cannot be asked or does not give them.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    shutil.rmtree(out, ignore_errors=True)  # half a copy of an interrupted try
    disable_progress_bars()  # ours is the display
    try:
        about = HfApi().dataset_info(hub, revision=revision)
        names = choose_files([each.rfilename for each in about.siblings or ()], split, files, hub)
        meant = list(map(glob.escape, names))
        snapshot_download(hub, repo_type="dataset", revision=about.sha, local_dir=out, allow_patterns=meant)
    except MsmError:
        raise
    except (
        Exception
    ) as error:  # of the hub, of the disk, or of whichever client the library asks through: httpx, httpx2
        raise PreflightError(
            f"{hub}: the data set could not be had from the hub ({type(error).__name__}); look at its name and revision, give "
            "access to the hub (HF_TOKEN where it is gated), or fetch its files elsewhere and name one under `path:`"
        ) from None
    shutil.rmtree(out / ".cache", ignore_errors=True)
    return [out / name for name in names], str(about.sha)


def choose_files(names: Sequence[str], split: str, files: str | None, hub: str = "") -> list[str]:
    """The files of a data set that are meant: by a pattern, else by the split's name, in one format.

    Raises SettingsError where none is, with what there is.
    """
    there = sorted(name for name in names if name.lower().endswith(FORMATS))
    if files is not None:
        meant = [name for name in there if fnmatch.fnmatchcase(name, files)]
    else:
        named = [name for name in there if any(_speaks_of(name, each) for each in SPLITS)]
        meant = [name for name in there if _speaks_of(name, split)] if named else there
    formats = [ending for ending in FORMATS if any(name.lower().endswith(ending) for name in meant)]
    if not formats:
        listed = ", ".join(there[:8]) or "no JSONL or Parquet file"
        asked = f"files: {files}" if files else f"split: {split}"
        raise SettingsError(f"{hub}: no file for {asked}; there is: {listed}. Name them under `files:`")
    return [name for name in meant if name.lower().endswith(formats[0])]


def _speaks_of(name: str, split: str) -> bool:
    """Whether a path has the split as a word: `data/train-00000-of-00002.parquet`, `train/0.jsonl`."""
    return re.search(rf"(?<![a-z]){re.escape(split.lower())}(?![a-z])", name.lower()) is not None
