"""What rewrites leave: rewritten documents with all that is known of where they come from, and the rest with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msm_ray import progress
from msm_ray.generate.calls import Asked, Requests
from msm_ray.generate.calls.answers import Answers, ByRequest, Decisive, text_tokens
from msm_ray.generate.rewrites.conversation import AllRewritten, Rewritten
from msm_ray.generate.rewrites.kinds import Told, fault_kinds
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.graph.heads import row_digest
from msm_ray.rows.by_place import Made
from msm_ray.rows.dataset_card import write_rewrites_card
from msm_ray.rows.ids import ID, packed_array, unpacked
from msm_ray.rows.schemas import REJECTED_REWRITE_SCHEMA, REWRITE_SCHEMA, Row
from msm_ray.rows.tables import read_table_rows, write_table
from msm_ray.spec import Spec
from msm_ray.workers import HERE, Workers

SHARD_ROWS = 256
FROM_ANSWER = ("engine", "generator", "prompt_version", "temperature", "top_p", "attempt")
COUNTED = ("num_input_tokens", "num_generated_tokens")
DIGEST = np.dtype("V32")
Counts = dict[str, Any]


def write_rewrites(
    out: Path,
    found: AllRewritten,
    answers: Answers,
    name: str,
    on_written: Callable[[Iterator[tuple[str, str]]], Any] = lambda rows: None,
    workers: Workers = HERE,
) -> Counts:
    """Write `data/`, `rejected/` and the card of what came of some documents; returns what there is now.

    The same answers give the same files, a shard of each for every so many documents, whoever writes them. answers: all raw
    answers, which stay beside them. on_written: told (id, digest) of each rewritten document, in order.
    """
    for old in (path for folder in ("data", "rejected") for path in (out / folder).glob("*.parquet")):
        old.unlink()
    shards = np.split(np.arange(len(found), dtype=np.int32), np.arange(SHARD_ROWS, len(found), SHARD_ROWS))
    sent = workers.share((out, found.asked.make, found.spec, found.how))

    def job(number: int) -> tuple[Any, ...]:
        things, ids = found.asked.things_at(shards[number]), found.asked.ids[shards[number]]
        return sent, number, things, ids, answers.by_request.part(map(unpacked, ids))

    tally, written = _Tally(), dict[int, Written]()
    jobs = Made(len(shards), job)
    with progress.task("", len(found), "rewritten documents", waits_for="the first of them") as work:
        for number, ((counted, those),) in workers.each(_write_shard, jobs):
            tally.add(counted)
            written[number] = those
            work.advance(len(shards[number]))
    on_written(_each(written))
    counts = tally.counts(answers)
    facts = {"rewrite": found.how.rewrite, "spec digest": found.spec.digest, **counts}
    write_rewrites_card(out, name, facts)
    return counts


Written = tuple[NDArray[np.bytes_], NDArray[np.void]]
"""Ids and digests of rewritten documents."""


def _each(written: Mapping[int, Written]) -> Iterator[tuple[str, str]]:
    for number in sorted(written):
        ids, digests = written[number]
        yield from ((unpacked(key), digest.tobytes().hex()) for key, digest in zip(ids, digests, strict=True))


def _write_shard(
    sent: tuple[Path, Callable[[Row], Asked], Spec, RewriteContent],
    number: int,
    rows: Sequence[Row],
    ids: NDArray[np.bytes_],
    answers: ByRequest,
) -> tuple[_Tally, Written]:
    """The shard of some documents: what is counted of them, and those that were rewritten."""
    out, make, spec, how = sent
    asked = Requests(rows, make, ids.copy())
    decided = [answers.decisive(each) for each in asked]
    found = AllRewritten(asked, [each.value for each in decided], spec, how)
    tally, kept, rejected = _Tally(), list[Row](), list[Row]()
    for each, by in zip(found, decided, strict=True):
        row = _row(each, by, how)
        (rejected if row["reason"] else kept).append(row)
        tally.count(each, row)
    file = f"part-{number:06d}.parquet"
    if rejected:
        write_table(out / "rejected" / file, rejected, REJECTED_REWRITE_SCHEMA)
    if not kept:
        return tally, (np.zeros(0, ID), np.zeros(0, DIGEST))
    write_table(out / "data" / file, kept, REWRITE_SCHEMA)
    there = read_table_rows(out / "data" / file)
    digests = b"".join(bytes.fromhex(row_digest(row)) for row in there)
    return tally, (packed_array(row["id"] for row in there), np.frombuffer(digests, DIGEST))


def _row(each: Rewritten, found: Decisive, how: RewriteContent) -> Row:
    """The row of a document. One that stays is still the text of who wrote it first, and says so."""
    own = {"id": each.id, "rewrite": how.rewrite, "rewrite_of": each.row["id"], "faults": "", "reason": "", "raw": ""}
    if each.told and each.told.stays:
        return each.row | own
    answer, told = found.answer or {}, each.told or Told("")
    by = {column: answer[column] for column in (*FROM_ANSWER, *COUNTED)}
    text = {
        "text": told.text or None,
        "tokens": text_tokens(told.text, answer["raw"], answer["num_generated_tokens"] or 0),
        "faults": "\n".join(told.faults),
    }
    return each.row | own | by | text | {"reason": found.reason, "raw": answer["raw"] if found.reason else ""}


@dataclass
class _Tally:
    """What came of documents, counted one by one."""

    documents: int = 0
    unchanged: int = 0
    tokens: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, each: Rewritten, row: Row) -> None:
        """Take one more into account. row: what is written of it."""
        if each.told:
            self.unchanged += each.told.stays
            self.faults.update(fault_kinds(each.told.faults))
        if row["reason"]:
            self.reasons[str(row["reason"]).partition(":")[0]] += 1
        else:
            self.documents += 1
            self.tokens += row["tokens"] or 0

    def add(self, other: _Tally) -> None:
        """Take what was counted of others into account."""
        self.documents += other.documents
        self.unchanged += other.unchanged
        self.tokens += other.tokens
        self.faults += other.faults
        self.reasons += other.reasons

    def counts(self, answers: Answers) -> Counts:
        """What is told of all of them."""
        asked = answers.counts()
        return {
            "documents": self.documents,
            "unchanged": self.unchanged,
            "rejected": self.reasons.total(),
            **{name: asked[name] for name in ("answers", "answers_rejected", "tokens_read", "tokens_written")},
            "tokens": self.tokens or None,
            **{f"fault: {kind}": count for kind, count in sorted(self.faults.items())},
            **{f"rejected: {reason}": count for reason, count in sorted(self.reasons.items())},
        }
