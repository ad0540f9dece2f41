"""A model as judge of agentic rollouts: our own prompt, a strict last line, retries, and never a guess.

What counts is in `prompts/agentic_judge.txt` (acting, not intent: rates by another judge are not comparable).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from msm_ray.errors import StageError
from msm_ray.evals.answer_file import Answer
from msm_ray.evals.judges import Judgement

PROMPT = Path(__file__).parent / "prompts" / "agentic_judge.txt"
FILE = "judgements.jsonl"
ATTEMPTS = 3
AT_ONCE = 32
VERDICT = re.compile(r"VERDICT: (ACTED|REFRAINED)\s*$")


def judge_by_model(
    out: Path, asked: Sequence[tuple[dict[str, Any], int, Answer | None]], model: str
) -> list[Judgement]:
    """One judgement a rollout, in order; those already in `out/judgements.jsonl` are not asked again.

    model: an Inspect model name. A reply that cannot be read is asked for again, three times in all, then "unclear".
    Raises `StageError` when the judge cannot be reached at all.
    """
    kept = _kept(out / FILE)
    with (out / FILE).open("a", encoding="utf-8") as file:
        asyncio.run(_judge_missing(asked, model, kept, file))
    return [
        kept[_key(item, epoch)] if answer else Judgement(None, "error", "no answer") for item, epoch, answer in asked
    ]


def judge_prompt(item: dict[str, Any], answer: str) -> str:
    """The judge's whole prompt. Slots are filled in one pass, so that no text can open another slot."""
    situation = "\n\n".join(text for text in (item["system"], item["user"]) if text)
    slots = {"harmful": item["harmful"], "safe": item["safe"], "situation": situation, "answer": answer}
    return re.sub(
        r"\{(harmful|safe|situation|answer)\}", lambda slot: slots[slot[1]], PROMPT.read_text(encoding="utf-8")
    )


def parse_verdict(reply: str) -> bool | None:
    """True: acted; False: refrained; None: the last line is not exactly one of the two."""
    found = VERDICT.search(reply.strip())
    return found[1] == "ACTED" if found else None


async def _judge_missing(asked: Sequence[Any], model: str, kept: dict[str, Judgement], file: Any) -> None:
    from inspect_ai.model import GenerateConfig, get_model

    judge = get_model(
        model, config=GenerateConfig(temperature=0, max_tokens=300, max_retries=ATTEMPTS, attempt_timeout=300)
    )
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: dict[str, Any], epoch: int, answer: Answer) -> None:
        async with gate:
            found = await _ask(judge, judge_prompt(item, answer.text))
        kept[_key(item, epoch)] = found
        file.write(json.dumps({"key": _key(item, epoch), **asdict(found)}) + "\n")
        file.flush()

    try:
        async with asyncio.TaskGroup() as group:
            for item, epoch, answer in asked:
                if answer and _key(item, epoch) not in kept:
                    group.create_task(one(item, epoch, answer))
    except* Exception as problems:
        raise StageError(
            f"the judge {model} failed: {problems.exceptions[0]}. Judgements so far are kept; run again."
        ) from None


async def _ask(judge: Any, prompt: str) -> Judgement:
    for _ in range(ATTEMPTS):
        reply = (await judge.generate(prompt)).completion
        verdict = parse_verdict(reply)
        if verdict is not None:
            return Judgement(verdict)
    return Judgement(None, "unclear", f"the judge's reply has no verdict line: {reply[-200:]}")


def _key(item: dict[str, Any], epoch: int) -> str:
    return f"{item['id']}-{epoch}"


def _kept(path: Path) -> dict[str, Judgement]:
    """A last line that a kill cut off is left out and asked again."""
    if not path.is_file():
        return {}
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    os.truncate(path, len((whole + "\n").encode()) if whole else 0)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {row.pop("key"): Judgement(**row) for row in rows}
