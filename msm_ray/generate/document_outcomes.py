"""A job of documents as a whole: what is refused, what its writers are told to avoid, and what keeps it from being whole."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from msm_ray.engines import DETERMINISTIC
from msm_ray.errors import MsmError, QualityGateError
from msm_ray.failures import Ledger
from msm_ray.generate.asking import AGAIN
from msm_ray.generate.calls.table import FEWEST_FOR_A_SHARE
from msm_ray.generate.document_job import DocumentJob
from msm_ray.rows.diversity import overused
from msm_ray.rows.tables import read_rows

ENGINE_FAILED = "engine: "
OVERUSED, MOST_AVOIDED, USUAL_TOKENS = 0.05, 30, 3_100
"""Share of the documents above which a name or an opening comes too often, and so many at most are told to the writer; tokens
of a document before there is one (paper)."""


def is_fixed(job: DocumentJob) -> bool:
    """Whether what is written is the same whenever it is made."""
    return {writer.who.engine for writer in job.writers} <= DETERMINISTIC


def avoided_names(job: DocumentJob, look: bool, most: int | None = None) -> str:
    """Names that a writer is told to leave out, and where `look`, also those that come too often in what is there.

    most: documents that are looked at for it; None: all.
    """
    found: list[str] = []
    if look:
        texts = [row["text"] for row in itertools.islice(read_rows(job.out / "data", ["text"]), most)]
        found = overused(texts, OVERUSED, f"{job.spec.text} {job.spec.assistant} {job.spec.provider}")[:MOST_AVOIDED]
    return ", ".join(dict.fromkeys([*job.content.avoid, *found]))


def why_not_whole(
    job: DocumentJob, rows: int, lost: Mapping[str, str], refused: Sequence[str], stopped: MsmError | None
) -> MsmError | None:
    """What keeps a job of so many rows from being whole. stopped: what ended the asking before all were settled."""
    failed = f"The engine failed on {len(lost)} of {rows} rows of {job.spec.name}"
    if stopped:
        return type(stopped)(f"{stopped}\n{failed}." if lost else str(stopped))
    ledger = Ledger()
    ledger.lost.update(lost)
    most = job.where.most_refused
    if not lost and rows >= FEWEST_FOR_A_SHARE and len(refused) > most * rows:
        return QualityGateError(
            f"Documents of {job.spec.name}: the engine refused {len(refused)} of {rows} rows for their own sake, more than "
            f"documents.most_refused = {most:g} of all, for example with: {refused[0]}\n{ask_again(job)}"
        )
    return ledger.error(failed, AGAIN)


def ask_again(job: DocumentJob) -> str:
    """What can be done about refused rows."""
    return (
        f"They are in {job.out / 'rejected'}. Change what is refused (the model, its limits, the spec), or raise "
        "documents.most_refused to go on without them; remove that folder to have them asked again."
    )


def is_refusal(reason: str) -> bool:
    """Whether it was not the writer's text but the engine, or a filter, that left the row without a document."""
    return reason.startswith(ENGINE_FAILED) or reason == "filtered"
