"""Which weights are given, and in what form: read from a folder's small files, or from a hub's id alone. Nothing is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray import models
from msm_ray.errors import SettingsError
from msm_ray.serve.arms import LORA_RANKS

ADAPTER = "adapter_config.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
UNSERVED = (
    "modules_to_save", "use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora",
    "trainable_token_indices", "target_parameters",
)  # fmt: skip
"""What of PEFT vLLM refuses or leaves out."""
PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Values of `init_lora_weights` that leave the base's weights alone (vllm/lora/peft_helper.py, 0.32)."""


@dataclass(frozen=True)
class Source:
    """A given checkpoint as a part of what is made from it.

    name: a folder or a hub id; revision: of the hub's; digest: of a folder's weights when the experiment was read.
    """

    name: str
    revision: str | None = None
    digest: str | None = None

    def identity(self) -> dict[str, str | None]:
        """A folder is what it holds and is called; what the hub has, its id and revision."""
        if self.digest:
            return {"checkpoint": Path(self.name).name, "weights": self.digest}
        return {"checkpoint": self.name, "revision": self.revision}

    def __str__(self) -> str:
        """For people: no folder of this machine."""
        if self.digest:
            return Path(self.name).name
        return f"{self.name} @{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class Form:
    """What a folder holds. rank: the largest of an adapter, 0 for a full model; base: the model that an adapter says it is of."""

    rank: int = 0
    base: str | None = None

    @property
    def adapter(self) -> bool:
        """Whether it is a LoRA adapter."""
        return self.rank > 0


def source_of(name: str, revision: str | None) -> Source:
    """A checkpoint by what the user calls it, a folder's weights looked at once. Errors as in `refuse`."""
    refuse(name, revision)
    return Source(name, revision, models.weights_digest(Path(name)) if Path(name).is_dir() else None)


def refuse(name: str, revision: str | None) -> None:
    """Raise SettingsError for a folder that is not there, or holds nothing that can be served; a hub id is not looked at."""
    if not Path(name).is_dir():
        if models.looks_like_path(name):
            raise SettingsError(f"{name}: no such folder")
        return
    if revision:
        raise SettingsError(
            f"{name} is a folder, and only what comes from the hub has a revision; leave `revision` out"
        )
    read_form(Path(name))


def read_form(folder: Path) -> Form:
    """What a folder holds, an adapter or a full model. Raises SettingsError where it is neither, or none that can be served."""
    if not (folder / ADAPTER).is_file():
        models.check_model_folder(folder)
        return Form()
    config = _adapter_config(folder / ADAPTER)
    if not list(folder.glob("adapter_model*.safetensors")):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8])
        raise SettingsError(f"{folder}: no adapter_model.safetensors (found: {found}); other formats are not read")
    if wrong := _unserved(config):
        raise SettingsError(
            f"{folder / ADAPTER}: {'; '.join(wrong)}: no engine serves such an adapter; merge it into its base"
        )
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise SettingsError(f"{folder / ADAPTER}: its rank `r` is {config.get('r')!r}, and has to be a positive number")
    if max(ranks) > LORA_RANKS[-1]:
        why = f"rank {max(ranks)}, and vLLM serves adapters up to rank {LORA_RANKS[-1]}"
        raise SettingsError(f"{folder / ADAPTER}: {why}; merge it into its base")
    return Form(max(ranks), config.get("base_model_name_or_path") or None)


def names_other_base(form: Form, base: str) -> str | None:
    """The base that an adapter names, where it is another than the experiment's; None where it is the same, or names none.

    Where one of the two is a folder, only the last parts can be compared.
    """
    said = (form.base or "").rstrip("/")
    ours = base.rstrip("/")
    if not said or said.lower() == ours.lower():
        return None
    a_folder = any(models.looks_like_path(name) or Path(name).is_dir() for name in (said, ours))
    same = models.base_name(said) == models.base_name(ours)
    return None if a_folder and same else " ".join(said.split())


def _adapter_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{file}: not valid JSON ({error})") from None
    if not isinstance(config, dict):
        raise SettingsError(f"{file}: no adapter's configuration: a JSON object is wanted")
    return config


def _unserved(config: Mapping[str, Any]) -> list[str]:
    """What of PEFT an adapter uses that no engine serves."""
    if (kind := config.get("peft_type", "LORA")) != "LORA":
        return [f"peft_type is {kind}"]
    used = [key for key in UNSERVED if config.get(key)]
    used += ["bias"] if config.get("bias", "none") != "none" else []
    start = config.get("init_lora_weights")
    changes_base = isinstance(start, str) and start.lower() not in PLAIN_INITS
    return [f"it has `{key}`" for key in used] + ([f"init_lora_weights is {start}"] if changes_base else [])
