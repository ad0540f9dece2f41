"""Documents about a spec: every idea of the outline goes through an engine and becomes one row, accepted or rejected.

Several specs share one engine start. Rows land in Parquet shards as they come; an id that is in a shard is done, so the same
call after a kill goes on with the rest. A rejected answer (truncated, refused, empty, unparsable) is sampled anew, up to
`attempts` times in all, and so is a row that the engine refuses for its own sake. A row that was lost to the engine or the
network is written nowhere: its job has failed, and the next call asks again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray import progress
from msm_ray.config import DocumentSettings, WorkerSettings
from msm_ray.engines import DETERMINISTIC
from msm_ray.engines.choosing import build_engine, generator_name
from msm_ray.errors import MsmError, OutOfMeans, QualityGateError
from msm_ray.failures import Ledger
from msm_ray.generate.outline import Idea, Outline, list_ideas
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.rounds import AGAIN, Round
from msm_ray.generate.shards import FixedShards, GrowingShards
from msm_ray.rows.dataset_card import write_documents_card
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_rows
from msm_ray.spec import Spec
from msm_ray.worlds import world

if TYPE_CHECKING:
    from ray.data import Dataset

ENGINE_FAILED = "engine: "
Counts = dict[str, int | float | str]


@dataclass(frozen=True)
class DocumentJob:
    """One spec's documents. out: its stage folder. model: the writer's weights (folder or hub id) or the endpoint's model.

    chat_template_kwargs: the experiment's, with which a writer that chats is asked.
    """

    out: Path
    spec: Spec
    outline: Outline
    settings: DocumentSettings
    model: str
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def write_documents(
    out: Path, spec: Spec, outline: Outline, settings: DocumentSettings, workers: WorkerSettings, base: Path | str
) -> dict[str, int | float | str]:
    """Stage: the documents of one spec in `out` (see `write_all_documents`). base: the writer unless settings name one."""
    job = DocumentJob(out, spec, outline, settings, settings.model or str(base))
    return write_all_documents([job], workers)[0]


def write_all_documents(
    jobs: Sequence[DocumentJob],
    workers: WorkerSettings,
    on_finished: Callable[[DocumentJob, Counts], None] = lambda job, counts: None,
    on_failed: Callable[[DocumentJob, MsmError], None] | None = None,
) -> list[Counts]:
    """Write the documents of every job, those with the same engine settings through one engine; counts in the jobs' order.

    A job that is whole is told to `on_finished` at once, one that is not to `on_failed`; without that, the first failure is
    raised in the end: StageError where rows were lost (what is written stays, and the same call goes on), QualityGateError
    where the engine refused too many for their own sake. OutOfMeans (quota, credentials, disk) is always raised, at once.
    """
    groups: dict[tuple, list[DocumentJob]] = {}
    failures: list[MsmError] = []
    for job in jobs:
        groups.setdefault(_engine_key(job), []).append(job)
    for group in groups.values():
        for job, failure in zip(group, _write_group(group, workers), strict=True):
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
    data = list(read_rows(job.out / "data", ["id", "num_input_tokens", "num_generated_tokens"]))
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
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}


def _with_card(job: DocumentJob) -> Counts:
    """Write the card of a job that is whole; returns what it holds."""
    counts = document_counts(job)
    generator = generator_name(job.settings, job.model)
    facts = {
        "spec digest": job.spec.digest,
        "generator": generator,
        "prompt": world(job.settings.prompt).prompt_version,
        **counts,
    }
    write_documents_card(job.out, job.spec.name, facts)
    return counts


def planned_ideas(outline: Outline, settings: DocumentSettings) -> list[Idea]:
    """The ideas that will be written: at most `documents`, and with recordings without ids no more than there are."""
    documents = settings.documents
    if settings.engine == "replay":
        from msm_ray.engines.replay import count_recorded

        documents = min(documents, count_recorded(settings))
    return list_ideas(outline, documents)


def row_id(spec: Spec, idea: Idea, version: str, copy: int = 0) -> str:
    """The id of an idea's row: a hash of what makes it, never of when or where it was made.

    copy: how many equal ideas came before it (an edited outline may say a thing twice): each is a row of its own.
    """
    parts = (spec.digest, version, idea.domain, idea.subdomain, idea.type, idea.text, *([str(copy)] if copy else []))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _engine_key(job: DocumentJob) -> tuple:
    """Jobs with equal keys can share an engine."""
    settings = job.settings
    return (
        settings.engine,
        settings.prompt,
        job.model,
        settings.replay,
        settings.url,
        settings.key_variable,
        settings.sampling.seed,
        settings.batch_size,
        settings.in_flight,
    )


def _write_group(jobs: list[DocumentJob], workers: WorkerSettings) -> list[MsmError | None]:
    """Write the jobs of one engine; for each, why it is not whole, if it is not."""
    tables = [JobRows(number, job) for number, job in enumerate(jobs)]
    stopped: MsmError | None = None
    asked, settled = sum(len(table.rows) for table in tables), sum(table.settled for table in tables)
    try:
        with progress.task("", asked, "documents", done=settled, waits_for="the engine to start") as work:
            _ask_in_rounds(tables, workers, work)
    except MsmError as error:
        stopped = error
    return [table.problem(stopped) for table in tables]


def _ask_in_rounds(tables: list[JobRows], workers: WorkerSettings, work: progress.Task) -> None:
    """All attempts: a round for what is missing, then one for what was rejected, and so on."""
    jobs = [table.job for table in tables]
    specs = {job.spec.digest: job.spec for job in jobs}
    first = jobs[0].settings
    rounds = 1 if first.engine in DETERMINISTIC else max(job.settings.attempts for job in jobs)
    for attempt in range(rounds):
        rows = [row for table in tables for row in table.pending()]
        if not rows:
            break
        seed, options = first.sampling.seed + attempt, jobs[0].chat_template_kwargs
        engine = build_engine(first, workers, jobs[0].model, specs, seed, options)
        dataset = _prompt_dataset(rows, jobs)
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when it is imported
        Round(tables, work).collect(engine(dataset), first.no_progress_minutes)


class JobRows:
    """The rows of one job: which are still to be written, and where the finished ones go."""

    def __init__(self, number: int, job: DocumentJob):
        self.number, self.job = number, job
        settings, ideas = job.settings, planned_ideas(job.outline, job.settings)
        self.world = world(settings.prompt)
        self.version = self.world.prompt_version
        self.fixed = settings.engine in DETERMINISTIC
        self.shards: FixedShards | GrowingShards = (
            FixedShards(job.out, len(ideas)) if self.fixed else GrowingShards(job.out)
        )
        copies: Counter[str] = Counter()
        self.rows = {row["id"]: row for row in (self._row(idea, copies) for idea in ideas)}
        self.lost: dict[str, str] = {}
        self.done = {row["id"] for row in read_rows(job.out / "data", ["id"])}
        rejected = [(row["id"], row["reason"]) for row in read_rows(job.out / "rejected", ["id", "reason"])]
        self.tries = Counter(key for key, _ in rejected)
        self.refused = {key: reason for key, reason in rejected if _is_refusal(reason)}
        self.settled = len(self.rows) - len(self.pending())

    def _row(self, idea: Idea, copies: Counter[str]) -> Row:
        sampling = self.job.settings.sampling
        plain = row_id(self.job.spec, idea, self.version)
        copies[plain] += 1
        return {
            "id": row_id(self.job.spec, idea, self.version, copies[plain] - 1),
            "job": self.number,
            "position": idea.position,
            "spec_digest": self.job.spec.digest,
            "domain": idea.domain,
            "subdomain": idea.subdomain,
            "type": idea.type,
            "idea": idea.text,
            "assertion": idea.assertion,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }

    def pending(self) -> list[Row]:
        """Rows that have no document yet and tries left, with the number of the attempt."""
        if isinstance(self.shards, FixedShards):
            return [row | {"attempt": 1} for row in self.rows.values() if not self.shards.done(row["position"])]
        left = [
            row
            for key, row in self.rows.items()
            if key not in self.done and self.tries[key] < self.job.settings.attempts
        ]
        return [row | {"attempt": self.tries[row["id"]] + 1} for row in left]

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why this is not the whole: the asking was stopped, rows were lost, or too many were refused for their own sake."""
        name = self.job.spec.name
        failed = f"The engine failed on {len(self.lost)} of {len(self.rows)} rows of {name}"
        if stopped and self.pending():
            return type(stopped)(f"{stopped}\n{failed}." if self.lost else str(stopped))
        ledger = Ledger()
        ledger.lost.update(self.lost)
        refused = [reason for key, reason in self.refused.items() if key not in self.done]
        most = self.job.settings.most_refused
        if not self.lost and len(refused) > most * len(self.rows):
            return QualityGateError(
                f"Documents of {name}: the engine refused {len(refused)} of {len(self.rows)} rows for their own sake, more than "
                f"documents.most_refused = {most:g} of all, for example with: {refused[0]}\n{self.ask_again()}"
            )
        return ledger.error(failed, AGAIN)

    def ask_again(self) -> str:
        """What can be done about refused rows."""
        folder = self.job.out / "rejected"
        return (
            f"They are in {folder}. Change what is refused (the model, its limits, the spec), or raise "
            "documents.most_refused to go on without them; remove that folder to have them asked again."
        )

    def settle(self, row: Row) -> bool:
        """Turn a completion, or the engine's refusal, into a document or a rejected row and hand it to the shards.

        Returns whether the row is settled now and was not before: it has its document, or no tries left.
        """
        self.lost.pop(row["id"], None)
        if row["id"] in self.done:
            return False  # a restarted actor may answer twice
        settings, spec = self.job.settings, self.job.spec
        if row["failure"]:
            text, reason = None, ENGINE_FAILED + row["error"]
        else:
            text, reason = parse_document(row["completion"], row["finish_reason"], self.world, self.fixed)
        self.tries[row["id"]] += 1
        if _is_refusal(reason):
            self.refused[row["id"]] = reason
        if text is not None:
            self.done.add(row["id"])
        self.shards.add(
            row
            | {
                "text": text,
                "reason": reason,
                "raw": row["completion"],
                "spec": spec.name,
                "engine": settings.engine,
                "generator": generator_name(settings, self.job.model),
                "prompt_version": self.version,
                "temperature": settings.sampling.temperature,
            },
            row["position"],
        )
        return text is not None or self.fixed or self.tries[row["id"]] == settings.attempts


