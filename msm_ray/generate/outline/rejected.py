"""What a writer gave for an outline and that is not in it, in a file beside it, so that it can be looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msm_ray.generate.outline.parts import Rejected
from msm_ray.rows.schemas import REJECTED_ITEM_SCHEMA
from msm_ray.rows.tables import write_table


def write_rejected(out: Path, rejected: Sequence[Rejected]) -> None:
    """`rejected.parquet` in a folder, where anything was rejected."""
    if rejected:
        write_table(out / "rejected.parquet", [_row(each) for each in rejected], REJECTED_ITEM_SCHEMA)


def _row(each: Rejected) -> dict[str, str]:
    said = "\0".join((each.level, each.about, each.reason, each.text))
    return {
        "id": hashlib.sha256(said.encode()).hexdigest()[:24],
        "call": each.level,
        "about": each.about,
        "reason": each.reason,
        "raw": each.text,
    }
