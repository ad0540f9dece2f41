"""Evals that could not be asked, answered or judged, told before every arm is trained for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msm_ray import tinyworld
from msm_ray.config import AgenticEval, AnswersEval, ExperimentSettings, PreferencesEval
from msm_ray.errors import MsmError
from msm_ray.evals.items import PAIRS
from msm_ray.preflight import amounts
from msm_ray.preflight.base import base_shape, length_of_base, never_chatted
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import shape_of
from msm_ray.rows.files import checked
from msm_ray.rows.lines import read_questions
from msm_ray.yaml_tree import At, read_yaml

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


def judges(proposal: Proposal) -> Iterator[Finding]:
    """A judge that fits what is judged, and that can be reached."""
    for name, how in proposal.settings.evals.items():
        if not isinstance(how, AgenticEval):
            continue
        at: At = ("evals", name)
        if how.judge == "rules" and how.scenarios != "tinyworld":
            yield proposal.error(
                (*at, "judge"), f"rules judge the tiny world's answers only, not those to {how.scenarios}",
                "set judge: model and judge_model",
            )  # fmt: skip
        elif how.judge == "model" and not how.judge_model:
            yield proposal.error(
                (*at, "judge_model"), "is missing, and judge is model", "name one, e.g. openai-api/judge/MODEL"
            )
        elif how.judge == "model":
            yield from _reachable(proposal, (*at, "judge_model"), str(how.judge_model))


def _reachable(proposal: Proposal, at: At, model: str) -> Iterator[Finding]:
    provider, _, rest = model.partition("/")
    if not rest:
        yield proposal.error(at, f"'{model}' names no provider", "write provider/model, e.g. openai-api/judge/MODEL")
        return
    service = rest.partition("/")[0].upper().replace("-", "_")
    needed = {"openai-api": [f"{service}_BASE_URL", f"{service}_API_KEY"]}.get(provider, [])
    needed += [PREFIXES[provider]] if provider in PREFIXES else []
    if absent := [variable for variable in needed if not os.environ.get(variable)]:
        yield proposal.lacking(
            at, f"{model}: {' and '.join(absent)} not set in the environment",
            "set them (a local server takes any key), or name another judge", stages=("verdicts",),
        )  # fmt: skip
    elif provider not in PREFIXES and provider != "openai-api" and not model.startswith("mockllm/"):
        yield proposal.not_checked(at, f"{model}: which key '{provider}' needs is not known here")


def worlds(proposal: Proposal) -> Iterator[Finding]:
    """Evals in the tiny world's language are for its own bases, and every eval has something to ask."""
    settings = proposal.settings
    foreign = proposal.settings.base.source == "smollm2" or is_hub_id(settings)
    for name, how in settings.evals.items():
        at: At = ("evals", name)
        if foreign and isinstance(how, AgenticEval) and how.scenarios == "tinyworld":
            yield proposal.error(
                (*at, "scenarios"), f"the tiny world's scenarios are asked of {settings.base.source}, which knows no such "
                "language", "name a file of scenarios, as specs/philosophy/scenarios.yaml",
            )  # fmt: skip
        if isinstance(how, PreferencesEval):
            yield from _pairs(proposal, at, how, foreign)


def _pairs(proposal: Proposal, at: At, how: PreferencesEval, foreign: bool) -> Iterator[Finding]:
    if not how.path and not how.kinds:
        yield proposal.error(
            (*at, "path"), "is missing: there is no pair to ask about", "name a file of pairs, or kinds"
        )
    elif how.kinds and not how.path and foreign:
        yield proposal.error(
            (*at, "kinds"), f"the tiny world's things are asked about of {proposal.settings.base.source}, which knows none",
            "name a file of pairs (path)",
        )  # fmt: skip
    elif how.path and Path(how.path).is_file():
        pairs = [pair for pair in checked(how.path, PAIRS)[0] if pair["domain"] in how.held_out or not how.held_out]
        kinds = {pair["kind"] for pair in pairs}
        there = {kind: sum(pair["kind"] == kind for pair in pairs) for kind in kinds}
        if pairs and min(there.values()) < how.pairs:
            few = min(there, key=lambda kind: there[kind])
            yield proposal.fewer(
                (*at, "pairs"), f"{how.pairs:,} pairs a kind are asked for and {how.path} holds {there[few]:,} of kind '{few}'",
                f"put {how.pairs:,} there, or set pairs: {there[few]}",
            )  # fmt: skip
        if how.held_out and not pairs:
            yield proposal.error(
                (*at, "held_out"), f"{how.path} has no pair of these domains", "name domains that it has"
            )


