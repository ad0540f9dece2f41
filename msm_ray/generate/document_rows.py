"""The rows of a job of documents: which are still to be written, and what becomes of an answer."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path

from msm_ray.engines import DETERMINISTIC, EngineSettings
from msm_ray.engines.offline import composed
from msm_ray.engines.replay import NOT_RECORDED, answers_calls
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.failures import Ledger
from msm_ray.generate.asking import AGAIN, Render
from msm_ray.generate.calls import request_id
from msm_ray.generate.calls.answers import text_tokens
from msm_ray.generate.calls.table import FEWEST_FOR_A_SHARE
from msm_ray.generate.document_job import RECORDED, DocumentJob, row_id
from msm_ray.generate.outline import Idea
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.shards import FixedShards, GrowingShards
from msm_ray.rows.diversity import overused
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_rows
from msm_ray.spec import Spec
from msm_ray.whole_files import write_whole
from msm_ray.worlds import World

ENGINE_FAILED = "engine: "
OVERUSED, MOST_AVOIDED, USUAL_TOKENS = 0.05, 30, 3_100
"""Share of the documents above which a name or an opening comes too often, and so many at most are told to the writer; tokens
of a document before there is one (paper)."""
UNANSWERED = "unanswered.jsonl"


class JobRows:
    """The rows of one job: which are still to be written, and where the finished ones go."""

    def __init__(self, number: int, job: DocumentJob):
        self.number, self.job = number, job
        ideas = job.ideas()
        engines = {writer.who.engine for writer in job.writers}
        self.fixed = engines <= DETERMINISTIC
        self.shards: FixedShards | GrowingShards = (
            FixedShards(job.out, len(ideas)) if self.fixed else GrowingShards(job.out)
        )
        copies: Counter[str] = Counter()
        self.rows = {row["id"]: row for row in (self._row(idea, copies) for idea in ideas)}
        self.lost: dict[str, str] = {}
        self.not_recorded: set[str] = set()
        self.by_call = job.content.engine == "replay" and answers_calls(Path(job.content.replay or ""))
        there = list(read_rows(job.out / "data", ["id", "tokens"]))
        self.done = {row["id"] for row in there}
        self.tokens = sum(row["tokens"] or 0 for row in there)
        if isinstance(self.shards, FixedShards):  # of a shard that is to have more rows all are made again
            self.done -= {key for key, row in self.rows.items() if not self.shards.done(row["position"])}
        rejected = [(row["id"], row["reason"]) for row in read_rows(job.out / "rejected", ["id", "reason"])]
        self.tries = Counter(key for key, _ in rejected)
        self.refused = {key: reason for key, reason in rejected if _is_refusal(reason)}
        self.settled = len(self.rows) - len(self.pending())

    def _row(self, idea: Idea, copies: Counter[str]) -> Row:
        spec, version = self.job.spec, self.job.world.prompt_version
        plain = row_id(spec, idea, version)
        copies[plain] += 1
        key = row_id(spec, idea, version, copies[plain] - 1)
        who = self.job.writer_of(key).who
        return {
            "id": key,
            "job": self.number,
            "position": idea.position,
            "spec_digest": spec.digest,
            "domain": idea.domain,
            "subdomain": idea.subdomain,
            "type": idea.type,
            "idea": idea.text,
            "assertion": idea.assertion,
            **self.job.shown(idea),
            "angle": idea.angle,
            "temperature": who.temperature,
            "top_p": who.top_p,
            "max_tokens": who.max_tokens,
        }

    def pending(self) -> list[Row]:
        """Rows that have no document yet and tries left, with the number of the attempt."""
        if isinstance(self.shards, FixedShards):
            return [row | {"attempt": 1} for row in self.rows.values() if not self.shards.done(row["position"])]
        left = [
            row for key, row in self.rows.items() if key not in self.done and self.tries[key] < self.job.where.attempts
        ]
        return [row | {"attempt": self.tries[row["id"]] + 1} for row in left]

    @property
    def attempts(self) -> int:
        """Tries of a document."""
        return self.job.where.attempts

    @property
    def no_progress_minutes(self) -> float:
        """Without a document for so long the asking stops."""
        return self.job.where.no_progress_minutes

    @property
    def usable(self) -> int:
        """Documents that are there."""
        return len(self.done)

    @property
    def enough(self) -> bool:
        """Whether the documents that are there have the tokens that are wanted."""
        target = self.job.target_tokens
        return target is not None and self.tokens >= target

    @property
    def portion(self) -> int | None:
        """Documents that are asked for before names that came too often are looked for; of a target no more than it needs."""
        whole = None if self.fixed or self.job.world.closed else self.job.where.portion
        if self.job.target_tokens is None or self.fixed:
            return whole
        each = self.tokens / len(self.done) if self.done and self.tokens else USUAL_TOKENS
        needed = max(1, math.ceil((self.job.target_tokens - self.tokens) / each))
        return min(needed, whole) if whole else needed

    @property
    def answered(self) -> bool:
        """Whether there is a document already."""
        return bool(self.done)

    def engine(self, row: Row, round_: int) -> EngineSettings:
        """The engine of the writer whose share the row is."""
        return self.job.writer_of(row["id"]).engine(round_, recorded=RECORDED)

    def render(self, asked: EngineSettings) -> Render:
        """Prompts with the spec in them are made where they are needed."""
        avoided = ", ".join(dict.fromkeys([*self.job.content.avoid, *self._overused()]))
        return partial(prompt_columns, asked, self.job.spec, self.job.world, names_to_avoid=avoided)

    def _overused(self) -> list[str]:
        """Names and openings that too many of the documents have that are there."""
        if self.portion is None or not self.done:
            return []
        spec = self.job.spec
        texts = [row["text"] for row in read_rows(self.job.out / "data", ["text"])]
        return overused(texts, OVERUSED, f"{spec.text} {spec.assistant} {spec.provider}")[:MOST_AVOIDED]

    def tick(self) -> None:
        """Write what is due."""
        self.shards.tick()

    def flush(self) -> None:
        """Write what waits."""
        self.shards.flush()

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why this is not the whole: the asking was stopped, rows were lost, or too many were refused for their own sake."""
        name = self.job.spec.name
        if self.not_recorded:
            return self._unrecorded()
        failed = f"The engine failed on {len(self.lost)} of {len(self.rows)} rows of {name}"
        if stopped and self.pending() and not self.enough:
            return type(stopped)(f"{stopped}\n{failed}." if self.lost else str(stopped))
        ledger = Ledger()
        ledger.lost.update(self.lost)
        refused = [reason for key, reason in self.refused.items() if key not in self.done]
        most = self.job.where.most_refused
        if not self.lost and len(self.rows) >= FEWEST_FOR_A_SHARE and len(refused) > most * len(self.rows):
            return QualityGateError(
                f"Documents of {name}: the engine refused {len(refused)} of {len(self.rows)} rows for their own sake, more than "
                f"documents.most_refused = {most:g} of all, for example with: {refused[0]}\n{self.ask_again()}"
            )
        return ledger.error(failed, AGAIN)

    def _unrecorded(self) -> MsmError:
        """Prompts that nobody answered when the recording was made, written down so that somebody can."""
        job, path = self.job, self.job.out / UNANSWERED
        asked = job.engine()
        lines = []
        for key in sorted(self.not_recorded, key=lambda key: self.rows[key]["position"]):
            sent = self.render(asked)(self.rows[key])
            said = {"id": sent["request"], "call": "documents", "about": self.rows[key]["idea"][:80], "sample": 0}
            lines.append(json.dumps(said | {"messages": sent["messages"], "schema": None}, ensure_ascii=False))
        write_whole(path, "".join(line + "\n" for line in lines))
        return StageError(
            f"{len(lines)} of {len(self.rows)} documents have no recorded answer in {job.content.replay}: the spec, the outline, "
            f"settings or the prompt are other than when it was recorded. Their prompts stand in {path}; put them back, or have "
            "them answered by a model"
        )

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
        job = self.job
        if row["error"] == NOT_RECORDED and self.by_call:
            self.not_recorded.add(row["id"])
            return True
        if row["failure"]:
            text, reason = None, ENGINE_FAILED + row["error"]
        else:
            text, reason = parse_document(row["completion"], row["finish_reason"], job.world, self.fixed)
        self.tries[row["id"]] += 1
        if _is_refusal(reason):
            self.refused[row["id"]] = reason
        counted = text_tokens(text or "", row["completion"], row["num_generated_tokens"])
        if text is not None:
            self.done.add(row["id"])
            self.tokens += counted or 0
        self.shards.add(
            row
            | {
                "text": text,
                "tokens": counted,
                "reason": reason,
                "raw": row["completion"],
                "spec": job.spec.name,
                "engine": job.writer_of(row["id"]).who.engine,
                "generator": job.writer_of(row["id"]).generator,
                "prompt_version": job.world.prompt_version,
            },
            row["position"],
        )
        return text is not None or self.fixed or self.tries[row["id"]] == job.where.attempts


def prompt_columns(asked: EngineSettings, spec: Spec, world: World, row: Row, names_to_avoid: str = "") -> Row:
    """What an engine needs to answer for a document: the prompt or, where no model writes, the answer that goes with it."""
    if asked.engine == "offline":
        return composed(lambda: world.plain_document(spec, row))
    prompt = world.document_prompt(spec, row | {"names_to_avoid": names_to_avoid})
    messages = [{"role": "user", "content": prompt}]
    if asked.engine == "replay":
        return {"request": request_id("documents", messages), "messages": messages}
    return {"avoided": names_to_avoid} | ({"messages": messages} if asked.chat else {"prompt": prompt})


def accepted(job: DocumentJob) -> list[Row]:
    """The documents of a job in the order of its outline: sections in turn."""
    there = {row["id"]: row for row in read_rows(job.out / "data")}
    return [there[key] for key in JobRows(0, job).rows if key in there]


def _is_refusal(reason: str) -> bool:
    """Whether it was not the writer's text but the engine, or a filter, that left the row without a document."""
    return reason.startswith(ENGINE_FAILED) or reason == "filtered"
