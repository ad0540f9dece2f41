"""Documents as tokens, one or many at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msm_ray.corpus.special_tokens import spelled
from msm_ray.corpus.tokens import NO_LOSS, Labelled, UntrainableText, special_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def document_tokens(tokenizer: PreTrainedTokenizerBase, text: str, separator: str | None = None) -> Labelled:
    """A document's tokens and labels. Every token carries loss but the first, which nothing precedes.

    Raises UntrainableText where `documents_tokens` says so.
    """
    (ids,) = documents_tokens(tokenizer, [text], separator)
    if isinstance(ids, UntrainableText):
        raise ids
    return ids, [NO_LOSS, *ids[1:]]


def documents_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], separator: str | None = None
) -> list[list[int] | UntrainableText]:
    """The tokens of each document: whole, with what the tokenizer itself puts before a text, and the separator after it.

    separator: the token between documents (`document_separator`), eos_token if not given. A special token that a text spells
    stays text. UntrainableText stands for an empty document, or one that is no Unicode. No text changes another's tokens.
    """
    pattern = _control_pattern(tokenizer)
    made: list[list[int] | UntrainableText] = [UntrainableText("empty document")] * len(texts)
    places: dict[bool, list[int]] = {False: [], True: []}
    for place, text in enumerate(texts):
        if why := _no_unicode(text):
            made[place] = UntrainableText(f"no Unicode text ({why})")
        elif text.strip():
            places[pattern is not None and pattern.search(text) is not None].append(place)
    end: Any = tokenizer.eos_token_id if separator is None else tokenizer.convert_tokens_to_ids(separator)
    for splits, own in places.items():
        for place, ids in zip(own, _batch(tokenizer, [texts[i] for i in own], splits), strict=True):
            if ids:
                made[place] = [*(ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids), end]  # one is its own
    return made


def _no_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.reason
    return ""


def _batch(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], splits: bool) -> list[list[int]]:
    """As transformers' own call gives them, which looks up for each token where in the text it stands: a tenth of the time.

    Where a tokenizer's class does nothing of its own, its Rust part is asked without that, after a call that sets it up.
    """
    if not texts:
        return []
    asked: dict[str, Any] = {"verbose": False, "return_attention_mask": False, "return_token_type_ids": False}
    if not _is_plain(type(tokenizer)):
        return tokenizer(list(texts), split_special_tokens=splits, **asked)["input_ids"]
    tokenizer("", split_special_tokens=splits, **asked)
    return [each.ids for each in tokenizer.backend_tokenizer.encode_batch_fast(list(texts))]


def _is_plain(kind: type) -> bool:
    from transformers import PreTrainedTokenizerFast

    plain = PreTrainedTokenizerFast
    return issubclass(kind, plain) and all(
        getattr(kind, name) is getattr(plain, name) for name in ("__call__", "_encode_plus")
    )


@lru_cache(maxsize=8)
def _control_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    return spelled(special_tokens(tokenizer))
