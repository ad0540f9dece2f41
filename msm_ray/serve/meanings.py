"""Are two folders' templates, tokenizers and configurations the same in what they do? Files of equal meaning differ.

transformers 5 writes `rope_parameters`, `layer_types` and `head_dim` where older files have `rope_theta`; tokenizers since
0.20 writes merges as pairs where older files have strings; templates come with other line ends, as one of several named
ones, in a file of their own or inside the tokenizer's configuration.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.corpus.special_tokens import CONFIG
from msm_ray.corpus.templates import FILE, named_template

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NOT_SHAPE = frozenset(
    {"_name_or_path", "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id", "torch_dtype",
     "transformers_version", "use_cache"}
)  # fmt: skip
"""Keys of `config.json` in which two checkpoints of one shape may differ."""

TEXTS = (
    "The cat, 12345 of them; it's 3.14 o'clock — isn't it?\n\n\tdef f(x):\r\n    return x**2  # done",
    "  leading and trailing  ", "ünïcödé Ελληνικά русский 中文字 日本語 한국어 عربى हिन्दी 🧀🏳️‍🌈 ﬁ Å",
    "HELLO hello HeLLo WE'LL we'll\u00a0\u200b\u3000", "0 00 000 0000 1,000,000.00 x=-1e-7",
)  # fmt: skip
"""What tokenizers disagree about: digits, contractions, spaces, line ends, scripts, marks, case, normal forms."""


def template(folder: Path) -> str | None:
    """The chat template that a folder's tokenizer uses, as Jinja reads it; None where it has none.

    Jinja takes every kind of line end for one and drops the last; of several named templates the one called `default` counts.
    """
    if (folder / FILE).is_file():
        text: str | None = (folder / FILE).read_bytes().decode("utf-8")
    elif (folder / CONFIG).is_file():
        text = named_template(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    else:
        return None
    return text and re.sub(r"\r\n|\r", "\n", text).removesuffix("\n")


def tokenizers_differ(folder: Path, base: Path) -> str:
    """In what two folders' tokenizers differ, in words; an empty text where they give the same ids."""
    own, theirs = _tokenizer(folder), _tokenizer(base)
    if own is None or theirs is None or own == theirs:
        return ""
    for what, mine in own.items():
        if mine != theirs[what]:
            return f"{what} differ"
    return ""


def shapes_differ(folder: Path, base: Path) -> list[str]:
    """The keys of two folders' configurations that differ in a model's shape, sorted."""
    own, theirs = (_raw(each / "config.json") for each in (folder, base))
    if _shape_of(own) == _shape_of(theirs):
        return []  # and transformers, which takes seconds to import, need not be asked
    read = [_configuration(each) for each in (folder, base)]
    own, theirs = (own, theirs) if None in read else (each or {} for each in read)
    own, theirs = _shape_of(own), _shape_of(theirs)
    return sorted(key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key))


def _shape_of(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _shape_of(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in NOT_SHAPE
    }


def _raw(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _configuration(folder: Path) -> dict[str, Any] | None:
    """The configuration as transformers reads it, old names and left-out defaults resolved; None where it can't."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
    except (OSError, ValueError, KeyError):
        return None


def _tokenizer(folder: Path) -> dict[str, str] | None:
    """What a folder's tokenizer does, in digests by name; None where no file tells it."""
    file = folder / "tokenizer.json"
    if file.is_file():
        return _does(file.read_bytes())
    if not any((folder / name).is_file() for name in ("tokenizer.model", "vocab.json", "vocab.txt", CONFIG)):
        return None
    from transformers import AutoTokenizer

    try:
        slow: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return _does(slow.backend_tokenizer.to_str().encode())
    except (OSError, ValueError, KeyError, AttributeError):
        return None


@lru_cache(maxsize=256)
def _does(written: bytes) -> dict[str, str]:
    """Words, merges and special tokens as the library reads them, and the ids of texts that tell tokenizers apart."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(written.decode("utf-8"))
    tokenizer.no_padding()  # these two are the trainer's, and change with every use
    tokenizer.no_truncation()
    read = json.loads(tokenizer.to_str())
    added = sorted((token["id"], token["content"], token["special"]) for token in read["added_tokens"])
    return {
        "its words or merges": _digest({key: value for key, value in read["model"].items() if value}),
        "its added tokens": _digest(added),
        "the ids of some texts": _digest([_ids(tokenizer, text) for text in _texts(added)]),
    }


def _texts(added: list[tuple[int, str, bool]]) -> list[str]:
    """The texts, and each added token among words."""
    return [*TEXTS, *(f"one {content} two{content}" for _, content, _ in added[:64])]


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
