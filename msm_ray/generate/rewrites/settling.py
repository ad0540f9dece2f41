"""What rewrites leave: rewritten documents with all that is known of where they come from, and the rest with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msm_ray.generate.calls.answers import Answers, text_tokens
from msm_ray.generate.rewrites.conversation import Rewritten
from msm_ray.generate.rewrites.kinds import Told, fault_kinds
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.rows.dataset_card import write_rewrites_card
from msm_ray.rows.schemas import REJECTED_REWRITE_SCHEMA, REWRITE_SCHEMA, Row
from msm_ray.rows.tables import write_table
from msm_ray.spec import Spec

SHARD_ROWS = 256
FROM_ANSWER = ("engine", "generator", "prompt_version", "temperature", "top_p", "attempt")
COUNTED = ("num_input_tokens", "num_generated_tokens")
Counts = dict[str, Any]


def write_rewrites(
    out: Path, found: Sequence[Rewritten], answers: Answers, spec: Spec, how: RewriteContent, name: str
) -> Counts:
    """Write `data/`, `rejected/` and the card of what came of some documents; returns what there is now.

    The same answers give the same files, a shard after the other. answers: all raw answers, which stay beside them.
    """
    kept = _Shards(out / "data", REWRITE_SCHEMA)
    rejected = _Shards(out / "rejected", REJECTED_REWRITE_SCHEMA)
    tally = _Tally()
    for each in found:
        row = _row(each, answers, how)
        (rejected if row["reason"] else kept).add(row)
        tally.count(each, row)
    kept.flush()
    rejected.flush()
    counts = tally.counts(answers)
    write_rewrites_card(out, name, {"rewrite": how.rewrite, "spec digest": spec.digest, **counts})
    return counts


def _row(each: Rewritten, answers: Answers, how: RewriteContent) -> Row:
    """The row of a document. One that stays is still the text of who wrote it first, and says so."""
    own = {"id": each.id, "rewrite": how.rewrite, "rewrite_of": each.row["id"], "faults": "", "reason": "", "raw": ""}
    if each.told and each.told.stays:
        return each.row | own
    found = answers.decisive(each.asked)
    answer, told = found.answer or {}, each.told or Told("")
    by = {column: answer[column] for column in (*FROM_ANSWER, *COUNTED)}
    text = {
        "text": told.text or None,
        "tokens": text_tokens(told.text, answer["raw"], answer["num_generated_tokens"] or 0),
        "faults": "\n".join(told.faults),
    }
    return each.row | own | by | text | {"reason": found.reason, "raw": answer["raw"] if found.reason else ""}


class _Shards:
    """The shards of a folder, each written when it is full; those of before are removed."""

    def __init__(self, folder: Path, schema: Any):
        self.folder, self.schema, self.number = folder, schema, 0
        self.waiting: list[Row] = []
        for old in folder.glob("*.parquet"):
            old.unlink()

    def add(self, row: Row) -> None:
        """Take the next row."""
        self.waiting.append(row)
        if len(self.waiting) == SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            write_table(self.folder / f"part-{self.number:06d}.parquet", self.waiting, self.schema)
            self.number, self.waiting = self.number + 1, []


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
