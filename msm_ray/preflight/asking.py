"""Evals that could not be asked, answered or judged, told before every arm is trained for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msm_ray.config import ExperimentSettings
from msm_ray.errors import MsmError
from msm_ray.evals.faults import Known
from msm_ray.evals.protocol import Eval
from msm_ray.models import is_shipped
from msm_ray.preflight import amounts
from msm_ray.preflight.base import base_shape, length_of_base, never_chatted, refuses_system
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import shape_of
from msm_ray.yaml_tree import At


def evals(proposal: Proposal) -> Iterator[Finding]:
    """What each eval finds wrong with its own settings and files, and with the arms that it would ask."""
    settings = proposal.settings
    known = Known(
        base=settings.base.source,
        world=settings.world,
        foreign=settings.base.source == "smollm2" or is_hub_id(settings),
        refuses_system=proposal.once(refuses_system),
    )
    for name, how in settings.evals.items():
        yield from proposal.told(("evals", name), how.faults(known))


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
        if served is not None and (longest := how.asking().max_tokens) is not None:
            yield from _fits(proposal, ("evals", name, "max_tokens"), longest, _prompts(how), served)


def written_lengths(proposal: Proposal) -> Iterator[Finding]:
    """A writer's engine takes the whole spec and the document; a document that does not fit is cut off and rejected."""
    workers = proposal.settings.cluster.generation
    for name, at, how in proposal.written():
        shape = shape_of(how.model, None) if how.model else proposal.once(base_shape)
        longest = workers.max_model_len or (shape.length if shape else None)
        spec, _ = proposal.spec(name)
        if how.engine == "vllm" and how.shown == "spec" and longest and spec is not None:
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


def _prompts(how: Eval) -> list[str]:
    """What an eval asks, system and user together; empty where its file can't be read (said elsewhere)."""
    try:
        return how.prompts()
    except (MsmError, OSError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError):
        return []


def arms_without_chats(proposal: Proposal) -> Iterator[Finding]:
    """An arm of a base model that saw no chat can't answer: its rate would be an artifact of form."""
    settings = proposal.settings
    if not proposal.once(never_chatted):
        return
    ordinary = settings.aft.mix_source or next(iter(settings.chats), "ordinary")
    for arm, recipe in settings.arms.items():
        asked = [name for name in settings.evals if arm in proposal.arms_of(name)]
        if not (recipe.sft or recipe.checkpoint) and asked:  # what a given one was trained on is its makers' business
            yield proposal.error(
                ("arms", arm), f"is asked in {', '.join(asked)} and was never trained on a chat, nor was "
                f"{settings.base.source}, a base model", f"give it sft: {ordinary}, or leave it out of the evals",
            )  # fmt: skip


def is_hub_id(settings: ExperimentSettings) -> bool:
    """Whether the base is neither shipped, nor the package's, nor a folder here."""
    source = settings.base.source
    return not (is_shipped(source) or source == "smollm2" or Path(source).is_dir())
