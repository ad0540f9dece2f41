"""Rows of Parquet files to tokenized texts: what a worker does with a stretch of a file, in parts of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from msm_ray import progress
from msm_ray.corpus import templates, tokens
from msm_ray.corpus.document_tokens import documents_tokens
from msm_ray.corpus.packing import Text, text_of
from msm_ray.corpus.parts import hashes_of, write_part
from msm_ray.corpus.settings import BlockSettings
from msm_ray.corpus.spread import Note
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.pieces import is_in
from msm_ray.rows.stretches import Stretch, read_stretch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Kind = Literal["documents", "chats"]
COLUMN = {"documents": "text", "chats": "messages"}
ROWS, PART = 64, 16_000_000
"""Rows that are tokenized at once; tokens of a part, at most and about. Neither changes what is made."""


@dataclass(frozen=True)
class Rendering:
    """What decides the tokens of a text beside the tokenizer.

    separator: the token after a document, where the base's family does not tell it. options: `chat_template_kwargs`.
    thinking: of the main set of chats; other_thinking: of the set that is mixed in (None: the options hold).
    """

    separator: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    thinking: bool | None = None
    other_thinking: bool | None = None


@dataclass(frozen=True)
class Tokenizing:
    """The work of tokenizing, a stretch a piece (`spread.Work`). folder: for parts and notes; thinking: by source.

    separator: the token after a document; None for chats. ahead: hashes of rows of the first source that are tokenized already.
    """

    folder: Path
    stretches: tuple[Stretch, ...]
    kind: Kind
    model: Path
    settings: BlockSettings
    options: Mapping[str, Any]
    thinking: tuple[bool | None, ...]
    separator: str | None
    part: int = PART
    batch: int = ROWS
    ahead: Path | None = None

    @property
    def count(self) -> int:
        """Stretches."""
        return len(self.stretches)

    def note(self, number: int) -> Path:
        """What is known of a stretch: its parts with their tokens, and what was rejected."""
        return self.folder / f"tokens-{number:06d}.json"

    def do(self, number: int) -> Note:
        """Write the parts of a stretch. Returns rows, parts (file, texts, tokens), rejected (id, reason) and unreasoned."""
        stretch = self.stretches[number]
        reader = _Reader(self, stretch)
        parts: list[tuple[str, int, int]] = []
        with progress.task(_label(stretch.file), stretch.rows, f"{self.kind} tokenized") as told:
            for texts in in_parts(reader.texts(told), self.part):
                name = f"tokens-{number:06d}-{len(parts):04d}.arrow"
                write_part(self.folder / name, texts)
                parts.append((name, len(texts), sum(len(text.ids) for text in texts)))
        return {"rows": stretch.rows, "parts": parts, "rejected": reader.rejected, "unreasoned": reader.unreasoned}

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Loaded once a process."""
        return tokens.load_tokenizer(self.model)

    def chats(self, source: int) -> tokens.ChatRenderer:
        """How chats of a source are rendered. Raises SettingsError for a template that can't be right."""
        template = self.tokenizer.get_chat_template() if self.tokenizer.chat_template else ""
        options = templates.chat_options(template, self.options, self.thinking[source])
        tokens.check_template(self.tokenizer, options)
        return tokens.ChatRenderer(self.tokenizer, options)

    def __getstate__(self) -> dict[str, Any]:
        """Without the tokenizer: another process loads its own."""
        return {name: value for name, value in vars(self).items() if name != "tokenizer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class _Reader:
    """Reads a stretch and tokenizes it, keeping count of what had to be rejected.

    unreasoned: chats whose last answer has no reasoning, where a template that can switch it has not switched it off.
    """

    def __init__(self, how: Tokenizing, stretch: Stretch):
        self.how, self.stretch = how, stretch
        self.rejected: list[tuple[str, str]] = []
        self.unreasoned = 0

    def texts(self, told: progress.Task) -> Iterator[Text]:
        """The texts of all rows; told how many of these it is through with."""
        if self.how.kind == "documents":
            yield from self._documents(told)
            return
        chats = self.how.chats(self.stretch.source)
        asks_for_reasoning = not chats.silent and templates.thinking_switch(chats.format.text)
        for batch in read_stretch(self.stretch, COLUMN[self.how.kind], self.how.batch):
            for row in batch.to_pylist():
                if asks_for_reasoning:
                    self.unreasoned += sum(
                        not split_reasoning(turn["content"]).reasoning for turn in row["messages"][-1:]
                    )
                yield from self._chat(row, chats)
            told.advance(batch.num_rows)

    def _documents(self, told: progress.Task) -> Iterator[Text]:
        how, source = self.how, self.stretch.source
        made = np.load(how.ahead, mmap_mode="r") if how.ahead and not source else None
        for batch in read_stretch(self.stretch, COLUMN[self.how.kind], self.how.batch):
            told.advance(batch.num_rows)
            if made is not None:
                left = ~is_in(hashes_of(batch.column("id").to_pylist()), made)
                batch = batch.filter(pa.array(left))
            yield from texts_of(batch, how.tokenizer, how.separator, self.rejected, source)

    def _chat(self, row: Mapping[str, Any], chats: tokens.ChatRenderer) -> Sequence[Text]:
        settings = self.how.settings
        try:
            made = chats.examples(row["messages"], settings.trained_on)
            if max(len(ids) for ids, _ in made) > settings.sequence_length:
                raise tokens.UntrainableText("longer than a block")
        except tokens.UntrainableText as error:
            self.rejected.append((row["id"], str(error)))
            return []
        source = self.stretch.source
        return [text_of(row["id"], *example, number=n, source=source) for n, example in enumerate(made)]


def texts_of(
    batch: pa.RecordBatch,
    tokenizer: PreTrainedTokenizerBase,
    separator: str | None,
    rejected: list[tuple[str, str]],
    source: int = 0,
) -> Iterator[Text]:
    """Documents (`id`, `text`) as tokens. rejected: is given (id, reason) of those that can't be trained on."""
    names, texts = (batch.column(name).to_pylist() for name in ("id", "text"))
    for name, ids in zip(names, documents_tokens(tokenizer, texts, separator), strict=True):
        if isinstance(ids, tokens.UntrainableText):
            rejected.append((name, str(ids)))
        else:
            yield Text.whole(name, ids, source)


def _label(file: Path) -> str:
    """The artifact, or folder, that a file of a stage's data is from."""
    return (file.parent.parent if file.parent.name == "data" else file.parent).name


def in_parts(texts: Iterable[Text], most: int) -> Iterator[list[Text]]:
    """Texts in lots that hold `most` tokens at most, but for a single text that has more."""
    own: list[Text] = []
    held = 0
    for text in texts:
        if own and held + len(text.ids) > most:
            yield own
            own, held = [], 0
        own.append(text)
        held += len(text.ids)
    if own:
        yield own
