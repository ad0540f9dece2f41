"""Documents about a spec: every idea of the outline goes through an engine and becomes one row, accepted or rejected.

Several specs share one engine start. Rows land in Parquet shards as they come; an id that is in a shard is done, so the same
call after a kill goes on with the rest. A rejected answer (truncated, refused, empty, unparsable) is sampled anew, up to
`attempts` times in all, and so is a row that the engine refuses for its own sake. A row that was lost to the engine or the
network is written nowhere: its job has failed, and the next call asks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from msm_ray import progress
from msm_ray.engines import EngineSettings
from msm_ray.engines.spending import Spending
from msm_ray.errors import MsmError, OutOfMeans
from msm_ray.generate.asking import ask
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_rows import ENGINE_FAILED, JobRows
from msm_ray.placement.settings import WorkerSettings
from msm_ray.rows.dataset_card import write_documents_card
from msm_ray.rows.tables import read_rows

Counts = dict[str, int | float | str]


def write_all_documents(
    jobs: Sequence[DocumentJob],
    workers: WorkerSettings,
    on_finished: Callable[[DocumentJob, Counts], None] = lambda job, counts: None,
    on_failed: Callable[[DocumentJob, MsmError], None] | None = None,
    spending: Spending | None = None,
) -> list[Counts]:
    """Write the documents of every job, those with the same engine settings through one engine; counts in the jobs' order.

    A job that is whole is told to `on_finished` at once, one that is not to `on_failed`; without that, the first failure is
    raised in the end: StageError where rows were lost (what is written stays, and the same call goes on), QualityGateError
    where the engine refused too many for their own sake. OutOfMeans (quota, credentials, disk) is always raised, at once.
    """
    groups: dict[tuple[EngineSettings, ...], list[DocumentJob]] = {}
    failures: list[MsmError] = []
    for job in jobs:
        groups.setdefault(tuple(writer.engine() for writer in job.writers), []).append(job)
    for group in groups.values():
        for job, failure in zip(group, _write_group(group, workers, spending), strict=True):
            if failure is None:
                on_finished(job, _with_card(job))
                continue
            failures.append(failure)
            if on_failed:
                on_failed(job, failure)
        spent = [failure for failure in failures if isinstance(failure, OutOfMeans)]
        if spent:
            raise spent[0]
    if failures and on_failed is None:
        raise failures[0]
    return [document_counts(job) for job in jobs]


def document_counts(job: DocumentJob) -> Counts:
    """What a documents folder holds: documents, ideas without one and why, tokens read and written."""
    data = list(read_rows(job.out / "data", ["id", "tokens", "num_input_tokens", "num_generated_tokens"]))
    tokens = sum(row["tokens"] or 0 for row in data)
    done = {row["id"] for row in data}
    rejected = list(read_rows(job.out / "rejected", ["id", "reason", "num_input_tokens", "num_generated_tokens"]))
    failed = {row["id"]: row["reason"] for row in rejected if row["id"] not in done}
    reasons = Counter(_short(reason) for reason in failed.values())
    return {
        "documents": len(done),
        "rejected": len(failed),
        "answers_rejected": len(rejected),
        "tokens_read": sum(row["num_input_tokens"] for row in data + rejected),
        "tokens_written": sum(row["num_generated_tokens"] for row in data + rejected),
        **({"target_tokens_reached": 1} if job.target_tokens and tokens >= job.target_tokens else {}),
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}


def _with_card(job: DocumentJob) -> Counts:
    """Write the card of a job that is whole; returns what it holds."""
    counts = document_counts(job)
    by = {
        "generator": ", ".join(writer.generator for writer in job.writers),
        "prompt": job.world.prompt_version,
    }
    facts = {"spec digest": job.spec.digest, **by, **counts}
    write_documents_card(job.out, job.spec.name, facts)
    return counts


def _write_group(
    jobs: list[DocumentJob], workers: WorkerSettings, spending: Spending | None = None
) -> list[MsmError | None]:
    """Write the jobs of the same writers; for each, why it is not whole, if it is not."""
    tables = [JobRows(number, job) for number, job in enumerate(jobs)]
    stopped: MsmError | None = None
    asked, settled = sum(len(table.rows) for table in tables), sum(table.settled for table in tables)
    try:
        with progress.task("", asked, "documents", done=settled, waits_for="the engine to start") as work:
            ask(tables, workers, work, spending)
    except MsmError as error:
        stopped = error
    return [table.problem(stopped) for table in tables]


def _short(reason: str) -> str:
    return "engine" if reason.startswith(ENGINE_FAILED) else reason
