"""A given checkpoint as a folder of the form that our own trainings leave: weights, tokenizer, template, a card."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_ray import models
from msm_ray.checkpoints.fit import AskedWith, Manner, asked_with, refuse_unfit
from msm_ray.checkpoints.source import COMMIT, Form, Source, names_other_base, read_form
from msm_ray.corpus import templates
from msm_ray.corpus.special_tokens import CONFIG
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.train import loading

FACTS = "given.json"
"""What was found when it was taken: what `msm show` tells of it."""
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")
TOKENIZER = (*VOCABULARIES, "merges.txt", CONFIG, "special_tokens_map.json")


def take(out: Path, source: Source, manner: Manner) -> dict[str, Any]:
    """Put a given checkpoint into `out/adapter` or `out/model`, once it is held against the base; returns counts.

    Raises SettingsError for what can't be served or does not fit, PreflightError for what can't be had.
    """
    folder, adapter = out / "model", out / "adapter"
    for left in (folder, adapter):
        shutil.rmtree(left, ignore_errors=True)  # half a copy of an interrupted try
    commit = _fetch(source, folder)
    try:
        form = read_form(folder)
        refuse_unfit(folder, form, manner.base)
        asked = asked_with(folder, manner)
    except SettingsError as error:
        raise SettingsError(f"{source}: {str(error).replace(str(folder), source.name)}") from None
    _complete(folder, manner)
    facts = _facts(source, form, manner, asked) | ({"commit": commit} if commit else {})
    for what in [facts[key] for key in ("other base",) if key in facts] + ([asked.words] if asked.odd else []):
        warnings.warn(f"{source}: {what}", stacklevel=2)
    (out / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    _write_card(folder, form, facts, manner)
    counts = {"parameters": models.count_parameters(folder)}
    if form.adapter:
        folder.rename(adapter)
        counts["rank"] = form.rank
    return counts


def _fetch(source: Source, folder: Path) -> str | None:
    """Only what is read: no code, no pickles, no folders inside. Returns the commit that the hub gave, where it is known."""
    if source.digest is None:
        models.download(source.name, folder, source.revision)
        notes = folder / ".cache"  # the hub client's own: a file for each that it fetched, the commit in its first line
        told = {file.read_text(encoding="utf-8").partition("\n")[0] for file in notes.rglob("*.metadata")}
        shutil.rmtree(notes, ignore_errors=True)
        return next((commit for commit in told if COMMIT.fullmatch(commit)), None)
    folder.mkdir(parents=True)
    try:
        for file in sorted(Path(source.name).iterdir()):
            if file.is_file() and file.suffix in models.READ:
                shutil.copyfile(file, folder / file.name)
    except FileNotFoundError as error:
        raise PreflightError(f"{error.filename}: is gone; name a folder that stays until it is copied") from None
    if models.weights_digest(folder) != source.digest:
        raise PreflightError(f"{source.name}: changed since the experiment was read; the same command reads it anew")
    return None


def _complete(folder: Path, manner: Manner) -> None:
    """What serving, merging and whoever takes the folder away want beside the weights, where it brings none: the base's."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        for name in TOKENIZER:
            if (manner.base / name).is_file() and not (folder / name).exists():
                shutil.copyfile(manner.base / name, folder / name)
    chat = templates.read_format(manner.base)
    own = manner.template == "own" and templates.read_format(folder)
    if chat and not own:  # it renders the same, or was chosen: a folder says what its arm is asked with
        (folder / templates.FILE).write_bytes(chat.text.encode())


def _facts(source: Source, form: Form, manner: Manner, asked: AskedWith) -> dict[str, str]:
    facts = {
        "given as": str(source),
        "form": f"LoRA adapter of rank {form.rank}" if form.adapter else "full model",
        "base": manner.base_source,
        "chat template": asked.words,
        "checked": "that it fits the base; a server holds its answers against the base's, and not against its training's, which "
        "are not known",
    }
    if other := names_other_base(form, manner.base_source):
        facts["other base"] = f"it says that it is an adapter of {other}, and it is put onto {manner.base_source}"
    return facts


def _write_card(folder: Path, form: Form, facts: Mapping[str, str], manner: Manner) -> None:
    """A card of ours, with nothing in it that is not known."""
    base = "/".join(("../../..", *manner.base.parts[-3:])) if form.adapter else None
    table = "\n".join(f"| {key} | {value.replace('|', '/')} |" for key, value in facts.items() if key != "form")
    (folder / "README.md").write_text(
        f"---\nlibrary_name: {'peft' if form.adapter else 'transformers'}\npipeline_tag: text-generation\n---\n"
        f"# {facts['given as']}\n\nNot trained by msm_ray: a {facts['form']} that was given to it.\n\n"
        + loading.section(loading.lines(".", base))
        + f"| | |\n|---|---|\n{table}\n",
        encoding="utf-8",
    )
