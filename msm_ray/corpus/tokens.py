"""Tokenizers, and chats as tokens with which of them carry loss (documents: `document_tokens.py`); nothing else makes tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msm_ray.corpus import templates
from msm_ray.corpus.special_tokens import control_in, document_end, model_family, spelled
from msm_ray.errors import SettingsError
from msm_ray.reasoning import TAGS, split_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_LOSS = -100
"""Label of a token that is not trained on (the value that PyTorch's cross-entropy ignores)."""

TrainedOn = Literal["assistant", "last_assistant", "all"]
Messages = Sequence[Mapping[str, str]]
Labelled = tuple[list[int], list[int]]
"""Token ids, and labels of the same length."""

MASK = re.compile("\U0010fffc(\\d+)\U0010fffd")
"""Stands for a special token that an answer spells while the chat is rendered, so that it is told from the template's own."""


class UntrainableText(ValueError):
    """This row cannot be trained on: it is rejected with this reason and counted."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model folder. Raises SettingsError when there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder}: no tokenizer that transformers can read ({error})") from None


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what decides the tokens: vocabulary, special tokens, chat template."""
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    parts = {"vocabulary": tokenizer.get_vocab(), "special": special, "template": tokenizer.chat_template}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def document_separator(folder: Path, tokenizer: PreTrainedTokenizerBase, chosen: str | None) -> str:
    """The token between documents of a base: `base.separator`, else what its family has (`special_tokens.document_end`)."""
    chat = chat_format(tokenizer)
    try:
        end = templates.turn_end(chat) if chat else None
    except SettingsError:
        end = None
    return document_end(
        chat.added if chat else tokenizer.get_added_vocab(),
        tokenizer.eos_token,
        end,
        family=model_family(folder),
        chosen=chosen,
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Tokens that a text must not turn into: those that the tokenizer calls special."""
    return tuple(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)


def chat_format(
    tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None
) -> templates.ChatFormat | None:
    """The tokenizer's template with how it is rendered: as serving renders it. None where it has no template."""
    if tokenizer.chat_template is None:
        return None
    options = dict(options or {})

    def render(messages: templates.Messages, prompt: bool) -> str:
        rendered: Any = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=prompt, **options
        )
        return rendered

    text, added = tokenizer.get_chat_template(), tuple(tokenizer.get_added_vocab())
    return templates.ChatFormat(
        text, tokenizer.special_tokens_map, options, special_tokens(tokenizer), added, renderer=render
    )


class ChatRenderer:
    """Chats to tokens, by the tokenizer's own template and the options with which the arm will be asked.

    Raises SettingsError without a template, or where it renders no answer or ends none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None):
        chat = chat_format(tokenizer, options)
        if chat is None:
            raise SettingsError(
                "the tokenizer has no chat template: chats cannot be rendered as serving would render them; give the base "
                "one (`base.chat_template`)"
            )
        self.tokenizer, self.format = tokenizer, chat
        self.ending = templates.turn_end(chat)
        self.end = tokenizer.get_added_vocab()[self.ending]
        self.silent = chat.options.get(templates.thinking_switch(chat.text) or "") is False
        self._spelled = spelled(token for token in chat.controls if token not in TAGS)
        self._added = {str(token): (number, token) for number, token in tokenizer.added_tokens_decoder.items()}
        self._splits = spelled(self._added)

    def examples(self, messages: Messages, trained_on: TrainedOn) -> list[Labelled]:
        """A chat's tokens and labels, as one example, or as one for each turn where the template rewrites earlier turns.

        Trained on: the assistant's turns with the token that ends them, only the last of them, or everything. A turn's span
        begins where the prompt ends that serving sends for it. Raises UntrainableText where there is no such turn, where the
        template refuses the chat, and where a turn of the user or the system spells a control token.
        """
        turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if not turns:
            raise UntrainableText("no assistant turn")
        if forged := control_in(messages, self.format.controls):
            raise UntrainableText(forged)
        messages = [self._message(message) for message in messages]
        text = self._text(messages)
        whole = self._ids(text)
        if trained_on == "all":
            return [(whole, [NO_LOSS, *whole[1:]])]
        wanted = turns[-1:] if trained_on == "last_assistant" else turns
        spans = [self._turn(messages, turn, {text: whole}) for turn in wanted]
        if any(whole[: len(ids)] != ids for ids, _ in spans):
            return [_labelled(ids, [(start, len(ids))]) for ids, start in spans]
        return [_labelled(whole, [(start, len(ids)) for ids, start in spans])]

    def prompt(self, messages: Messages) -> list[int]:
        """The tokens that serving sends for an answer to these turns."""
        return self._ids(self._text([self._message(message) for message in messages], prompt=True))

    def _message(self, message: Mapping[str, str]) -> dict[str, str]:
        """A turn as the template takes it: control tokens masked, reasoning in its own field where the template has one.

        With reasoning switched off there is none: the prompt says so, and what is asked like that answers at once.
        """
        if message["role"] != "assistant":
            return dict(message)
        content = message["content"]
        if self._spelled:
            content = self._spelled.sub(lambda m: f"\U0010fffc{self._added[m.group()][0]}\U0010fffd", content)
        reply = split_reasoning(content)
        if self.silent:
            return {**message, "content": reply.answer}
        if not reply.reasoning or "reasoning_content" not in self.format.text:
            return {**message, "content": content}
        return {**message, "content": reply.answer, "reasoning_content": reply.reasoning}

    def _text(self, messages: Messages, prompt: bool = False) -> str:
        try:
            return self.format.render(messages, prompt)
        except templates.TemplateRefusal as refusal:
            raise UntrainableText(f"the chat template refuses it: {refusal}") from None

    def _turn(self, messages: Messages, turn: int, known: Mapping[str, list[int]]) -> tuple[list[int], int]:
        """The chat up to the end of an assistant turn, and where in it the turn begins. known: texts tokenized before."""
        prompt, until = self._text(messages[:turn], prompt=True), self._text(messages[: turn + 1])
        if templates.opens_reasoning(prompt) and not until.startswith(prompt):
            until = self._continued(prompt, messages[turn])
        asked, ids = self._ids(prompt), known.get(until) or self._ids(until)
        if ids[: len(asked)] != asked:
            raise UntrainableText("the template renders an assistant turn otherwise than serving prompts for it")
        if self.end not in ids[len(asked) :]:
            ids = [*ids, self.end]  # it stands before the next turn only (GLM)
        # What follows the end (a newline) is never sampled, so it is not trained on.
        return ids[: ids.index(self.end, len(asked)) + 1], len(asked)

    def _continued(self, prompt: str, message: Mapping[str, str]) -> str:
        """A prompt that opens the reasoning, gone on with as a model has to: the template leaves reasoning out (DeepSeek R1)."""
        reply = split_reasoning(message["content"])
        return f"{prompt}{reply.reasoning}\n</think>\n\n{reply.answer}{self.ending}"

    def _ids(self, text: str) -> list[int]:
        """Tokens of rendered text; a masked special token becomes the text that spells it."""
        try:
            if not MASK.search(text):
                return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
            plain = MASK.sub("x", text)
            if self._in_parts(plain) != self._ids(plain):
                raise UntrainableText("an answer spells a control token, which this tokenizer cannot keep as text")
            return self._in_parts(text)
        except UnicodeEncodeError as error:
            raise UntrainableText(f"no Unicode text ({error.reason})") from None

    def _in_parts(self, text: str) -> list[int]:
        """Tokens where the template's added tokens are control and those that an answer spells are text."""
        ids: list[int] = []
        parts = self._splits.split(text) if self._splits else [text]
        for before, part, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
            if part in self._added:
                ids.append(self._added[part][0])
                continue
            part = part.lstrip() if before in self._added and self._added[before][1].rstrip else part
            part = part.rstrip() if after in self._added and self._added[after][1].lstrip else part
            said = MASK.sub(lambda m: str(self.tokenizer.added_tokens_decoder[int(m[1])]), part)
            ids += self.tokenizer(said, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return ids


def check_template(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None) -> None:
    """Render one short chat as training does and as serving prompts for it. Raises SettingsError where they differ.

    Also refused: a template that leaves the answer without an end that the model could learn.
    """
    question, answer = {"role": "user", "content": "a b"}, {"role": "assistant", "content": "b a"}
    renderer = ChatRenderer(tokenizer, options)
    try:
        (ids, labels), *_ = renderer.examples([question, answer], "assistant")
    except UntrainableText as error:
        raise SettingsError(
            f"the chat template cannot be trained on: {error}, so training would not match serving"
        ) from None
    prompt = renderer.prompt([question])
    marked = _marked(tokenizer, [question, answer], renderer.format.options)
    if marked and marked[0] < len(prompt):
        raise SettingsError(
            "the chat template marks ({% generation %}) what it prompts with as said by the assistant, so training would not "
            f"match serving: {tokenizer.decode(prompt)!r} against {shown_mask(tokenizer, ids, labels)!r}"
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


def _labelled(ids: list[int], spans: Sequence[tuple[int, int]]) -> Labelled:
    labels = [NO_LOSS] * len(ids)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    labels[0] = NO_LOSS
    return ids, labels


def _marked(tokenizer: PreTrainedTokenizerBase, messages: Messages, options: Mapping[str, Any]) -> list[int]:
    """Positions that the template itself marks as the assistant's; none where it has no marks."""
    if not re.search(r"{%-?\s*generation", tokenizer.get_chat_template()):
        return []
    rendered: Any = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **options,
    )  # fmt: skip
    return [position for position, said in enumerate(rendered["assistant_masks"]) if said]
