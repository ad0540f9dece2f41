"""The questions of an eval as a file, the same for every arm and seed: `items.parquet` in the stage's folder.

Columns that every eval has: id (a hash of what is asked), system (text or null), user, condition, cluster (what hangs
together in the statistics: a pair's domain, a scenario's condition), epochs (how often each arm is asked), world (whose rules
judge). unit: what is one draw, such as both orders of two things. The rest is the eval's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.evals.held_out import Marks
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_table_rows, write_own_table

FILE = "items.parquet"
LEAST_LEFT = 0.5
"""Share of the items that has to be left when those that documents name are taken out."""


def read_items(folder: Path) -> list[Row]:
    """The items of a stage folder, in their order. Raises `SettingsError` when there are none."""
    file = folder / FILE
    if not file.is_file():
        raise SettingsError(f"{folder} holds no {FILE}; make the items stage first")
    return read_table_rows(file)


def turns_of(item: Row) -> list[dict[str, str]]:
    """The turns that an item is asked with."""
    system = [{"role": "system", "content": item["system"]}] if item["system"] else []
    return [*system, {"role": "user", "content": item["user"]}]


def item(own: Row, *, condition: str, cluster: str, world: str, epochs: int = 1) -> Row:
    """An item without its id, from the eval's own columns (`user` among them)."""
    return {"system": None, **own, "condition": condition, "cluster": cluster, "epochs": epochs, "world": world}


def marks_in(marks: Marks, written: Iterable[str]) -> set[str]:
    """The marks that some written document holds."""
    return {mark for text in written for mark in marks.found_in(text)}


def write_items(
    out: Path,
    rows: Sequence[Row],
    what: str,
    named: Collection[str] = (),
    marks_of: Callable[[Row], Collection[str]] = lambda row: (),
) -> dict[str, int]:
    """Write items under their ids; returns counts. what: their name for messages, in the plural.

    Identity is content: an id hashes what is asked, and which copy of it this is where the same was drawn twice. named: marks
    that written documents hold; rows with one are left out for all arms, and counted. Raises `SettingsError` where there is
    no row, `QualityGateError` where fewer than half are left.
    """
    copies: Counter[str] = Counter()
    identified = []
    for row in rows:
        content = json.dumps({key: value for key, value in row.items() if key not in ("unit", "names")}, sort_keys=True)
        identified.append({"id": hashlib.sha256(f"{content}{copies[content]}".encode()).hexdigest()[:16], **row})
        copies[content] += 1
    if not identified:
        raise SettingsError(f"no {what}: check the eval's settings")
    kept = [row for row in identified if set(named).isdisjoint(marks_of(row))] if named else identified
    if len(kept) < LEAST_LEFT * len(identified):
        raise QualityGateError(
            f"{len(identified) - len(kept)} of {len(identified)} {what} are named in written documents "
            f"({', '.join(sorted(named)[:5])}): fewer than half are held out. Ask about other things"
        )
    write_own_table(out / FILE, kept)
    counts = {"rows": len(kept), "asked": len(identified), "rollouts": sum(row["epochs"] for row in kept)}
    lost = len(identified) - len(kept)
    return {**counts, "rejected: named in written documents": lost} if lost else counts


def fill(template: str, **slots: str) -> str:
    """Named slots only, in one pass: any other brace is text, and so is what a slot brings along."""
    names = "|".join(re.escape(name) for name in slots)
    return re.sub(rf"\{{({names})\}}", lambda slot: str(slots[slot[1]]).strip(), template)
