"""Do the names that the parts of an experiment use exist? Called when settings are read."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msm_ray.config.arms import ArmSettings

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings
    from msm_ray.generate.document_settings import DocumentSettings

ARM_NAME = re.compile(r"^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9+-]*$")
NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")


At = tuple[str | int, ...]
Problem = tuple[At, str]
"""Path of the setting that uses a name, for the line number, and what is wrong."""


class UnknownNames(ValueError):
    """Names that are not defined."""

    def __init__(self, problems: list[Problem]):
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


def check_names(settings: ExperimentSettings) -> None:
    """Raise UnknownNames for every unknown spec, set of chats and arm, each with the nearest one that exists."""
    if problems := list(_problems(settings)):
        raise UnknownNames(problems)


def _problems(settings: ExperimentSettings) -> Iterator[Problem]:
    for kind, names in (("spec", settings.specs), ("chats", settings.chats), ("eval", settings.evals)):
        for name in names:
            if not NAME.match(name):
                yield (
                    (f"{kind}s" if kind != "chats" else kind, name),
                    f"{kind} '{name}': names are lower-case letters, digits and '-' (they become folder names)",
                )
    for spec in settings.corpora:
        yield from _known(spec, settings.specs, ("corpora", spec), "spec")
    yield from _check_chats(settings)
    yield from _check_rewrites(settings)
    for arm, recipe in settings.arms.items():
        if not ARM_NAME.match(arm):
            yield (("arms", arm), f"arm '{arm}': an arm is named group/name in lower-case letters, digits, '-' and '+'")
        if recipe.midtrain:
            yield from _known(recipe.midtrain, settings.specs, ("arms", arm, "midtrain"), "spec")
        if recipe.sft:
            yield from _known(recipe.sft, settings.chats, ("arms", arm, "sft"), "chats")
        for key, wrong in recipe.contradictions():
            yield (("arms", arm, key), f"'arms.{arm}.{key}': {wrong}")
    if settings.new_spec_arm and settings.new_spec_arm.sft:
        yield from _known(settings.new_spec_arm.sft, settings.chats, ("new_spec_arm", "sft"), "chats")
    yield from _taken(settings)
    if settings.aft.mix_source:
        yield from _known(settings.aft.mix_source, settings.chats, ("aft", "mix_source"), "chats")
    groups = {group_of(arm) for arm in settings.arms}
    if settings.new_spec_arm:
        groups.add(settings.new_spec_arm.group)
    for group, own in settings.groups.items():
        yield from _known(group, groups, ("groups", group), "group of arms")
        if own.aft.mix_source and own.aft.mix_source != settings.aft.mix_source:
            yield from _known(own.aft.mix_source, settings.chats, ("groups", group, "aft", "mix_source"), "chats")
    yield from _check_evals(settings)
    yield from _check_report(settings)


def _check_chats(settings: ExperimentSettings) -> Iterator[Problem]:
    written = [name for name, how in settings.chats.items() if how.source == "written" and not how.of]
    for name, how in settings.chats.items():
        for key in ("spec", "conflicts_with"):
            if spec := getattr(how, key):
                yield from _known(spec, settings.specs, ("chats", name, key), "spec")
        for key in ("of", "dose_of"):
            if other := getattr(how, key):
                yield from _known(other, written, ("chats", name, key), "set of written chats")


def _check_rewrites(settings: ExperimentSettings) -> Iterator[Problem]:
    """Rewrites of documents that no spec has."""
    sections: dict[At, DocumentSettings] = {("documents",): settings.documents}
    sections |= {("corpora", spec): how for spec, how in settings.corpora.items()}
    for at, how in sections.items():
        if how.rewrite_of is None:
            continue
        here, key = (*at, "rewrite_of"), ".".join((*map(str, at), "rewrite"))
        if how.rewrite is None:
            yield here, f"'{key}_of' = '{how.rewrite_of}': and nothing is rewritten; give {key}, or leave this out"
        if how.rewrite_of not in settings.specs:
            yield from _known(how.rewrite_of, settings.specs, here, "spec")
        elif (other := source_of(settings, how.rewrite_of)) != how.rewrite_of:
            why = f"'{how.rewrite_of}' has no documents of its own, it rewrites those of '{other}'"
            yield here, f"'{key}_of' = '{how.rewrite_of}': {why}; name '{other}'"


def source_of(settings: ExperimentSettings, spec: str) -> str:
    """The spec whose documents a spec's corpus is made of: its own, or another that it rewrites."""
    how = settings.corpora.get(spec, settings.documents)
    return how.rewrite_of if how.rewrite and how.rewrite_of else spec


