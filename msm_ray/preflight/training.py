"""Trainings that can't work, can't show anything, or whose result couldn't be served."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from msm_ray.config.names import group_of
from msm_ray.config.recipes import aft_settings
from msm_ray.preflight import amounts
from msm_ray.preflight.amounts import Amount
from msm_ray.preflight.base import base_shape
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import KNOWN
from msm_ray.train.settings import TrainSettings
from msm_ray.yaml_tree import At

LARGEST_RANK = 512
"""vLLM's largest `max_lora_rank` (vllm/config/lora.py, 0.32)."""


@dataclass(frozen=True)
class Training:
    """One way of training on one source, for all arms and seeds that share it.

    name: the spec or set of chats. at: path of the settings. main: what there is of the source; other: of what is mixed in,
    where something is (None: it can't be read).
    """

    kind: str
    name: str
    at: At
    how: TrainSettings
    main: Amount | None
    mixed: bool = False
    other: Amount | None = None

    @property
    def blocks(self) -> tuple[int, int] | None:
        """Fewest and most blocks that the training is likely to have; None where the source can't be read."""
        if self.main is None:
            return None
        whole = 1 - self.how.mix if self.mixed else 1
        least, most = (max(1, math.ceil(tokens / whole / self.how.sequence_length)) for tokens in self.main.tokens)
        return least, most

    def steps(self, blocks: int) -> int:
        """Optimizer steps with so many blocks."""
        return self.how.steps or math.ceil(round(self.how.epochs * blocks) / self.how.batch)


def trainings(proposal: Proposal) -> list[Training]:
    """Every way of training that some arm needs."""
    settings = proposal.settings
    if not settings.arms:
        return []
    midtraining = settings.midtraining
    found = [
        Training("midtrain", spec, ("midtraining",), midtraining, amounts.documents(proposal, how), midtraining.mix > 0)
        for spec, _, how in proposal.all_corpora()
    ]
    for arm, recipe in settings.arms.items():
        if recipe.sft:
            at: At = ("groups", group_of(arm), "aft") if group_of(arm) in settings.groups else ("aft",)
            how = aft_settings(settings, arm)
            if not any((known.at, known.name) == (at, recipe.sft) for known in found):
                found.append(_sft(proposal, at, how, recipe.sft))
    return found


def _sft(proposal: Proposal, at: At, how: TrainSettings, name: str) -> Training:
    sets = proposal.settings.chats
    main, other = amounts.chats(proposal, name), None
    mixed = bool(how.mix and how.mix_source and how.mix_source != name)
    if mixed:
        other = amounts.chats(proposal, str(how.mix_source))
        other = other and other.of(sets[str(how.mix_source)].count)
    return Training("sft", name, at, how, main and main.of(sets[name].count), mixed, other)


def ways(proposal: Proposal) -> dict[At, TrainSettings]:
    """The settings of the trainings, each once."""
    return {training.at: training.how for training in proposal.once(trainings)}


def lora_rank(proposal: Proposal) -> Iterator[Finding]:
    """An adapter that no engine serves would be trained for nothing."""
    for at, how in ways(proposal).items():
        if how.mode == "lora" and how.lora.r > LARGEST_RANK:
            yield proposal.error(
                (*at, "lora", "r"), f"{how.lora.r}: vLLM serves adapters up to rank {LARGEST_RANK}",
                f"set {LARGEST_RANK} or less, or mode: full",
            )  # fmt: skip


def fits_base(proposal: Proposal) -> Iterator[Finding]:
    """Blocks that the base can take, and adapters on parts that it has."""
    shape = proposal.once(base_shape)
    if shape is None:
        return
    parts = set(shape.matrices()) | {"embed_tokens", "lm_head"}
    for at, how in ways(proposal).items():
        if how.sequence_length > shape.length:
            yield proposal.error(
                (*at, "sequence_length"), f"{how.sequence_length:,}, and the base takes {shape.length:,} tokens",
                f"set {shape.length} or less",
            )  # fmt: skip
        unknown = sorted(set(how.lora.targets) - parts)
        if how.mode == "lora" and unknown and proposal.settings.base.source.lower() in KNOWN:
            yield proposal.error(
                (*at, "lora", "targets"),
                f"the base has no {', '.join(unknown)}",
                f"name some of {', '.join(sorted(parts))}",
            )


def steps(proposal: Proposal) -> Iterator[Finding]:
    """Too few optimizer steps show nothing, whatever the tokens; nor does a rate never reached."""
    for training in proposal.once(trainings):
        how, blocks = training.how, training.blocks
        if how.steps is None and blocks is None:
            continue
        least, most = (training.steps(count) for count in blocks or (1, 1))
        given = "steps" if how.steps else "batch"
        number = f"{most}" if least == most else f"{least} to {most}"
        whose = "training" if how.steps else f"training on '{training.name}'"
        if most < how.least_steps:
            yield proposal.error(
                (*training.at, given), f"{whose} takes {number} optimizer steps, fewer than least_steps="
                f"{how.least_steps}", "lower batch, set steps or epochs, or lower least_steps openly",
            )  # fmt: skip
        elif math.sqrt(least * most) < how.least_steps:
            yield proposal.warning(
                (*training.at, given), f"{whose} takes about {number} optimizer steps, and least_steps="
                f"{how.least_steps} refuses fewer", "lower batch, or set steps",
            )  # fmt: skip
        if math.ceil(how.warmup * most) >= most:
            yield proposal.error(
                (*training.at, "warmup"), f"the warmup takes {math.ceil(how.warmup * most)} of {most} steps: the full "
                "learning rate is never reached", "lower warmup, or train longer",
            )  # fmt: skip


def passes(proposal: Proposal) -> Iterator[Finding]:
    """A few chats seen hundreds of times are learned by heart, and no experiment on what a spec teaches."""
    for training in proposal.once(trainings):
        how, blocks = training.how, training.blocks
        if how.steps is None:
            if how.epochs > how.most_epochs:
                yield proposal.error(
                    (*training.at, "epochs"), f"{how.epochs:g} passes over the data, most_epochs allows {how.most_epochs:g}",
                    "lower epochs, or raise most_epochs openly",
                )  # fmt: skip
        elif blocks is not None and how.steps * how.batch > how.most_epochs * blocks[1]:
            about = round(math.sqrt(blocks[0] * blocks[1]))
            seen = how.steps * how.batch / about
            yield proposal.error(
                (*training.at, "steps"),
                f"{how.steps} steps of {how.batch} blocks pass about {seen:,.0f} times over '{training.name}', which fills about "
                f"{about} blocks of {how.sequence_length:,} tokens; most_epochs allows {how.most_epochs:g}",
                f"give it more data, lower steps to {max(1, round(how.most_epochs * about / how.batch))}, batch or "
                "sequence_length, or raise most_epochs openly",
            )  # fmt: skip
