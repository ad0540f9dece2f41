"""Checkpoints that somebody else trained: what can be known of them, and of how they fit the base, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msm_ray.checkpoints.fit import Manner, asked_with, refuse_other_shapes
from msm_ray.checkpoints.source import COMMIT, Form, names_other_base, read_form, refuse
from msm_ray.config.arms import ArmSettings
from msm_ray.config.recipes import arm_thinking
from msm_ray.errors import SettingsError
from msm_ray.preflight.base import HUB_ID, base_folder, base_shape, cached, hub_model
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import shape_of
from msm_ray.yaml_tree import At


def given(proposal: Proposal) -> Iterator[Finding]:
    """Each given checkpoint is there and can be served; what comes from the hub is pinned."""
    for arm, how in proposal.settings.arms.items():
        if how.checkpoint:
            yield from _given(proposal, arm, how, how.checkpoint)


def forms(proposal: Proposal) -> dict[str, Form | None]:
    """What each given checkpoint holds, by arm; None where that is not known here."""
    return {arm: _form(how) for arm, how in proposal.settings.arms.items() if how.checkpoint}


def _form(how: ArmSettings) -> Form | None:
    folder = _folder(how)
    try:
        return read_form(folder) if folder else None
    except SettingsError:
        return None  # said by `given`


def _folder(how: ArmSettings) -> Path | None:
    """A given checkpoint's folder where its files are on this machine: the user's, or in the hub's cache."""
    name = str(how.checkpoint)
    if Path(name).is_dir():
        return Path(name)
    return cached(name, how.revision) if HUB_ID.fullmatch(name) else None


def _given(proposal: Proposal, arm: str, how: ArmSettings, name: str) -> Iterator[Finding]:
    at: At = ("arms", arm, "checkpoint")
    folder = _folder(how)
    _, wrong = proposal.tried(at, lambda: refuse(name, how.revision))
    yield from wrong
    if wrong:
        return
    if not Path(name).is_dir():
        yield from hub_model(proposal, at, name, "checkpoint", how.revision)
        yield from _pinned(proposal, arm, how)
    if folder is not None:
        form, wrong = proposal.tried(at, lambda: read_form(folder))
        yield from wrong
        if form is not None:
            yield from _fits(proposal, arm, folder, form)


def _pinned(proposal: Proposal, arm: str, how: ArmSettings) -> Iterator[Finding]:
    """A branch is whatever its owner makes of it: the same command would ask other weights one day, and nothing would say so."""
    if how.revision is None or not COMMIT.fullmatch(how.revision):
        said = f"'{how.revision}' is no commit" if how.revision else "has no revision"
        yield proposal.warning(
            ("arms", arm, "revision" if how.revision else "checkpoint"), f"{how.checkpoint} {said}: what it is may change",
            f"set revision to the commit that https://huggingface.co/{how.checkpoint}/commits/main shows",
        )  # fmt: skip


def _fits(proposal: Proposal, arm: str, folder: Path, form: Form) -> Iterator[Finding]:
    """Against the base: its name, its shape and its template, as far as its files are here."""
    settings, at = proposal.settings, ("arms", arm, "checkpoint")
    if other := names_other_base(form, settings.base.source):
        yield proposal.warning(
            at, f"it says that it is an adapter of {other}, and base.source is {settings.base.source}",
            "make sure that the two are the same weights",
        )  # fmt: skip
    base = proposal.once(base_folder)
    if base is None:
        return
    if form.adapter and list(base.glob("*.safetensors")):
        yield from proposal.tried(at, lambda: refuse_other_shapes(folder, base))[1]
    elif not form.adapter and shape_of("", folder) != proposal.once(base_shape):
        yield proposal.error(
            at, "it is a full model of another shape than the base's", "give a checkpoint of the base, or another base"
        )
    shape = proposal.once(base_shape)
    if not form.adapter and shape and shape.tied and not settings.cluster.serving.gpus:
        yield proposal.error(
            at, "the base ties its embeddings, and an engine on CPUs that takes other weights then answers with neither model",
            "give an adapter, or serve on GPUs (cluster.serving.gpus)",
        )  # fmt: skip
    yield from _template(proposal, arm, folder, base)


def _template(proposal: Proposal, arm: str, folder: Path, base: Path) -> Iterator[Finding]:
    settings, how = proposal.settings, proposal.settings.arms[arm]
    instead = settings.base.chat_template
    manner = Manner(
        base, settings.base.source, how.chat_template, settings.chat_template_kwargs, arm_thinking(settings, arm),
        Path(instead) if instead else None,
    )  # fmt: skip
    asked, wrong = proposal.tried(("arms", arm, "chat_template"), lambda: asked_with(folder, manner))
    yield from wrong
    if asked and asked.odd:
        remedy = "leave it out" if how.chat_template == "own" else "set it to own to ask it as it was trained"
        yield proposal.warning(("arms", arm, "chat_template"), asked.words, remedy)