def trained_on(settings: ExperimentSettings) -> set[str]:
    """The specs that arms are midtrained on, and those whose documents are rewritten for these."""
    named = {recipe.midtrain for recipe in settings.arms.values() if recipe.midtrain}
    return named | {source_of(settings, spec) for spec in named}


def _taken(settings: ExperimentSettings) -> Iterator[Problem]:
    """New specs whose arms would take the place of others: once a spec, and not where the other's own spec is misspelt."""
    taken = {
        str(recipe.midtrain): (arm, settings.arms[arm].midtrain)
        for arm, recipe in reversed(new_arms(settings).items())
        if arm in settings.arms
    }
    for spec, (arm, other) in taken.items():
        if other is None or other in settings.specs:
            yield (
                ("specs", spec),
                f"'specs.{spec}': its arm would be called {arm}, and that arm is there, trained on {other or 'no spec'}; give "
                f"the spec another name, e.g. specs.mine={settings.specs[spec]}",
            )


def new_arms(settings: ExperimentSettings) -> dict[str, ArmSettings]:
    """The arms that `new_spec_arm` makes for each spec that no arm is midtrained on: midtrained, and with AFT behind it."""
    template, named = settings.new_spec_arm, trained_on(settings)
    arms: dict[str, ArmSettings] = {}
    for spec in [name for name in settings.specs if template and name not in named]:
        assert template is not None
        arms[f"{template.group}/msm-{spec}"] = ArmSettings(midtrain=spec)
        if template.sft:
            arms[f"{template.group}/msm-{spec}+aft"] = ArmSettings(midtrain=spec, sft=template.sft)
    return arms


def group_of(arm: str) -> str:
    """The group of an arm: `values` of `values/aft`."""
    return arm.partition("/")[0]


def _check_evals(settings: ExperimentSettings) -> Iterator[Problem]:
    groups = {f"{settings.new_spec_arm.group}/*"} if settings.new_spec_arm else set()
    for name, eval_settings in settings.evals.items():
        for index, pattern in enumerate(eval_settings.arms):
            if not fnmatch.filter(settings.arms, pattern) and pattern not in groups:
                yield from _known(pattern, settings.arms, ("evals", name, "arms", index), "arm")


def _check_report(settings: ExperimentSettings) -> Iterator[Problem]:
    for index, comparison in enumerate(settings.report.comparisons):
        at = ("report", "comparisons", index)
        yield from _known(comparison.eval, settings.evals, (*at, "eval"), "eval")
        yield from _known(comparison.a, settings.arms, (*at, "a"), "arm")
        yield from _known(comparison.b, settings.arms, (*at, "b"), "arm")
    for index, figure in enumerate(settings.report.figures):
        at = ("report", "figures", index)
        yield from _known(figure.eval, settings.evals, (*at, "eval"), "eval")
        for arm in (*figure.arms, *figure.paper):
            yield from _known(arm, settings.arms, at, "arm")


def unasked(settings: ExperimentSettings) -> list[tuple[tuple[str | int, ...], str]]:
    """What a report would silently leave out: (path of the setting, what is wrong) of each arm that an eval is not for.

    settings: with the arms for new specs already in.
    """
    found: list[tuple[tuple[str | int, ...], str]] = []
    for index, comparison in enumerate(settings.report.comparisons):
        at = ("report", "comparisons", index)
        found += _not_asked({"a": comparison.a, "b": comparison.b}, comparison.eval, settings, at)
        if not settings.evals[comparison.eval].scored:
            why = f"the answers of '{comparison.eval}' are shown and not scored: there is no rate to compare"
            found.append(((*at, "eval"), f"{why}; name another eval"))
    for index, figure in enumerate(settings.report.figures):
        at = ("report", "figures", index)
        found += _not_asked({arm: arm for arm in (*figure.arms, *figure.paper)}, figure.eval, settings, at)
    return found


def _not_asked(
    arms: Mapping[str, str], name: str, settings: ExperimentSettings, at: tuple[str | int, ...]
) -> list[tuple[tuple[str | int, ...], str]]:
    patterns = settings.evals[name].arms
    return [
        ((*at, key) if key != arm else at, f"the arm '{arm}' is not asked in the eval '{name}' (its arms: "
         f"{', '.join(patterns)}); add it to evals.{name}.arms, or name an arm that is")
        for key, arm in arms.items()
        if not any(fnmatch.fnmatch(arm, pattern) for pattern in patterns)
    ]  # fmt: skip


def _known(name: str, known: Iterable[str], at: tuple[str | int, ...], what: str) -> Iterator[Problem]:
    known = sorted(known)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
    yield at, f"'{'.'.join(map(str, at))}': unknown {what} '{name}'; {hint}"
