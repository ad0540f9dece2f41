"""Rates and verdicts below a root as tables, for notebooks: `msm_ray.results("runs/quickstart").rates.to_pandas()`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from msm_ray.evals import verdicts as verdicts_file
from msm_ray.look.entries import Entry, made_from, read_root
from msm_ray.rows.tables import read_table
from msm_ray.stats import Rate, Verdict, rate

if TYPE_CHECKING:
    import pandas

_TYPES = {"float": pa.float64(), "int": pa.int64(), "tuple[str, ...]": pa.list_(pa.string())}
RATE_SCHEMA = pa.schema([(field.name, _TYPES.get(str(field.type), pa.string())) for field in fields(Rate)])
"""The columns of `stats.Rate`, whose docstring says what each is."""
VERDICT_SCHEMA = verdicts_file.SCHEMA.append(verdicts_file.SHARE).append(pa.field("seed", pa.int64()))
"""One row a rollout, as in `verdicts.parquet`, and the training seed of the arm that was asked."""


class Frames(NamedTuple):
    """The same tables as pandas data frames."""

    rates: pandas.DataFrame
    verdicts: pandas.DataFrame


@dataclass(frozen=True)
class Results:
    """What was measured below a root. rates: one row an eval, arm and condition (null: all conditions); verdicts: one a rollout.

    Both are Arrow tables.
    """

    rates: pa.Table
    verdicts: pa.Table

    def to_pandas(self) -> Frames:
        """Both as data frames. Needs pandas, which nothing else here does."""
        return Frames(self.rates.to_pandas(), self.verdicts.to_pandas())


def read_results(root: str | Path) -> Results:
    """The newest verdicts of every arm and seed below a root, and rates over them as in the report.

    Evals whose answers are only shown have verdicts without a value, and no rates. Raises SettingsError where there is no
    artifact.
    """
    entries = read_root(Path(root))
    judged = [e for e in entries if e.artifact.stage == "verdicts" and e.state in ("present", "stale")]
    tables = [_with_seed(entry, entries) for entry in judged]
    scored = [row for e, table in zip(judged, tables, strict=True) if _is_scored(e) for row in table.to_pylist()]
    found = [asdict(each) for each in _rates(scored)]
    return Results(
        pa.Table.from_pylist(found, RATE_SCHEMA), pa.concat_tables(tables) if tables else VERDICT_SCHEMA.empty_table()
    )


def _is_scored(entry: Entry) -> bool:
    return entry.artifact.record["settings"].get("scored", True)


def _with_seed(entry: Entry, entries: list[Entry]) -> pa.Table:
    table = read_table(entry.folder / verdicts_file.FILE)
    seeds = pa.array([_seed(entry, entries)] * table.num_rows, pa.int64())
    if verdicts_file.SHARE.name not in table.column_names:
        table = table.append_column(verdicts_file.SHARE, pa.nulls(table.num_rows, pa.float64()))
    return table.append_column("seed", seeds).select(VERDICT_SCHEMA.names).cast(VERDICT_SCHEMA)


def _seed(entry: Entry, entries: list[Entry]) -> int:
    """By the record of the rollouts that were judged; where these are gone, by the name, which ends with it."""
    seeds = [
        e.artifact.record["settings"].get("seed") for e in made_from(entry, entries) if e.artifact.stage == "rollouts"
    ]
    known = [seed for seed in seeds if seed is not None]
    return int(known[-1] if known else entry.artifact.name.rpartition("-s")[2])


def _rates(rows: list[dict[str, Any]]) -> list[Rate]:
    """Of each eval and arm over all conditions, then of each condition."""
    by_arm: dict[tuple[str, str], list[Verdict]] = {}
    for row in rows:
        verdict = verdicts_file.as_verdict(row)
        by_arm.setdefault((row["eval"], row["arm"]), []).append(verdict)
    found = []
    for verdicts in by_arm.values():
        conditions = sorted({verdict.condition for verdict in verdicts})
        found += [rate(verdicts), *(rate(verdicts, condition) for condition in conditions)]
    return found
