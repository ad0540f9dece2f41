"""The rows of a job of documents: which are still to be written, and what becomes of an answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msm_ray.engines import EngineSettings
from msm_ray.engines.offline import composed
from msm_ray.engines.replay import NOT_RECORDED, answers_calls
from msm_ray.errors import MsmError, StageError
from msm_ray.generate.askable import Render
from msm_ray.generate.calls import request_id
from msm_ray.generate.calls.answers import text_tokens
from msm_ray.generate.document_job import RECORDED, DocumentJob, row_id
from msm_ray.generate.document_outcomes import (
    ENGINE_FAILED,
    USUAL_TOKENS,
    ask_again,
    avoided_names,
    is_fixed,
    is_refusal,
    why_not_whole,
)
from msm_ray.generate.outline import Idea
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.shards import FixedShards, GrowingShards
from msm_ray.rows.ids import ID
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_rows
from msm_ray.spec import Spec
from msm_ray.whole_files import write_whole
from msm_ray.worlds import World

UNANSWERED = "unanswered.jsonl"


@dataclass(frozen=True)
class Part:
    """Rows of a job that one of several workers has. ids: by the places of their ideas; tries: that they had before.

    shards: where they go; avoided: names and openings that the writer is told to leave out.
    """

    ideas: Sequence[Idea]
    ids: Mapping[int, str]
    tries: Mapping[str, int]
    shards: FixedShards | GrowingShards
    avoided: str = ""


class JobRows:
    """The rows of one job, or a part of them: which are still to be written, and where the finished ones go."""

    def __init__(self, number: int, job: DocumentJob, part: Part | None = None):
        self.number, self.job, self.part = number, job, part
        self.fixed = is_fixed(job)
        self.lost: dict[str, str] = {}
        self.not_recorded: set[str] = set()
        self.by_call = job.content.engine == "replay" and answers_calls(Path(job.content.replay or ""))
        self.refused: dict[str, str] = {}
        self.engines: dict[int, EngineSettings] = {}
        self.done: set[str] = set()
        self.tokens = 0
        self.shards: FixedShards | GrowingShards
        if part:
            self.shards, self.tries = part.shards, Counter(part.tries)
            self.rows = {key: self._row(part.ideas[place], key) for place, key in part.ids.items()}
        else:
            self._look()
        self.settled = len(self.rows) - len(self.pending())

    def _look(self) -> None:
        """All rows of the job, and what lies in its folder of them."""
        job, ideas = self.job, self.job.ideas()
        self.shards = FixedShards(job.out, len(ideas)) if self.fixed else GrowingShards(job.out)
        copies: Counter[str] = Counter()
        self.rows = {row["id"]: row for row in (self._row(idea, self._id(idea, copies)) for idea in ideas)}
        there = list(read_rows(job.out / "data", ["id", "tokens"]))
        self.done = {row["id"] for row in there}
        self.tokens = sum(row["tokens"] or 0 for row in there)
        if isinstance(self.shards, FixedShards):  # of a shard that is to have more rows all are made again
            self.done -= {key for key, row in self.rows.items() if not self.shards.done(row["position"])}
        rejected = [(row["id"], row["reason"]) for row in read_rows(job.out / "rejected", ["id", "reason"])]
        self.tries = Counter(key for key, _ in rejected)
        self.refused = {key: reason for key, reason in rejected if is_refusal(reason)}

    def _id(self, idea: Idea, copies: Counter[str]) -> str:
        spec, version = self.job.spec, self.job.world.prompt_version
        plain = row_id(spec, idea, version)
        copies[plain] += 1
        return row_id(spec, idea, version, copies[plain] - 1)

    def _row(self, idea: Idea, key: str) -> Row:
        who = self.job.writer_of(key).who
        return {
            "id": key,
            "job": self.number,
            "position": idea.position,
            "spec_digest": self.job.spec.digest,
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
        return self.job.where.patience_minutes

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
        """Documents after which names that came too often are looked for."""
        return None if self.fixed or self.job.world.closed else self.job.where.portion

    def room(self, in_flight: int) -> bool:
        """Of a target of tokens no more is asked for than it needs."""
        if self.job.target_tokens is None or self.fixed:
            return True
        each = self.tokens / len(self.done) if self.done and self.tokens else USUAL_TOKENS
        return in_flight == 0 or self.tokens + in_flight * each < self.job.target_tokens

    def again(self, row: Row) -> Row | None:
        """A row as it is asked the next time, where it has no document and tries left."""
        tries = self.tries[row["id"]]
        if self.fixed or row["id"] in self.done or tries >= self.job.where.attempts:
            return None
        return self.rows[row["id"]] | {"attempt": tries + 1}

    @property
    def answered(self) -> bool:
        """Whether there is a document already."""
        return bool(self.done)

    def engine(self, row: Row) -> EngineSettings:
        """The engine of the writer whose share the row is."""
        writer = self.job.writer_of(row["id"])
        if id(writer) not in self.engines:
            self.engines[id(writer)] = writer.engine(recorded=RECORDED)
        return self.engines[id(writer)]

    def render(self, asked: EngineSettings) -> Render:
        """Prompts with the spec in them are made where they are needed."""
        avoided = (
            self.part.avoided if self.part else avoided_names(self.job, self.portion is not None and bool(self.done))
        )
        return partial(prompt_columns, asked, self.job.spec, self.job.world, names_to_avoid=avoided)

    def tick(self) -> None:
        """Write what is due."""
        self.shards.tick()

    def flush(self) -> None:
        """Write what waits. What a worker has of a part waits with its other parts."""
        if not self.part:
            self.shards.flush()

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why this is not the whole: the asking was stopped, rows were lost, or too many were refused for their own sake."""
        if self.not_recorded:
            return self._unrecorded()
        refused = [reason for key, reason in self.refused.items() if key not in self.done]
        missing = bool(self.pending()) and not self.enough
        return why_not_whole(self.job, len(self.rows), self.lost, refused, stopped if missing else None)

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
        return ask_again(self.job)

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
        if is_refusal(reason):
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
                "engine": self.engine(row).engine,
                "generator": self.engine(row).generator,
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


def job_ids(job: DocumentJob) -> NDArray[np.bytes_]:
    """The id of every row; equal ideas get different ones, by how many equal ones came before."""
    ideas, version = job.ideas(), job.world.prompt_version
    keys = (bytes.fromhex(row_id(job.spec, idea, version)) for idea in ideas)
    ids = np.fromiter(keys, ID, len(ideas))
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order[1:]] == ids[order[:-1]]) + 1
    copies, last = 0, -1
    for place in same.tolist():
        copies = copies + 1 if place == last + 1 else 1
        last = place
        idea = int(order[place])
        ids[idea] = bytes.fromhex(row_id(job.spec, ideas[idea], version, copies))
    return ids
