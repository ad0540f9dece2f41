"""What a worker does once it is known which documents are kept: their rows are sent to where their ids belong, and written there.

Each piece of the documents is read once more and cut by the ranks of its rows, so that whoever writes some files of the corpus
has all of their rows, in the order of ids, and nobody has more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from msm_ray.corpus.dedup import EXACT, LOOSE
from msm_ray.corpus.examining import Examined
from msm_ray.corpus.near_duplicates import similarity
from msm_ray.corpus.rules import Findings
from msm_ray.corpus.summary import COUNTED, Summary
from msm_ray.generate.faithfulness import Faithful
from msm_ray.rows.diversity import Said
from msm_ray.rows.pieces import read_piece
from msm_ray.rows.schemas import CORPUS_SCHEMA, DOCUMENT_SCHEMA, REJECTED_CORPUS_SCHEMA
from msm_ray.rows.tables import write_groups

SHARD_ROWS = 10_000
RANK = pa.field("rank", pa.int64())
NEAR, UNFAITHFUL = "near-duplicate", "unfaithful"
KEPT, FAILED = 0, 1
STATES = ("", "", EXACT, LOOSE, NEAR, UNFAITHFUL)
"""What the number of a document stands for: kept, failed (why, its piece's worker knows), or left out for another reason."""


@dataclass(frozen=True)
class Verdicts:
    """What was decided of some rows of a piece. places: theirs; states: by STATES; firsts: ids of what each is the same as or
    most like, null without; equal: numbers of their signatures that are equal; judged: what a judge said, by places."""

    places: NDArray[np.int32]
    states: NDArray[np.uint8]
    firsts: pa.StringArray
    equal: NDArray[np.uint8]
    judged: Mapping[int, Faithful]

    def findings(self) -> dict[int, Findings]:
        """Of those that are left out by it, by their places."""
        found: dict[int, Findings] = {}
        for place, state, first, equal in self._rows():
            if reason := STATES[state]:
                found[place] = {reason: self._detail(place, reason, first, equal)}
        return found

    def like(self) -> dict[int, tuple[str, float]]:
        """(id, similarity) of what each is most like, by their places."""
        same = (STATES.index(EXACT), STATES.index(LOOSE))
        return {
            place: (first, similarity(equal))
            for place, state, first, equal in self._rows()
            if first and state not in same
        }

    def _rows(self) -> Iterator[tuple[int, int, str, int]]:
        columns = (self.places.tolist(), self.states.tolist(), self.firsts.to_pylist(), self.equal.tolist())
        return zip(*columns, strict=True)

    def _detail(self, place: int, reason: str, first: str, equal: int) -> str:
        if reason == UNFAITHFUL:
            return f"{self.judged[place].score}: {self.judged[place].told}"
        return f"{similarity(equal):.2f} like {first}" if reason == NEAR else f"the same as {first}"


@dataclass(frozen=True)
class Cut:
    """Where the rows of a piece go, by ranks. kept: ranks from which on rows go to the next writer; left_out: ranks of those that
    are left out, from which on they are in the next part of the rejected. Each begins with 0."""

    kept: NDArray[np.int64]
    left_out: NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """Which kept documents are looked at more closely, by their places among all that are kept: every so manieth for names and
    openings, every so manieth for what is repeated, and some for the card."""

    said: int
    repeated: int
    samples: frozenset[int]


def cut(examined: Examined, verdicts: Verdicts, where: Cut) -> tuple[pa.Table | None, ...]:
    """A table for each writer of kept rows, then one for each part of the rejected; None: no row of this piece goes there."""
    taken = examined.taken
    rows = read_piece(taken.piece, DOCUMENT_SCHEMA).take(pa.array(taken.rows))
    findings, like = {**examined.findings, **verdicts.findings()}, verdicts.like()
    told = [findings.get(place) for place in range(rows.num_rows)]
    likes = [like.get(place, (None, None)) for place in range(rows.num_rows)]
    words = [verdicts.judged.get(place) for place in range(rows.num_rows)]
    columns = {
        "words": examined.words.tolist(),
        "similar_to": [first for first, _ in likes],
        "similarity": [share for _, share in likes],
        "faithfulness": [word and word.score for word in words],
        "findings": [each and _told(each) for each in told],
        "reason": [each and next(iter(each)) for each in told],
        "raw": [each and next(iter(each.values())) for each in told],
    }
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values, REJECTED_CORPUS_SCHEMA.field(name).type))
    rows = rows.select(REJECTED_CORPUS_SCHEMA.names).append_column(RANK, pa.array(taken.ranks, pa.int64()))
    out = np.array([each is not None for each in told], bool)
    return (
        *_parts(rows.select([*CORPUS_SCHEMA.names, "rank"]), taken.ranks, ~out, where.kept),
        *_parts(rows, taken.ranks, out, where.left_out),
    )


def write_kept(out: Path, first: int, each: int, drawn: Drawn, *given: pa.Table | None) -> tuple[Any, ...]:
    """(Summary, `Said` of the documents drawn for it, texts of those drawn for what is repeated) of the rows of one writer.

    first: the number of its first file; each: rows of a file.
    """
    rows, start = _in_order(given, CORPUS_SCHEMA), first * each
    for at in range(0, max(1, rows.num_rows), each):
        write_groups(shard(out, first + at // each), [rows.slice(at, each)], CORPUS_SCHEMA)
    places = np.arange(start, start + rows.num_rows)
    samples = rows.filter(pa.array(np.isin(places, list(drawn.samples)))).to_pylist()
    few = rows.select([*COUNTED, "words", "num_generated_tokens", "spec_digest"]).to_pylist()
    said, repeated = (
        rows.column("text").filter(pa.array(places % step == 0)).to_pylist() for step in (drawn.said, drawn.repeated)
    )
    return Summary.of(few, samples), Said.of(said), repeated


def write_rejected(out: Path, each: int, fetch: Callable[[Any], Any], parts: Sequence[Sequence[Any]]) -> int:
    """`rejected.parquet`: of each part the tables of all pieces, fetched part by part. Returns the number of its rows.

    each: rows of a row group, of which every part but the last is a multiple.
    """
    written = 0

    def groups() -> Iterator[pa.Table]:
        nonlocal written
        for part in parts:
            table = _in_order([fetch(given) for given in part], REJECTED_CORPUS_SCHEMA)
            written += table.num_rows
            yield from (table.slice(at, each) for at in range(0, table.num_rows, each))

    write_groups(out / "rejected.parquet", groups(), REJECTED_CORPUS_SCHEMA)
    return written


def shard(out: Path, number: int) -> Path:
    """The file of the corpus with this number."""
    return out / "data" / f"part-{number:06d}.parquet"


def _told(findings: Findings) -> str:
    return "; ".join(f"{reason}: {detail}" if detail else reason for reason, detail in findings.items())


def _parts(
    rows: pa.Table, ranks: NDArray[np.int32], chosen: NDArray[np.bool_], starts: NDArray[np.int64]
) -> Iterator[pa.Table | None]:
    to = np.where(chosen, np.searchsorted(starts, ranks, side="right") - 1, -1)
    for part in range(len(starts)):
        places = np.flatnonzero(to == part)
        yield rows.take(pa.array(places)) if len(places) else None


def _in_order(given: Sequence[pa.Table | None], schema: pa.Schema) -> pa.Table:
    tables = [table for table in given if table is not None]
    if not tables:
        return schema.empty_table()
    rows = pa.concat_tables(tables)
    return rows.take(pc.sort_indices(rows.column("rank"))).select(schema.names).combine_chunks()
