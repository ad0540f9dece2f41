"""What rewrites leave: rewritten documents with all that is known of where they come from, and the rest with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msm_ray.generate.calls.answers import Answers, read_answer, text_tokens
from msm_ray.generate.calls.table import ENGINE_FAILED
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

    The same answers give the same files. answers: all raw answers, which stay beside them.
    """
    rows = [_row(each, answers, how) for each in found]
    kept, rejected = [row for row in rows if not row["reason"]], [row for row in rows if row["reason"]]
    _write(out / "data", kept, REWRITE_SCHEMA)
    _write(out / "rejected", rejected, REJECTED_REWRITE_SCHEMA)
    counts = _counts(found, kept, rejected, answers)
    write_rewrites_card(out, name, {"rewrite": how.rewrite, "spec digest": spec.digest, **counts})
    return counts


def _row(each: Rewritten, answers: Answers, how: RewriteContent) -> Row:
    """The row of a document. One that stays is still the text of who wrote it first, and says so."""
    own = {"id": each.id, "rewrite": how.rewrite, "rewrite_of": each.row["id"], "faults": "", "reason": "", "raw": ""}
    if each.told and each.told.stays:
        return each.row | own
    answer, reason = _decisive(each, answers)
    told = each.told or Told("")
    by = {column: answer[column] for column in (*FROM_ANSWER, *COUNTED)}
    text = {
        "text": told.text or None,
        "tokens": text_tokens(told.text, answer["raw"], answer["num_generated_tokens"] or 0),
        "faults": "\n".join(told.faults),
    }
    return each.row | own | by | text | {"reason": reason, "raw": answer["raw"] if reason else ""}


def _decisive(each: Rewritten, answers: Answers) -> tuple[Row, str]:
    """The answer that could be used, or the last and why it could not."""
    last, why = {}, "empty"
    for answer in answers.by_request[each.asked.id]:
        failed = (answer["reason"] or "").startswith(ENGINE_FAILED)
        last, why = answer, answer["reason"] if failed else read_answer(each.asked, answer)[1]
        if not why:
            break
    return last, why


def _counts(found: Sequence[Rewritten], kept: Sequence[Row], rejected: Sequence[Row], answers: Answers) -> Counts:
    reasons = Counter(str(row["reason"]).partition(":")[0] for row in rejected)
    faults = Counter(kind for each in found if each.told for kind in fault_kinds(each.told.faults))
    asked = answers.counts()
    return {
        "documents": len(kept),
        "unchanged": sum(bool(each.told and each.told.stays) for each in found),
        "rejected": len(rejected),
        **{name: asked[name] for name in ("answers", "answers_rejected", "tokens_read", "tokens_written")},
        "tokens": sum(row["tokens"] or 0 for row in kept) or None,
        **{f"fault: {kind}": count for kind, count in sorted(faults.items())},
        **{f"rejected: {reason}": count for reason, count in sorted(reasons.items())},
    }


def _write(folder: Path, rows: list[Row], schema: Any) -> None:
    for old in folder.glob("*.parquet"):
        old.unlink()
    for start in range(0, len(rows), SHARD_ROWS):
        write_table(folder / f"part-{start // SHARD_ROWS:06d}.parquet", rows[start : start + SHARD_ROWS], schema)
