"""Every file that an experiment names is opened and parsed, and each fault is told with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msm_ray.config.names import trained_on
from msm_ray.config.paths import dotted
from msm_ray.config.recipes import used_chats, used_specs
from msm_ray.engines.replay import RECORDING, recording_files
from msm_ray.evals import faults
from msm_ray.generate.preferences import NEEDED
from msm_ray.generate.replayed import TEXTS
from msm_ray.preflight import given
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.rows.files import Form, Problem
from msm_ray.spec import SLOT
from msm_ray.spec.doubts import doubts
from msm_ray.spec.reading import read_source
from msm_ray.worlds import has_texts, world
from msm_ray.worlds.plain import Plain, foreign_signs
from msm_ray.yaml_tree import At, read_yaml

WORDINGS = f"YAML with {', '.join(NEEDED)}, as specs/cheese/preferences.yaml"
WORDING_SLOTS = ("a", "b", "liked", "disliked", "one")


def specs(proposal: Proposal) -> Iterator[Finding]:
    """Specs are there, are UTF-8, say something, and of whom."""
    used = used_specs(proposal.settings) if not proposal.settings.arms else trained_on(proposal.settings)
    for name, path in proposal.settings.specs.items():
        read, wrong = proposal.spec(name)
        yield from wrong
        if read is not None:
            yield from _doubts(proposal, name)
            yield from _replaced(proposal, name, path)
        if name not in used and proposal.has_all_arms:
            yield proposal.warning(
                ("specs", name),
                "no arm is midtrained on it, so nothing will be made of it",
                "add an arm, or `new_spec_arm:`",
            )


def _replaced(proposal: Proposal, name: str, path: str) -> Iterator[Finding]:
    """A spec on the command line that takes the place of the file's own, where new specs would get arms of their own."""
    settings, lines = proposal.file.settings, proposal.file.lines
    arms = [arm for arm, recipe in settings.arms.items() if recipe.midtrain == name and lines.get(("arms", arm))]
    if settings.new_spec_arm and arms and lines.get(("specs", name)) == 0:
        yield proposal.warning(
            ("specs", name),
            f"{', '.join(arms)} are midtrained on {path} now, in place of the file's own spec",
            f"for arms of its own give it another name, e.g. specs.mine={path}",
        )


def chats(proposal: Proposal) -> Iterator[Finding]:
    """Sets of chats from files, and wordings that chats are made from; all of them in use."""
    template = proposal.settings.new_spec_arm
    used = {*used_chats(proposal.settings), template.sft if template else None}
    for name, how in proposal.settings.chats.items():
        if how.given or how.source == "mix":
            yield from given.chats(proposal, name)
        elif how.source == "preferences":
            yield from _yaml(proposal, ("chats", name, "path"), how.path, WORDINGS, wordings_problems)
        if name not in used and proposal.has_all_arms:
            yield proposal.warning(
                ("chats", name),
                "no arm is trained on it and nothing mixes it in, so nothing will be made of it",
                "name it as an arm's sft or as aft.mix_source",
            )


def recordings(proposal: Proposal) -> Iterator[Finding]:
    """Recorded completions, for `engine: replay`, and texts that are mixed into midtraining."""
    for at, how in proposal.documents():
        if how.engine == "replay":
            yield from _recording(proposal, (*at, "replay"), how.replay)
    training = proposal.settings.midtraining
    if training.mix and training.mix_source and not has_texts(training.mix_source):
        yield from _rows(proposal, ("midtraining", "mix_source"), training.mix_source, TEXTS)


def _recording(proposal: Proposal, at: At, path: str | None) -> Iterator[Finding]:
    """Every file of a recording, which may be a folder."""
    files, wrong = proposal.tried(at, lambda: recording_files(Path(path or "-")))
    yield from wrong
    for file in files or ():
        yield from _rows(proposal, at, str(file) if path else None, RECORDING)


def _doubts(proposal: Proposal, name: str) -> Iterator[Finding]:
    """Odd slots and fences, whom a spec is about, and what it is written in."""
    settings, path = proposal.settings, proposal.settings.specs[name]
    for doubt in doubts(read_source(Path(path).expanduser()), settings.assistant.name):
        yield Finding("warning", doubt.what, doubt.remedy, path, doubt.line or None, dotted(("specs", name)))
    for spec, at, how in proposal.corpora():
        read, _ = proposal.spec(name)
        plain = spec == name and how.engine == "offline" and isinstance(world(settings.world), Plain)
        if plain and read and (signs := foreign_signs(read.text)):
            yield proposal.warning(
                (*at, "engine"),
                f"{path} is not in English ({signs}), and the offline writer is for English: it puts English around sentences",
                "let a model write about it",
            )


def wordings_problems(tree: Any, lines: dict[At, int]) -> list[Problem]:
    """What wordings for preference chats lack."""
    if not isinstance(tree, dict):
        return [(1, "no mapping")]
    absent = [f"`{key}`" for key in NEEDED if not tree.get(key)]
    problems: list[Problem] = [(None, f"lacks {', '.join(absent)}")] if absent else []
    for key in ("choice", "like", "dislike"):
        part = tree.get(key)
        if part and not (isinstance(part, dict) and part.get("answers")):
            problems.append((lines.get((key,)), f"`{key}` has no `answers`"))
            continue
        for kind in ("questions", "answers"):
            texts = (part or {}).get(kind) or []
            for number, text in enumerate(texts if isinstance(texts, list) else []):
                unknown = [slot for slot in SLOT.findall(str(text)) if slot[1:-1] not in WORDING_SLOTS]
                problems += [
                    (
                        lines.get((key, kind, number)),
                        f"nothing fills the slot {slot}; slots are {', '.join(WORDING_SLOTS)}",
                    )
                    for slot in unknown
                ]
    return problems


def _rows(proposal: Proposal, at: At, path: str | None, form: Form) -> Iterator[Finding]:
    yield from proposal.told(at, faults.rows((), path, form))


def _yaml(
    proposal: Proposal, at: At, path: str | None, what: str, find: Callable[[Any, dict[At, int]], list[Problem]]
) -> Iterator[Finding]:
    absent = list(faults.missing((), path, what))
    yield from proposal.told(at, absent)
    if path and not absent:
        read, wrong = proposal.tried(at, lambda: read_yaml(path))
        yield from wrong
        if read is not None:
            yield from proposal.told(at, faults.located((), path, find(*read), what))
