"""The only place that turns documents and chats into tokens, and says which of them carry loss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msm_ray.errors import SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_LOSS = -100
"""Label of a token that is not trained on (the value that PyTorch's cross-entropy ignores)."""

TrainedOn = Literal["assistant", "last_assistant", "all"]
Messages = Sequence[Mapping[str, str]]


class UntrainableText(ValueError):
    """This row cannot be trained on: it is rejected with this reason and counted."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model folder. Raises SettingsError when there is none, or it has no end-of-text token."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder}: no tokenizer that transformers can read ({error})") from None
    if tokenizer.eos_token_id is None:
        raise SettingsError(f"{folder}: the tokenizer has no eos_token, so documents and turns would have no end")
    return tokenizer


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what decides the tokens: vocabulary, special tokens, chat template."""
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    parts = {"vocabulary": tokenizer.get_vocab(), "special": special, "template": tokenizer.chat_template}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def document_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """A document's tokens and labels: whole, with what the tokenizer itself puts before a text, and an end.

    Every token carries loss but the first, which nothing precedes. Raises UntrainableText for an empty document.
    """
    ids = list(tokenizer(text, verbose=False)["input_ids"])
    if not text.strip() or not ids:
        raise UntrainableText("empty document")
    if ids[-1] != tokenizer.eos_token_id:
        ids.append(tokenizer.eos_token_id)
    return ids, [NO_LOSS, *ids[1:]]


def chat_tokens(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, trained_on: TrainedOn
) -> tuple[list[int], list[int]]:
    """A chat's tokens, rendered by the tokenizer's own template as serving does, and its labels.

    Trained on: the assistant's turns with their end-of-turn token, only the last of them, or everything. Where the
    template marks what the assistant says ({% generation %}), that is taken; where not, each turn's span is found by
    rendering the chat up to it, which is what serving sends, and checked to be a prefix of the whole.
    Raises UntrainableText when there is no such turn, SettingsError when the template allows neither way.
    """
    if not any(message["role"] == "assistant" for message in messages):
        raise UntrainableText("no assistant turn")
    if tokenizer.chat_template is None:
        raise SettingsError("the tokenizer has no chat template: chats cannot be rendered as serving would render them")
    ids, spans = _spans(tokenizer, messages)
    if trained_on == "all":
        return ids, [NO_LOSS, *ids[1:]]
    labels = [NO_LOSS] * len(ids)
    for start, end in spans[-1:] if trained_on == "last_assistant" else spans:
        labels[start:end] = ids[start:end]
    return ids, labels


def shown_mask(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], labels: Sequence[int], most: int = 200) -> str:
    """The first tokens as text, with [[ ]] around what is trained on, so that a person can check a mask at a glance."""
    parts: list[str] = []
    trained, spaced = False, _spaced(tokenizer)
    for token, label in zip(ids[:most], labels[:most], strict=True):
        if (label != NO_LOSS) != trained:
            parts.append("]] " if trained else " [[")
            trained = not trained
        parts.append(f"{tokenizer.decode([token])}{'' if spaced else ' '}")
    return "".join(parts) + ("]]" if trained else "") + (" ..." if len(ids) > most else "")


def _spaced(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether tokens carry their own spaces (byte-level BPE does, a word-level vocabulary does not)."""
    return not tokenizer.is_fast or type(tokenizer.backend_tokenizer.model).__name__ != "WordLevel"


def _render(tokenizer: PreTrainedTokenizerBase, messages: Messages, **options: Any) -> dict[str, list[int]]:
    rendered: Any = tokenizer.apply_chat_template(
        [dict(message) for message in messages], tokenize=True, return_dict=True, **options
    )
    return rendered


def _spans(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[list[int], list[tuple[int, int]]]:
    """All tokens, and start and end of each assistant turn among them."""
    if "{% generation" in tokenizer.chat_template or "{%- generation" in tokenizer.chat_template:
        ids, spans = _marked_spans(tokenizer, messages)
        if len(spans) == sum(message["role"] == "assistant" for message in messages):
            return ids, spans
        # transformers drops a marked turn that begins with a space which no token covers; the prompts still tell.
    return _prefix_spans(tokenizer, messages)


def _marked_spans(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[list[int], list[tuple[int, int]]]:
    """Spans from the template's own marks, each stretched over an end-of-turn token that stands just outside of it."""
    rendered = _render(tokenizer, messages, return_assistant_tokens_mask=True)
    ids, mask = list(rendered["input_ids"]), [*rendered["assistant_masks"], 0]
    starts = [i for i, m in enumerate(mask) if m and (i == 0 or not mask[i - 1])]
    spans = []
    for start in starts:
        end = mask.index(0, start)
        if ids[end - 1] != tokenizer.eos_token_id and ids[end : end + 1] == [tokenizer.eos_token_id]:
            end += 1
        spans.append((start, end))
    return ids, spans


def _prefix_spans(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[list[int], list[tuple[int, int]]]:
    """Spans from rendering the prompt of each assistant turn, as serving does, and the chat up to that turn's end."""
    whole = list(_render(tokenizer, messages)["input_ids"])
    spans = []
    for turn, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = list(_render(tokenizer, messages[:turn], add_generation_prompt=True)["input_ids"]) if turn else []
        until = list(_render(tokenizer, messages[: turn + 1])["input_ids"])
        if whole[: len(until)] != until or until[: len(prompt)] != prompt:
            raise SettingsError(
                "the chat template renders an assistant turn otherwise than serving would prompt for it (it may rewrite "
                "earlier turns); give a template with {% generation %} markers"
            )
        spans.append((len(prompt), _end_of_turn(tokenizer, until, len(prompt))))
    return whole, spans


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int:
    """Just after the turn's end token: what follows it (a newline) is never sampled, so it is not trained on."""
    for position in range(start, len(ids)):
        if ids[position] == tokenizer.eos_token_id:
            return position + 1
    return len(ids)
