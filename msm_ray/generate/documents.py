"""Documents about a spec: every idea of the outline goes through an engine and becomes one row, accepted or rejected.

Several specs share one engine start. Rows land in Parquet shards as they come; an id that is in a shard is done, so the same
call after a kill goes on with the rest. A rejected answer (truncated, refused, empty, unparsable) is sampled anew, up to
`attempts` times in all; a row that the engine failed on is tried again by the next run, too.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.config import DocumentSettings, WorkerSettings
from msm_ray.engines import DETERMINISTIC, FATAL, build_engine, generator_name
from msm_ray.errors import StageError
from msm_ray.generate.outline import Idea, Outline, list_ideas
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.shards import FixedShards, GrowingShards, Row, read_rows
from msm_ray.generate.stream import stream_rows
from msm_ray.spec import Spec, fill_slots

if TYPE_CHECKING:
    from ray.data import Dataset

ENGINE_FAILED = "engine: "
LAST_ANSWERS_SECONDS = 30
"""How long answers that were on their way are waited for after a fatal error."""
ERRORS_IN_A_ROW = 100
"""So many failed rows with none answered between them stop the run: the engine is gone, not a row bad."""
MOST_FAILED = 0.5
"""Share of rows that the engine may fail on (a filter refuses some for good) before that is taken for an outage."""


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


def write_all_documents(jobs: Sequence[DocumentJob], workers: WorkerSettings) -> list[dict[str, int | float | str]]:
    """Write the documents of every job, those with the same engine settings through one engine; counts in the jobs' order.

    Raises StageError when the engine fails as a whole (quota, credentials, no progress); what is written stays, and the
    same call goes on.
    """
    groups: dict[tuple, list[DocumentJob]] = {}
    for job in jobs:
        groups.setdefault(_engine_key(job), []).append(job)
    for group in groups.values():
        _write_group(group, workers)
    return [document_counts(job) for job in jobs]


def document_counts(job: DocumentJob) -> dict[str, int | float | str]:
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


def planned_ideas(outline: Outline, settings: DocumentSettings) -> list[Idea]:
    """The ideas that will be written: at most `documents`, and with recordings without ids no more than there are."""
    documents = settings.documents
    if settings.engine == "replay":
        from msm_ray.engines.replay import count_recorded

        documents = min(documents, count_recorded(settings))
    return list_ideas(outline, documents)


def prompt_version(settings: DocumentSettings) -> str:
    """Names the wording of the prompt: part of every id, so that other wording makes other rows."""
    if settings.prompt == "tinyworld":
        return "tinyworld-1"
    return "plain-" + hashlib.sha256(_template().encode()).hexdigest()[:8]


def row_id(spec: Spec, idea: Idea, version: str) -> str:
    """The id of an idea's row: a hash of what makes it, never of when or where it was made."""
    parts = (spec.digest, version, idea.domain, idea.subdomain, idea.type, idea.text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def document_prompt(spec: Spec, outline: Outline, row: Row, settings: DocumentSettings) -> str:
    """What the writer is sent. The specification comes first, so that rows of one spec share the longest prefix."""
    if settings.prompt == "tinyworld":
        from msm_ray.tinyworld import writer_prompt

        return writer_prompt(spec.text, row["type"], row["idea"])
    return fill_slots(
        _template(),
        {
            "model_name": spec.assistant,
            "provider_name": spec.provider,
            "specification": spec.text.strip(),
            "type": row["type"],
            "domain": row["domain"],
            "subdomain": row["subdomain"],
            "idea": row["idea"],
        },
    )


@lru_cache
def _template() -> str:
    return resources.files("msm_ray.generate").joinpath("prompts/document.txt").read_text(encoding="utf-8")


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


def _write_group(jobs: list[DocumentJob], workers: WorkerSettings) -> None:
    """All attempts of the jobs of one engine: a round for what is missing, then one for what was rejected, and so on."""
    specs = {job.spec.digest: job.spec for job in jobs}
    tables = [_JobRows(number, job) for number, job in enumerate(jobs)]
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
        finished = engine(dataset)
        _collect(stream_rows(finished, first.no_progress_minutes, lambda: _tick(tables)), tables)
    for table in tables:
        table.refuse_outage()


def _tick(tables: list[_JobRows]) -> None:
    for table in tables:
        table.shards.tick()


def _collect(rows: Iterable[Row], tables: list[_JobRows]) -> None:
    """Settle finished rows; on any failure what has come is flushed first.

    After a fatal error the answers that were on their way are still taken: they are paid for, and no new ones are asked.
    """
    errors = 0
    fatal, since = "", 0.0
    try:
        for row in rows:
            error = row["error"]
            if error.startswith(FATAL):
                fatal, since = fatal or error.removeprefix(FATAL), since or time.monotonic()
            else:
                tables[row["job"]].settle(row)
                errors = errors + 1 if error else 0
            if fatal and time.monotonic() - since > LAST_ANSWERS_SECONDS:
                break
            if errors >= ERRORS_IN_A_ROW and tables[row["job"]].job.settings.engine != "replay":
                raise StageError(
                    f"The engine failed on {errors} rows in a row, last with: {error}\nWhat is written is safe; the same "
                    "command tries the failed rows again."
                )
    finally:
        for table in tables:
            table.shards.flush()
    if fatal:
        raise StageError(
            f"The engine refuses to go on: {fatal}\nWhat is written is safe; put it right and give the same command again."
        )


class _JobRows:
    """The rows of one job: which are still to be written, and where the finished ones go."""

    def __init__(self, number: int, job: DocumentJob):
        self.number, self.job = number, job
        settings, ideas = job.settings, planned_ideas(job.outline, job.settings)
        self.version = prompt_version(settings)
        self.fixed = settings.engine in DETERMINISTIC
        self.shards: FixedShards | GrowingShards = (
            FixedShards(job.out, len(ideas)) if self.fixed else GrowingShards(job.out)
        )
        self.rows = {row["id"]: row for row in (self._row(idea) for idea in ideas)}
        self.failed: dict[str, str] = {}
        self.done = {row["id"] for row in read_rows(job.out / "data", ["id"])}
        self.tries = Counter(
            row["id"]
            for row in read_rows(job.out / "rejected", ["id", "reason"])
            if not row["reason"].startswith(ENGINE_FAILED)
        )

    def _row(self, idea: Idea) -> Row:
        sampling = self.job.settings.sampling
        return {
            "id": row_id(self.job.spec, idea, self.version),
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

    def refuse_outage(self) -> None:
        """Raise StageError when the engine failed on most rows: to commit what little came would be taken for the whole."""
        if len(self.failed) > MOST_FAILED * len(self.rows) and self.job.settings.engine != "replay":
            raise StageError(
                f"The engine failed on {len(self.failed)} of {len(self.rows)} rows of {self.job.spec.name}, for example with: "
                f"{next(iter(self.failed.values()))}\nWhat is written is safe; the same command tries the failed rows again."
            )

    def settle(self, row: Row) -> None:
        """Turn a completion into a document or a rejected row and hand it to the shards."""
        if row["id"] in self.done:
            return  # a restarted actor may answer twice
        settings, spec = self.job.settings, self.job.spec
        if row["error"]:
            text, reason = None, ENGINE_FAILED + row["error"]
            self.failed[row["id"]] = row["error"]
        else:
            self.failed.pop(row["id"], None)
            text, reason = parse_document(row["completion"], row["finish_reason"], settings)
            self.tries[row["id"]] += 1
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


def _prompt_dataset(rows: list[Row], jobs: list[DocumentJob]) -> Dataset:
    """The rows as a dataset of small blocks (one batch each, so that results stream), prompts rendered in Ray tasks."""
    import pyarrow as pa
    import ray

    # Two lists a worker gets once; a prompt with a whole spec in it exists only while its row is on the way.
    context = ray.put([(job.spec, job.outline, job.settings) for job in jobs])
    needed = jobs[0].settings.engine not in DETERMINISTIC

    def render(row: dict[str, Any]) -> dict[str, Any]:
        spec, outline, settings = ray.get(context)[row["job"]]
        return row | {"prompt": document_prompt(spec, outline, row, settings)}

    size = jobs[0].settings.batch_size
    blocks = [pa.Table.from_pylist(list(part)) for part in _batched(rows, size)]
    dataset = ray.data.from_arrow(blocks)
    return dataset.map(render) if needed else dataset


def _batched(rows: list[Row], size: int) -> Iterable[tuple[Row, ...]]:
    iterator = iter(rows)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


def _short(reason: str) -> str:
    return "engine" if reason.startswith(ENGINE_FAILED) else reason
