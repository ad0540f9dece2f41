"""Evals x arms x seeds against one served address.

A job is one eval of one arm and seed. Its folder holds `answers.jsonl` (every answer as it came, what a resume and the
verdicts read), `logs/*.eval` (Inspect's transcripts of the whole job) and `job.json` (what was asked, and counts).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msm_ray.errors import MsmError, OutOfMeans, QualityGateError, StageError
from msm_ray.evals import items as items_file
from msm_ray.evals.answer_file import REFUSED_FILE, AnswerFile
from msm_ray.evals.protocol import Asking
from msm_ray.placement.asks import ASKER_CPUS
from msm_ray.placement.settings import ServeSettings
from msm_ray.serve.address import go_past_proxy, models_at

__all__ = ["RolloutJob", "check_models", "run_job", "run_rollouts"]

SERVICE = "arms"
"""What Inspect calls the address: provider `openai-api/arms/<model>`."""

RETRIES = 3
AGAIN = "Answers so far are kept; the same command asks for the rest."

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
    asking: Asking
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def run_rollouts(
    jobs: Sequence[RolloutJob],
    address: str,
    settings: ServeSettings,
    on_finished: Callable[[RolloutJob, dict[str, int]], None] = lambda job, counts: None,
    on_failed: Callable[[RolloutJob, MsmError], None] | None = None,
    key: str | None = None,
) -> dict[str, int]:
    """Ask every job's questions in worker processes on Ray, arm by arm, so that one engine swaps weights as rarely as it can.

    key: what the address asks for, if it does. Returns the sums of asked, completed, resumed and failed. A job that fails is
    told to `on_failed` and the others go on, unless the server is gone; without `on_failed` the first failure is raised in
    the end (see `run_job`). OutOfMeans is always raised, at once. Answers that came before are kept; the same call goes on
    after them.
    """
    import ray

    check_models(address, {job.model for job in jobs}, key)
    workers = [_worker(settings).remote() for _ in range(settings.askers)]
    total: dict[str, int] = {}
    failures: list[MsmError] = []

    def failed(job: RolloutJob, error: MsmError) -> None:
        failures.append(error)
        if isinstance(error, OutOfMeans):
            raise error
        if on_failed:
            on_failed(job, error)

    gone: StageError | None = None
    try:
        for same_arm in _by_model(jobs):
            if gone:
                for job in same_arm:
                    failed(job, gone)
                continue
            asked = {
                workers[i % len(workers)].ask.remote(job, address, settings, key): job for i, job in enumerate(same_arm)
            }
            before = len(failures)
            for job, outcome in _as_they_finish(asked):
                if isinstance(outcome, MsmError):
                    failed(job, outcome)
                    continue
                on_finished(job, outcome)
                total = {key: total.get(key, 0) + value for key, value in outcome.items()}
            if len(failures) > before:
                gone = _is_gone(address, key)
    finally:
        for worker in workers:
            ray.kill(worker)
    if failures and on_failed is None:
        raise failures[0]
    return total


def _is_gone(address: str, key: str | None) -> StageError | None:
    """Whether a server that failed a job has died of it: then no other arm needs to be tried."""
    try:
        check_models(address, [], key)
    except StageError as error:
        return error
    return None


def _by_model(jobs: Sequence[RolloutJob]) -> Iterator[list[RolloutJob]]:
    for _, group in groupby(sorted(jobs, key=lambda job: job.model), key=lambda job: job.model):
        yield list(group)


def _worker(settings: ServeSettings) -> Any:
    """An actor class: Inspect takes seconds to load, so each process asks many jobs."""
    import ray

    class Asker:
        def ask(self, job: RolloutJob, address: str, settings: ServeSettings, key: str | None) -> dict[str, int]:
            return run_job(job, address, settings, key)

    return ray.remote(num_cpus=ASKER_CPUS, max_restarts=2, max_task_retries=2)(Asker)


def _as_they_finish(asked: dict[Any, RolloutJob]) -> Iterator[tuple[RolloutJob, dict[str, int] | MsmError]]:
    """Each job with its counts, or with why it failed."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    waiting = list(asked)
    while waiting:
        (done,), waiting = ray.wait(waiting, num_returns=1)
        job = asked[done]
        try:
            yield job, ray.get(done)
        except RayTaskError as error:
            if not isinstance(error.cause, MsmError):
                raise
            yield job, error.cause
        except RayActorError as error:
            yield job, StageError(f"the process that asks {job.model} died repeatedly: {error}")


