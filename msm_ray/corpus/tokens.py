"""The only place that turns documents and chats into tokens, and says which of them carry loss."""

from __future__ import annotations

import hashlib
import json
import re
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
    Raises UntrainableText when there is no such turn or the template rewrites it, SettingsError without a template.
    """
    if tokenizer.chat_template is None:
        raise SettingsError("the tokenizer has no chat template: chats cannot be rendered as serving would render them")
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns:
        raise UntrainableText("no assistant turn")
    if trained_on == "all":
        ids = list(_render(tokenizer, messages)["input_ids"])
        return ids, [NO_LOSS, *ids[1:]]
    ids, spans = _spans(tokenizer, messages, turns[-1:] if trained_on == "last_assistant" else turns)
    labels = [NO_LOSS] * len(ids)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    labels[0] = NO_LOSS
    return ids, labels


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Render one short chat as training does and as serving prompts for it. Raises SettingsError where they differ.

    Also refused: a template that leaves the answer without a mask, or without an end that the model could learn.
    """
    question, answer = {"role": "user", "content": "a b"}, {"role": "assistant", "content": "b a"}
    try:
        ids, labels = chat_tokens(tokenizer, [question, answer], "assistant")
    except UntrainableText as error:
        raise SettingsError(f"the chat template cannot be trained on: {error}") from None
    prompt = list(_render(tokenizer, [question], add_generation_prompt=True)["input_ids"])
    trained = [i for i, label in enumerate(labels) if label != NO_LOSS]
    if ids[: len(prompt)] != prompt or not trained or trained[0] < len(prompt):
        raise SettingsError(
            "the chat template prompts for an answer otherwise than it renders one, so training would not match serving: "
            f"{tokenizer.decode(prompt)!r} against {shown_mask(tokenizer, ids, labels)!r}"
        )
    if ids[trained[-1]] not in tokenizer.all_special_ids:
        raise SettingsError(
            "the chat template ends an answer with no special token, so a model would not learn to stop: "
            f"{shown_mask(tokenizer, ids, labels)!r}"
        )


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


def _spans(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, turns: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """All tokens, and start and end among them of the assistant turns that are asked for (indices into messages)."""
    if re.search(r"{%-?\s*generation", str(tokenizer.chat_template)):
        ids, spans = _marked_spans(tokenizer, messages)
        if len(spans) == sum(message["role"] == "assistant" for message in messages):
            return ids, spans[-len(turns) :]
        # transformers drops a marked turn that begins with a space which no token covers; the prompts still tell.
    return _prefix_spans(tokenizer, messages, turns)


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


def _prefix_spans(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, turns: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Spans from rendering the prompt of each turn, as serving does, and the chat up to that turn's end."""
    whole = list(_render(tokenizer, messages)["input_ids"])
    spans = []
    for turn in turns:
        prompt = list(_render(tokenizer, messages[:turn], add_generation_prompt=True)["input_ids"]) if turn else []
        until = list(_render(tokenizer, messages[: turn + 1])["input_ids"])
        if whole[: len(until)] != until or until[: len(prompt)] != prompt:
            raise UntrainableText(
                "the template renders an assistant turn otherwise than serving prompts for it (it rewrites earlier turns)"
            )
        spans.append((len(prompt), _end_of_turn(tokenizer, until, len(prompt))))
    return whole, spans


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int:
    """Just after the turn's end token: what follows it (a newline) is never sampled, so it is not trained on."""
    for position in range(start, len(ids)):
        if ids[position] == tokenizer.eos_token_id:
            return position + 1
    return len(ids)
