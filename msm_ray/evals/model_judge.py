"""A model as judge: asked until a reply can be read, never guessed, and known by the name that it gives.

What it is asked and how it is read is a `Form`, which stands with the eval.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msm_ray import progress
from msm_ray.errors import QualityGateError
from msm_ray.evals.faults import Fault
from msm_ray.evals.judgement import Judgement
from msm_ray.failures import REFUSED, Ledger, classify
from msm_ray.rows.journal import reopened

FILE = "judgements.jsonl"
AT_ONCE = 32
MOST_UNUSABLE = 0.05
"""Share of answers that a judge may give nothing usable for; above, its verdicts are no measurement."""

PREFIXES = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GOOGLE_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "together": "TOGETHER_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "grok": "XAI_API_KEY",
}
"""Providers of Inspect and the variable that each takes its key from (inspect_ai's documentation)."""

Asked = Sequence[tuple[dict[str, Any], int, str]]


@dataclass(frozen=True)
class Form:
    """What a judge is asked about an item and its answer, and how its reply is read (None: it can't be).

    sampling: options of Inspect's `GenerateConfig`; attempts: replies that are asked for until one can be read.
    """

    prompt: Callable[[dict[str, Any], str], str]
    read: Callable[[str], bool | None]
    sampling: Mapping[str, Any]
    attempts: int


def faults(at: tuple[str, ...], model: str) -> Iterator[Fault]:
    """A judge that can't be reached, as far as its name and the environment say."""
    provider, _, rest = model.partition("/")
    if not rest:
        yield Fault(at, f"'{model}' names no provider", "write provider/model, e.g. openai-api/judge/MODEL")
        return
    service = rest.partition("/")[0].upper().replace("-", "_")
    needed = {"openai-api": [f"{service}_BASE_URL", f"{service}_API_KEY"]}.get(provider, [])
    needed += [PREFIXES[provider]] if provider in PREFIXES else []
    if absent := [variable for variable in needed if not os.environ.get(variable)]:
        what = f"{model}: {' and '.join(absent)} not set in the environment"
        remedy = "set them (a local server takes any key), or name another judge"
        yield Fault(at, what, remedy, "lacking", stages=("verdicts",))
    elif provider not in PREFIXES and provider != "openai-api" and not model.startswith("mockllm/"):
        yield Fault(at, f"{model}: which key '{provider}' needs is not known here", severity="not checked")


def judge_by_model(out: Path, asked: Asked, model: str, form: Form) -> list[Judgement]:
    """One judgement of each (item, epoch, answer), in order; usable ones in `out/judgements.jsonl` are not asked for again.

    model: an Inspect model name. A reply that cannot be read is asked for again, three times in all, then "unusable".
    So is a transcript that the judge refuses for its own sake, after three times. Raises `StageError` where judgements were
    lost to an outage (those so far are kept, and no verdict is made of what is missing), `QualityGateError` where more than
    5% are unusable or where replies come from two models.
    """
    kept = _kept(out / FILE)
    with (out / FILE).open("a", encoding="utf-8") as file:
        asyncio.run(_judge_missing(asked, model, form, kept, file))
        if older := _of_older_names(kept):
            for key in older:
                del kept[key]
            asyncio.run(_judge_missing(asked, model, form, kept, file))
    found = [kept[_key(item, epoch)] for item, epoch, _ in asked]
    _refuse_two_judges(found, model)
    _refuse_useless(found, model, out / FILE)
    return found


def _of_older_names(kept: dict[str, Judgement]) -> list[str]:
    """The keys whose verdicts another model gave than the last: a name such as "latest" may change while judging goes on."""
    names = [judgement.judge for judgement in kept.values() if judgement.judge]  # who refuses gives no name
    return [key for key, judgement in kept.items() if judgement.judge not in ("", names[-1])] if names else []


def _refuse_two_judges(found: Sequence[Judgement], model: str) -> None:
    names = Counter(judgement.judge for judgement in found if judgement.judge)
    if len(names) > 1:
        shown = ", ".join(f"{name} ({count})" for name, count in names.most_common())
        raise QualityGateError(
            f"the judge {model} answers under several names: {shown}. Give a judge_model that is one model; its replies are kept"
        )


def _refuse_useless(found: Sequence[Judgement], model: str, file: Path) -> None:
    useless = [judgement for judgement in found if judgement.verdict is None]
    if len(useless) > MOST_UNUSABLE * len(found):
        raise QualityGateError(
            f"the judge {model} gave nothing usable for {len(useless)} of {len(found)} answers, e.g.: {useless[0].reason}. "
            f"See {file}; give another judge_model, or run again: those are asked anew"
        )


async def _judge_missing(asked: Asked, model: str, form: Form, kept: dict[str, Judgement], file: Any) -> None:
    with progress.task(f"judge {model}", len(asked), "answers judged", done=len(kept)) as work:
        await _ask_for_missing(asked, model, form, kept, file, work)


async def _ask_for_missing(
    asked: Asked, model: str, form: Form, kept: dict[str, Judgement], file: Any, work: progress.Task
) -> None:
    from inspect_ai.model import GenerateConfig, get_model

    config = GenerateConfig(**form.sampling, max_retries=form.attempts, attempt_timeout=300)
    judge = get_model(
        model, config=config, memoize=False
    )  # a kept client's connections are of an event loop that is over
    gate, ledger = asyncio.Semaphore(AT_ONCE), Ledger()

    def keep(key: str, found: Judgement) -> None:
        kept[key] = found
        file.write(json.dumps({"key": key, **asdict(found)}) + "\n")
        file.flush()
        work.advance()

    async def one(item: dict[str, Any], epoch: int, answer: str) -> None:
        key = _key(item, epoch)
        async with gate:
            if ledger.stopped:
                return
            found, why, failure = await _ask(judge, form.prompt(item, answer), form)
        if failure:
            refused = Judgement(None, "unusable", f"the judge refused it: {why}", judge="")
            ledger.failed(key, why, failure, lambda: keep(key, refused))
            return
        keep(key, found)
        ledger.answered(key)

    async with asyncio.TaskGroup() as group:
        for item, epoch, answer in asked:
            if _key(item, epoch) not in kept:
                group.create_task(one(item, epoch, answer))
    ledger.close()
    if lost := ledger.error(f"the judge {model}", "Judgements so far are kept; the same command asks for the rest."):
        raise lost


async def _ask(judge: Any, prompt: str, form: Form) -> tuple[Judgement, str, str]:
    """The judgement, or why there is none and how the asking failed."""
    found, why, failure = Judgement(None, "unusable", judge=""), "", ""
    for _ in range(form.attempts):
        try:
            output = await judge.generate(prompt)
        except Exception as problem:
            why, failure, _ = classify(problem)
            if failure != REFUSED:
                break
            continue
        why, failure = "", ""
        verdict = form.read(output.completion)
        if verdict is not None:
            return Judgement(verdict, judge=output.model), "", ""
        ended = f"the judge's reply has no verdict line ({output.stop_reason}): {output.completion[-200:]}"
        found = Judgement(None, "unusable", ended, judge=output.model)
    return found, why, failure


def _key(item: dict[str, Any], epoch: int) -> str:
    return f"{item['id']}-{epoch}"


def _kept(path: Path) -> dict[str, Judgement]:
    """The usable judgements so far, in the order in which they came."""
    found: dict[str, Judgement] = {}
    for row in reopened(path):
        key = row.pop("key")
        found.pop(key, None)  # the last one given stands, and stands last
        if row["verdict"] is not None:
            found[key] = Judgement(**row)
    return found