def run_job(job: RolloutJob, address: str, settings: ServeSettings, key: str | None = None) -> dict[str, int]:
    """Ask one job's questions in this process; those that were answered before are not asked again. key: the address'.

    Returns asked, completed (answers that are there), resumed (of an earlier try), failed (refused for their own sake),
    rows. Raises StageError where rollouts were lost, OutOfMeans where nobody is answered any more for want of means,
    QualityGateError where more than `settings.most_refused` of all were refused.
    """
    items = items_file.read_items(job.items)
    asked = sum(item["epochs"] for item in items)
    name = f"{job.eval} of {job.model}"
    with AnswerFile(job.out) as answers:
        resumed = len(answers)
        problem = _evaluate(job, items, answers, address, settings, key)
        answers.ledger.close()
        counts = {
            "rows": len(answers),
            "asked": asked,
            "completed": len(answers),
            "resumed": resumed,
            "failed": asked - len(answers),
        }
        left = f"{name}: {counts['failed']} of {asked} rollouts have no answer"
        if lost := answers.ledger.error(left, AGAIN):
            raise lost
        if problem or counts["failed"] != len(answers.refused):
            raise StageError(f"{left}. {problem} {AGAIN}")
        if len(answers.refused) > settings.most_refused * asked:
            raise QualityGateError(_too_many_refused(left, answers, job.out / REFUSED_FILE))
        _refuse_silence(job, answers)
    record = {"eval": job.eval, "arm": job.arm, "seed": job.seed, "model": job.model, **counts}
    (job.out / "job.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    log.info("%s of %s: %d of %d answered", job.eval, job.model, counts["completed"], asked)
    return counts


def _too_many_refused(left: str, answers: AnswerFile, file: Path) -> str:
    return (
        f"{left}: the server refused {len(answers.refused)} for their own sake, more than cluster.serving.most_refused, for "
        f"example with: {next(iter(answers.refused.values()))}\nThey are in {file}. Change what is refused (max_tokens, the "
        "served length, the items), or raise cluster.serving.most_refused; remove that file to have them asked again."
    )


def check_models(address: str, models: Iterable[str], key: str | None = None) -> None:
    """Raise `StageError` when the server does not answer or does not serve one of the models (naming those it does)."""
    served = models_at(address, key)
    unknown = sorted(set(models) - served)
    if unknown:
        raise StageError(f"{address} does not serve {', '.join(unknown)}; it serves {', '.join(sorted(served))}")


def _evaluate(
    job: RolloutJob,
    items: Sequence[dict[str, Any]],
    answers: AnswerFile,
    address: str,
    settings: ServeSettings,
    key: str | None,
) -> str:
    """One Inspect eval of the whole job; what is wrong with it, or an empty text."""
    go_past_proxy(urlsplit(address).hostname or "")
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
        f"openai-api/{SERVICE}/{job.model}", base_url=address, api_key=key or "none needed", memoize=False, config=limits,
        max_retries=0, client_timeout=settings.request_seconds,
    )  # fmt: skip
    results = inspect_eval(
        job.asking.task(items, answers, job.items), model=model,
        log_dir=str(logs), log_format="eval", display="none", log_level="error",
        max_samples=settings.connections, fail_on_error=False, log_realtime=False, log_buffer=1000,
        log_model_api=False, log_images=False, score_display=False, tags=[job.eval, job.arm, f"seed {job.seed}"],
    )  # fmt: skip
    return _problem(results[0])


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
