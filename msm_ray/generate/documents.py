"""Documents about a spec: every idea of the outline goes through an engine and becomes one row, accepted or rejected.

Several specs share one engine. Rows land in Parquet shards as they come; an id that is in a shard is done, so the same call
after a kill goes on with the rest. A rejected answer (truncated, refused, empty, unparsable) is sampled anew, up to `attempts`
times in all, and so is a row that the engine refuses for its own sake. A row that was lost to the engine or the network is
written nowhere: its job has failed, and the next call asks again. Many rows go through Ray's workers (`at_size/`), few through
this process; what comes of a row is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msm_ray import progress
from msm_ray.ahead import NOTHING_AHEAD, Ahead
from msm_ray.engines import EngineSettings
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, OutOfMeans
from msm_ray.generate.asking import ask
from msm_ray.generate.at_size import AT_SIZE
from msm_ray.generate.at_size.documents import write_at_size
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_rows import JobRows
from msm_ray.generate.written import Counts, document_counts
from msm_ray.rows.dataset_card import write_documents_card


def write_all_documents(
    jobs: Sequence[DocumentJob],
    engines: Engines,
    on_finished: Callable[[DocumentJob, Counts], None] = lambda job, counts: None,
    on_failed: Callable[[DocumentJob, MsmError], None] | None = None,
    ahead: Ahead = NOTHING_AHEAD,
) -> list[Counts]:
    """Write the documents of every job, those with the same engine settings through one engine; counts in the jobs' order.

    A job that is whole is told to `on_finished` at once, one that is not to `on_failed`; without that, the first failure is
    raised in the end: StageError where rows were lost (what is written stays, and the same call goes on), QualityGateError
    where the engine refused too many for their own sake. OutOfMeans (quota, credentials, disk) is always
    raised, at once. ahead: is given files as Ray's workers finish them.
    """
    groups: dict[tuple[EngineSettings, ...], list[DocumentJob]] = {}
    failures: list[MsmError] = []
    for job in jobs:
        groups.setdefault(tuple(writer.engine() for writer in job.writers), []).append(job)
    for group in groups.values():
        for job, failure in zip(group, _write_group(group, engines, ahead), strict=True):
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


def _write_group(jobs: list[DocumentJob], engines: Engines, ahead: Ahead = NOTHING_AHEAD) -> list[MsmError | None]:
    """Write the jobs of the same writers; for each, why it is not whole, if it is not."""
    rows = sum(len(job.ideas()) for job in jobs)
    if rows > AT_SIZE and not any(writer.who.engine == "replay" for job in jobs for writer in job.writers):
        with progress.task("", rows, "documents", waits_for="the first of them") as work:
            return write_at_size(jobs, engines, work, ahead)
    tables = [JobRows(number, job) for number, job in enumerate(jobs)]
    stopped: MsmError | None = None
    settled = sum(table.settled for table in tables)
    try:
        with progress.task("", rows, "documents", done=settled, waits_for="the engine to start") as work:
            ask(tables, engines, work)
    except MsmError as error:
        stopped = error
    return [table.problem(stopped) for table in tables]