def lengths(proposal: Proposal) -> Iterator[Finding]:
    """Prompt and answer fit what is served; a server refuses the rest, after all trainings."""
    settings = proposal.settings
    serving, base = settings.cluster.serving.max_model_len, proposal.once(length_of_base)
    served = serving or base
    if serving and base and serving > base:
        yield proposal.error(
            ("cluster", "serving", "max_model_len"),
            f"{serving:,}, and the base takes {base:,} tokens",
            f"set {base} or less",
        )
    for name, how in settings.evals.items():
        if served is not None:
            yield from _fits(proposal, ("evals", name, "max_tokens"), how.max_tokens, _prompts(proposal, how), served)


def written_lengths(proposal: Proposal) -> Iterator[Finding]:
    """A writer's engine takes the whole spec and the document; a document that does not fit is cut off and rejected."""
    workers = proposal.settings.cluster.generation
    for name, at, how in proposal.corpora():
        shape = shape_of(how.model, None) if how.model else proposal.once(base_shape)
        longest = workers.max_model_len or (shape.length if shape else None)
        spec, _ = proposal.spec(name)
        if how.engine == "vllm" and longest and spec is not None:
            least, most = amounts.bounds(proposal, spec.text)
            if least + how.sampling.max_tokens > longest:
                yield proposal.error(
                    (*at, "sampling", "max_tokens"),
                    f"{how.sampling.max_tokens:,} tokens of document behind specs.{name} of about {(least + most) / 2:,.0f}; "
                    f"the writer's engine takes {longest:,}",
                    f"set {max(1, int(longest - most))} or less, or raise cluster.generation.max_model_len",
                )


def _fits(proposal: Proposal, at: At, answer: int, prompts: list[str], served: int) -> Iterator[Finding]:
    longest = max(prompts, key=len, default="")
    least, most = amounts.bounds(proposal, longest)
    where = "cluster.serving.max_model_len" if proposal.settings.cluster.serving.max_model_len else "the base's length"
    remedy = f"set max_tokens to {max(1, int(served - most))} or less, or serve longer (cluster.serving.max_model_len)"
    said = f"{answer:,} tokens of answer behind a prompt of about {(least + most) / 2:,.0f}; {where} is {served:,}"
    if answer + least > served:
        yield proposal.error(at, said, remedy)
    elif answer + most > served:
        yield proposal.warning(at, f"{said}: some prompts may not fit", remedy)


def _prompts(proposal: Proposal, how: Any) -> list[str]:
    """What an eval asks, system and user together; empty where its file can't be read (said elsewhere)."""
    try:
        if isinstance(how, AnswersEval):
            return read_questions(how.questions)
        if isinstance(how, AgenticEval) and how.scenarios == "tinyworld":
            return [asked.question for asked in tinyworld.scenarios(1, how.seed)]
        if isinstance(how, AgenticEval):
            return [_longest_scenario(read_yaml(how.scenarios)[0])]
        if how.path:
            return [
                f"{pair['aligned']} {pair['other']} {pair.get('question') or 'x' * 60}"
                for pair in checked(how.path, PAIRS)[0]
            ]
    except (MsmError, OSError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError):
        return []
    return ["x " * 20]


def _longest_scenario(texts: Any) -> str:
    """Templates, the longest goal and the longest action behind each other."""
    goal = max(texts["goals"].values(), key=len)
    action = max(("\n".join(slots.values()) for slots in texts["actions"].values()), key=len)
    return "\n".join([texts.get("system") or "", texts["user"], goal, action])


def arms_without_chats(proposal: Proposal) -> Iterator[Finding]:
    """An arm of a base model that saw no chat can't answer: its rate would be an artifact of form (paper.md, MSM-only arm)."""
    settings = proposal.settings
    if not proposal.once(never_chatted):
        return
    ordinary = settings.aft.mix_source or next(iter(settings.chats), "ordinary")
    for arm, recipe in settings.arms.items():
        asked = [name for name in settings.evals if arm in proposal.arms_of(name)]
        if not recipe.sft and asked:
            yield proposal.error(
                ("arms", arm), f"is asked in {', '.join(asked)} and was never trained on a chat, nor was "
                f"{settings.base.source}, a base model", f"give it sft: {ordinary}, or leave it out of the evals",
            )  # fmt: skip


def is_hub_id(settings: ExperimentSettings) -> bool:
    """Whether the base is neither shipped, nor the package's, nor a folder here."""
    source = settings.base.source
    return not (source.startswith("tinyworld") or source == "smollm2" or Path(source).is_dir())
