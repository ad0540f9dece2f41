"""Evals x arms x seeds against one served address, and the verdicts on what was answered.

A job is one eval of one arm and seed. Its folder holds `answers.jsonl` (every answer as it came, what a resume and the
verdicts read), `logs/*.eval` (Inspect's transcripts of the whole job) and `job.json` (what was asked, and counts).
"""

from __future__ import annotations

import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from msm_ray.config import AgenticEval, AnswersEval, EvalSettings, PreferencesEval, ServeSettings
from msm_ray.errors import StageError
from msm_ray.evals import items as items_file
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.verdicts import write_verdicts
from msm_ray.placement.asks import ASKER_CPUS

__all__ = ["RolloutJob", "check_models", "run_job", "run_rollouts", "write_verdicts"]

SERVICE = "arms"
"""Inspect finds the address by this name: provider `openai-api/arms/<model>`, key in ARMS_API_KEY."""

RETRIES = 3
MOST_FAILED = 0.05
"""Share of rollouts that may fail (after retries) before a job stops; what failed is asked again by the next run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutJob:
    """One eval of one arm and seed. model: the served name to ask; items: the items stage's folder.

    chat_template_kwargs: what the arm's chats were rendered with when it was trained, and so what it is asked with.
    """

    out: Path
    eval: str
    arm: str
    seed: int
    model: str
    items: Path
    settings: EvalSettings
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def run_rollouts(
    jobs: Sequence[RolloutJob],
    address: str,
    settings: ServeSettings,
    on_finished: Callable[[RolloutJob, dict[str, int]], None] = lambda job, counts: None,
) -> dict[str, int]:
    """Ask every job's questions in worker processes on Ray, arm by arm, so that one engine swaps weights as rarely as it can.

    Returns the sums of asked, completed, resumed and failed. Raises `StageError` for a server that is down, does not know
    a model, or fails too often. Answers that came before an error are kept; the same call goes on after them.
    """
    import ray

    check_models(address, {job.model for job in jobs})
    workers = [_worker(settings).remote() for _ in range(settings.askers)]
    total: dict[str, int] = {}
    try:
        for same_arm in _by_model(jobs):
            asked = {
                workers[i % len(workers)].ask.remote(job, address, settings): job for i, job in enumerate(same_arm)
            }
            for job, counts in _as_they_finish(asked):
                on_finished(job, counts)
                total = {key: total.get(key, 0) + value for key, value in counts.items()}
    finally:
        for worker in workers:
            ray.kill(worker)
    return total


def _by_model(jobs: Sequence[RolloutJob]) -> Iterator[list[RolloutJob]]:
    for _, group in groupby(sorted(jobs, key=lambda job: job.model), key=lambda job: job.model):
        yield list(group)


def _worker(settings: ServeSettings) -> Any:
    """An actor class: Inspect takes seconds to load, so each process asks many jobs."""
    import ray

    class Asker:
        def ask(self, job: RolloutJob, address: str, settings: ServeSettings) -> dict[str, int]:
            from msm_ray.rollouts import run_job

            return run_job(job, address, settings)

    return ray.remote(num_cpus=ASKER_CPUS, max_restarts=2, max_task_retries=2)(Asker)


def _as_they_finish(asked: dict[Any, RolloutJob]) -> Iterator[tuple[RolloutJob, dict[str, int]]]:
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    waiting = list(asked)
    while waiting:
        (done,), waiting = ray.wait(waiting, num_returns=1)
        try:
            yield asked[done], ray.get(done)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, StageError) else error) from None
        except RayActorError as error:
            raise StageError(f"the process that asks {asked[done].model} died repeatedly: {error}") from error


def run_job(job: RolloutJob, address: str, settings: ServeSettings) -> dict[str, int]:
    """Ask one job's questions in this process; those that were answered before are not asked again.

    Returns asked, completed (answers that are there), resumed (of an earlier try), failed, rows. Raises `StageError`.
    """
    items = items_file.read_items(job.items)
    asked = sum(item["epochs"] for item in items)
    with AnswerFile(job.out) as answers:
        resumed = len(answers)
        problem = _evaluate(job, items, answers, address, settings)
        counts = {
            "rows": len(answers),
            "asked": asked,
            "completed": len(answers),
            "resumed": resumed,
            "failed": asked - len(answers),
        }
        _refuse_silence(job, answers)
    if problem or counts["failed"] > MOST_FAILED * asked:
        raise StageError(
            f"{job.eval} of {job.model}: {counts['failed']} of {asked} rollouts have no answer. {problem} "
            "Answers so far are kept; the same command asks for the rest."
        )
    record = {"eval": job.eval, "arm": job.arm, "seed": job.seed, "model": job.model, **counts}
    (job.out / "job.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    log.info("%s of %s: %d of %d answered", job.eval, job.model, counts["completed"], asked)
    return counts


def check_models(address: str, models: Iterable[str]) -> None:
    """Raise `StageError` when the server does not answer or does not serve one of the models (naming those it does)."""
    try:
        with urllib.request.urlopen(f"{address}/models", timeout=30) as reply:
            served = {model["id"] for model in json.load(reply)["data"]}
    except (OSError, urllib.error.URLError, ValueError, KeyError) as error:
        raise StageError(f"no OpenAI-compatible server at {address}: {error}. Start it, or look at its log.") from error
    unknown = sorted(set(models) - served)
    if unknown:
        raise StageError(f"{address} does not serve {', '.join(unknown)}; it serves {', '.join(sorted(served))}")


def _evaluate(
    job: RolloutJob, items: Sequence[dict[str, Any]], answers: AnswerFile, address: str, settings: ServeSettings
) -> str:
    """One Inspect eval of the whole job; what is wrong with it, or an empty text."""
    os.environ.setdefault(f"{SERVICE.upper()}_API_KEY", "none needed")
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import GenerateConfig, get_model

    logs = job.out / "logs"
    for old in logs.glob("*.eval"):
        old.unlink()  # of an interrupted try: the answers in it are in `answers` too
    limits = GenerateConfig(
        max_connections=settings.connections,
        max_retries=RETRIES,
        attempt_timeout=settings.request_seconds,
        extra_body={"chat_template_kwargs": dict(job.chat_template_kwargs)} if job.chat_template_kwargs else None,
    )
    model = get_model(
        f"openai-api/{SERVICE}/{job.model}", base_url=address, memoize=False, config=limits,
        max_retries=0, client_timeout=settings.request_seconds,
    )  # fmt: skip
    asked = sum(item["epochs"] for item in items)
    results = inspect_eval(
        _task(job, items, answers), model=model, log_dir=str(logs), log_format="eval", display="none", log_level="error",
        max_samples=settings.connections, fail_on_error=max(1, int(MOST_FAILED * asked)), log_realtime=False, log_buffer=1000,
        log_model_api=False, log_images=False, score_display=False, tags=[job.eval, job.arm, f"seed {job.seed}"],
    )  # fmt: skip
    return _problem(results[0])


def _task(job: RolloutJob, items: Sequence[dict[str, Any]], answers: AnswerFile) -> Any:
    from msm_ray.evals.agentic import agentic
    from msm_ray.evals.answers import open_answers
    from msm_ray.evals.preferences import preferences

    match job.settings:
        case PreferencesEval():
            return preferences(items, answers, job.settings)
        case AgenticEval():
            return agentic(items, answers, job.settings)
        case AnswersEval():
            return open_answers(items, answers, job.settings)


def _problem(result: Any) -> str:
    if result.status == "success":
        return ""
    if result.status == "cancelled":
        raise KeyboardInterrupt
    if result.error is None:
        return f"Inspect ended with {result.status!r}."
    # Inspect reports the last of a chain ("RetryError"); what happened is the first exception of the traceback.
    causes = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception): .+$", result.error.traceback, re.MULTILINE)
    return f"First error: {(causes or [result.error.message])[0][:600]}."


def _refuse_silence(job: RolloutJob, answers: AnswerFile) -> None:
    """A server that answers everything with nothing is broken, or the arm is; a rate over it would mean nothing."""
    if len(answers) and not any(answer.text.strip() or answer.reasoning for answer in answers):
        raise StageError(
            f"{job.eval} of {job.model}: all {len(answers)} answers are empty. Ask it by hand, then remove "
            f"{job.out / 'answers.jsonl'} and run again."
        )
