"""Which folders can be served together, read from the files alone: no engine.

An arm is the base itself, a PEFT adapter of it, or a full checkpoint of the same shape. Everything that would be
answered wrongly without an error (another template, another vocabulary, tied embeddings on a CPU engine) is refused here.
Files are compared by what they mean (`meanings.py`), since libraries of different ages write the same thing in other words.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from msm_ray.corpus.templates import FILE, read_format, turn_end
from msm_ray.errors import PreflightError, SettingsError, StageError
from msm_ray.serve import meanings

Kind = Literal["base", "adapter", "full"]

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for `max_lora_rank`."""


@dataclass(frozen=True)
class Arm:
    """One thing that can be asked. name: `<base-id>` or `<base-id>:<arm-id>`; folder: its weights; rank: an adapter's r.

    options: the `chat_template_kwargs` that it was trained with, and so is asked with. template: a chat template of its own,
    where it is not asked with the base's.
    """

    name: str
    folder: str
    kind: Kind
    rank: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None


def read_arms(
    base: Path,
    arms: dict[str, Path],
    base_id: str,
    *,
    on_cpu: bool,
    options: Mapping[str | None, Mapping[str, Any]] | None = None,
    own_templates: Collection[str] = (),
) -> list[Arm]:
    """The base and its arms, checked against each other; the base comes first. options: by arm id, the base's by None.
    own_templates: ids of the arms that are asked with the template in their own folder.

    Raises `StageError` for a folder that is no checkpoint or does not fit the base, `PreflightError` for tied
    embeddings where a CPU engine would have to take turns (vLLM reloads those silently wrong).
    """
    read_config(base, "the base model")
    served, options = [Arm(base_id, str(base), "base")], options or {}
    for arm_id, folder in arms.items():
        served.append(_read_arm(f"{base_id}:{arm_id}", folder, base, own_template=arm_id in own_templates))
    asked = [options.get(arm_id, {}) for arm_id in (None, *arms)]
    served = [replace(arm, options=dict(own)) for arm, own in zip(served, asked, strict=True)]
    _refuse_mixture(served)
    if on_cpu and any(arm.kind == "full" for arm in served):
        _refuse_tied(base)
    return served


def same_weights(one: Arm, other: Arm) -> bool:
    """Whether two adapters' weights are the same bytes."""
    mine, others = ({file.name: file for file in Path(arm.folder).glob("adapter_model.*")} for arm in (one, other))
    return mine.keys() == others.keys() and all(filecmp.cmp(mine[name], others[name], shallow=False) for name in mine)


def read_config(folder: Path, what: str) -> dict:
    """The `config.json` of a checkpoint folder; `StageError` names what is wrong with the folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise StageError(
            f"{what} is no checkpoint: {folder} has no config.json. Point it at a Hugging Face model folder."
        )
    if not any(folder.glob("*.safetensors")):
        raise StageError(f"{what} has no weights: {folder} holds no .safetensors file. Export it again.")
    return json.loads(file.read_text(encoding="utf-8"))


def turn_end_id(base: Path) -> int | None:
    """The id of the token that ends an answer in the base's template, at which an engine has to stop.

    It need not be the tokenizer's eos_token, the only one that vLLM stops at by itself. None where the template names none.
    """
    from tokenizers import Tokenizer

    file = base / "tokenizer.json"
    try:
        chat = read_format(base)
        return Tokenizer.from_file(str(file)).token_to_id(turn_end(chat)) if chat and file.is_file() else None
    except SettingsError:  # a template for other things than chats
        return None


def digest(text: str) -> str:
    """The first 12 hex digits of a text's SHA-256: enough to tell two templates apart in a message."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _read_arm(name: str, folder: Path, base: Path, *, own_template: bool) -> Arm:
    if folder.resolve() == base.resolve():
        return Arm(name, str(base), "base")
    template = meanings.template(folder) if own_template else None
    if template is None:
        _same_template(name, folder, base)
    _same_vocabulary(name, folder, base)
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        config = json.loads(adapter.read_text(encoding="utf-8"))
        rank = max(int(config["r"]), *map(int, (config.get("rank_pattern") or {0: 0}).values()))
        return Arm(name, str(folder), "adapter", rank=rank, template=template)
    _same_shape(name, folder, base)
    return Arm(name, str(folder), "full", template=template)


def _same_template(name: str, folder: Path, base: Path) -> None:
    """The engine renders chats with the base's template; an arm trained on another would be asked in a foreign format."""
    trained, served = meanings.template(folder), meanings.template(base)
    if trained is None or served is None:
        where = folder if trained is None else base
        raise StageError(
            f"{name}: {where} has no chat template, so training and serving cannot be shown to agree. "
            f"Save the tokenizer with its template ({FILE}) beside the weights."
        )
    if trained != served:
        raise StageError(
            f"{name}: trained with chat template {digest(trained)} ({folder}), served with "
            f"{digest(served)} ({base}). Train it again with the base's template."
        )


def _same_vocabulary(name: str, folder: Path, base: Path) -> None:
    """The engine's tokenizer is the base's: the arm's has to make the same ids of every text."""
    if problem := meanings.tokenizers_differ(folder, base):
        raise StageError(
            f"{name}: the tokenizer in {folder} is not the base's ({base}): {problem}. Train it on this base."
        )


def _same_shape(name: str, folder: Path, base: Path) -> None:
    read_config(folder, name)
    if differing := meanings.shapes_differ(folder, base):
        raise StageError(
            f"{name}: {folder} has another shape than the base {base}: {', '.join(differing)} differ. "
            "Arms that take turns on one engine must be checkpoints of one architecture."
        )


def _refuse_mixture(arms: list[Arm]) -> None:
    kinds = {arm.kind for arm in arms} - {"base"}
    if kinds == {"adapter", "full"}:
        raise StageError(
            "adapters and full checkpoints cannot share one engine: reloading weights drops the adapters. "
            "Serve them one after the other."
        )


def _refuse_tied(base: Path) -> None:
    if read_config(base, "the base model").get("tie_word_embeddings"):
        raise PreflightError(
            f"{base} ties its embeddings; a CPU engine that takes another checkpoint's weights then answers "
            "with neither model. Use adapters (train.mode: lora), an untied base, or a GPU."
        )