def _prompt_dataset(rows: list[Row], jobs: list[DocumentJob]) -> Dataset:
    """The rows as a dataset of small blocks (one batch each, so that results stream), prompts rendered in Ray tasks."""
    import pyarrow as pa
    import ray

    # A list a worker gets once; a prompt with a whole spec in it exists only while its row is on the way.
    context = ray.put([(job.spec, job.settings.prompt) for job in jobs])
    needed = jobs[0].settings.engine not in DETERMINISTIC

    def render(row: dict[str, Any]) -> dict[str, Any]:
        spec, name = ray.get(context)[row["job"]]
        return row | {"prompt": world(name).document_prompt(spec, row)}

    size = jobs[0].settings.batch_size
    blocks = [pa.Table.from_pylist(list(part)) for part in _batched(rows, size)]
    dataset = ray.data.from_arrow(blocks)
    return dataset.map(render) if needed else dataset


def _batched(rows: list[Row], size: int) -> Iterable[tuple[Row, ...]]:
    iterator = iter(rows)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


def _is_refusal(reason: str) -> bool:
    """Whether it was not the writer's text but the engine, or a filter, that left the row without a document."""
    return reason.startswith(ENGINE_FAILED) or reason == "filtered"


def _short(reason: str) -> str:
    return "engine" if reason.startswith(ENGINE_FAILED) else reason
