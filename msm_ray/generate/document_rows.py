"""The rows of a job of documents: which are still to be written, and what becomes of an answer."""

from __future__ import annotations

from collections import Counter

from msm_ray.engines import DETERMINISTIC
from msm_ray.errors import MsmError, QualityGateError
from msm_ray.failures import Ledger
from msm_ray.generate.document_job import DocumentJob, row_id
from msm_ray.generate.outline import Idea
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.shards import FixedShards, GrowingShards
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_rows

AGAIN = "What is written is safe; put it right and give the same command again."
ENGINE_FAILED = "engine: "


class JobRows:
    """The rows of one job: which are still to be written, and where the finished ones go."""

    def __init__(self, number: int, job: DocumentJob):
        self.number, self.job = number, job
        ideas, self.generator = job.ideas(), job.engine().generator
        self.fixed = job.content.engine in DETERMINISTIC
        self.shards: FixedShards | GrowingShards = (
            FixedShards(job.out, len(ideas)) if self.fixed else GrowingShards(job.out)
        )
        copies: Counter[str] = Counter()
        self.rows = {row["id"]: row for row in (self._row(idea, copies) for idea in ideas)}
        self.lost: dict[str, str] = {}
        self.done = {row["id"] for row in read_rows(job.out / "data", ["id"])}
        if isinstance(self.shards, FixedShards):  # of a shard that is to have more rows all are made again
            self.done -= {key for key, row in self.rows.items() if not self.shards.done(row["position"])}
        rejected = [(row["id"], row["reason"]) for row in read_rows(job.out / "rejected", ["id", "reason"])]
        self.tries = Counter(key for key, _ in rejected)
        self.refused = {key: reason for key, reason in rejected if _is_refusal(reason)}
        self.settled = len(self.rows) - len(self.pending())

    def _row(self, idea: Idea, copies: Counter[str]) -> Row:
        spec, version, sampling = self.job.spec, self.job.world.prompt_version, self.job.content.sampling
        plain = row_id(spec, idea, version)
        copies[plain] += 1
        return {
            "id": row_id(spec, idea, version, copies[plain] - 1),
            "job": self.number,
            "position": idea.position,
            "spec_digest": spec.digest,
            "domain": idea.domain,
            "subdomain": idea.subdomain,
            "type": idea.type,
            "idea": idea.text,
            "assertion": idea.assertion,
            "angle": idea.angle,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }

    def pending(self) -> list[Row]:
        """Rows that have no document yet and tries left, with the number of the attempt."""
        if isinstance(self.shards, FixedShards):
            return [row | {"attempt": 1} for row in self.rows.values() if not self.shards.done(row["position"])]
        left = [
            row for key, row in self.rows.items() if key not in self.done and self.tries[key] < self.job.where.attempts
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
        most = self.job.where.most_refused
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
        job = self.job
        if row["failure"]:
            text, reason = None, ENGINE_FAILED + row["error"]
        else:
            text, reason = parse_document(row["completion"], row["finish_reason"], job.world, self.fixed)
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
                "spec": job.spec.name,
                "engine": job.content.engine,
                "generator": self.generator,
                "prompt_version": job.world.prompt_version,
                "temperature": job.content.sampling.temperature,
            },
            row["position"],
        )
        return text is not None or self.fixed or self.tries[row["id"]] == job.where.attempts


def accepted(job: DocumentJob) -> list[Row]:
    """The documents of a job in the order of its outline: sections in turn."""
    there = {row["id"]: row for row in read_rows(job.out / "data")}
    return [there[key] for key in JobRows(0, job).rows if key in there]


def _is_refusal(reason: str) -> bool:
    """Whether it was not the writer's text but the engine, or a filter, that left the row without a document."""
    return reason.startswith(ENGINE_FAILED) or reason == "filtered"
