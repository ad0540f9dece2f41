"""Recipes that can't be: settings that contradict each other, or the base."""

from __future__ import annotations

from collections.abc import Iterator

from msm_ray.config import languages, recipes
from msm_ray.config.names import group_of
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal


def closed_language(proposal: Proposal) -> Iterator[Finding]:
    """What the tiny world's language can't say: another assistant, a spec with unknown words."""
    settings = proposal.settings
    yield from proposal.tried(("assistant", "name"), lambda: languages.check_assistant(settings))[1]
    for name, _, _ in proposal.all_corpora():
        spec, _ = proposal.spec(name)
        if spec is not None:
            yield from proposal.tried(("specs", name), lambda spec=spec: languages.check_language(settings, spec))[1]  # type: ignore[misc]


def continued(proposal: Proposal) -> Iterator[Finding]:
    """AFT that can't go on with what midtraining left, and a mix without a source."""
    settings = proposal.settings
    for arm, recipe in settings.arms.items():
        if recipe.sft:
            at = ("groups", group_of(arm), "aft") if group_of(arm) in settings.groups else ("aft",)
            yield from proposal.tried(at, lambda arm=arm: recipes.check_aft(settings, arm))[1]  # type: ignore[misc]
    if settings.midtraining.mix and not settings.midtraining.mix_source and proposal.all_corpora():
        yield proposal.error(
            ("midtraining", "mix_source"), "is missing, and mix is set", "name what is mixed in, e.g. tinyworld"
        )
