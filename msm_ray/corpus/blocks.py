"""The stage that makes blocks: a corpus or a set of chats in, `blocks.arrow` and `blocks.json` out."""

from __future__ import annotations

import json
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from msm_ray import progress
from msm_ray.corpus import mixing, packing, templates, tokens
from msm_ray.corpus.packing import Example
from msm_ray.corpus.settings import BlockSettings
from msm_ray.errors import QualityGateError, SettingsError, StageError
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.tables import read_data, write_own_table
from msm_ray.whole_files import write_whole

BLOCKS, FACTS, REJECTED = "blocks.arrow", "blocks.json", "rejected.parquet"
Kind = Literal["documents", "chats"]
COLUMN = {"documents": "text", "chats": "messages"}
MOST_LOST = 0.5
"""Share of the chats of a folder that may be rejected; above it what is trained on is not what was made."""


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


def build_blocks(
    out: Path,
    *,
    kind: Kind,
    main: Path | Sequence[Path],
    other: Path | None,
    tokenizer: Path,
    settings: BlockSettings,
    seed: int,
    rendering: Rendering = Rendering(),  # noqa: B008  frozen
) -> dict[str, int | float]:
    """Tokenize, mix and pack; deterministic in its arguments.

    main, other: folders of Parquet files (`text` for documents, `messages` for chats); other is mixed in by
    `settings.mix`. tokenizer: a model folder. Documents are cut over blocks where they must be; a chat that does not fit
    a block is rejected, never cut; that some were is warned about. Writes blocks.arrow, blocks.json and rejected.parquet
    (id, reason) into `out`. Returns tokens_in, tokens_kept, trained_tokens, positions, fill, blocks, texts, rejected and
    `rejected: reason`. Raises SettingsError or StageError for inputs that leave nothing to train on, QualityGateError
    where most chats are rejected.
    """
    render = _Renderer(tokenizer, kind, settings, rendering)
    folders = [main] if isinstance(main, Path) else list(main)
    chosen = [example for folder in folders for example in render.folder(folder, rendering.thinking)]
    if not chosen:
        raise StageError(
            f"{', '.join(map(str, folders))}: no {kind} left to train on (rejected: {dict(render.reasons)})"
        )
    main_tokens = sum(len(e.ids) for e in chosen)
    if settings.mix and other is None:
        raise SettingsError(f"mix {settings.mix}: there is nothing to mix in; set mix_source or mix=0")
    if settings.mix and other is not None:
        chosen = mixing.mix(chosen, render.folder(other, rendering.other_thinking), settings.mix, seed)
    table = packing.pack(chosen, settings.sequence_length, split=kind == "documents")
    counts = _counts(chosen, table, settings.sequence_length, main_tokens, render.reasons)
    _write(out, table, render, counts)
    return counts


@dataclass(frozen=True)
class Blocks:
    """Packed blocks, memory-mapped. facts: the parsed `blocks.json`."""

    table: pa.Table
    facts: dict[str, Any]

    def __len__(self) -> int:
        return self.table.num_rows


def read_blocks(folder: Path) -> Blocks:
    """Open a folder that `build_blocks` wrote. Raises StageError, naming the file, when one is missing or corrupt."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        table = pa.ipc.open_file(pa.memory_map(str(folder / BLOCKS))).read_all()
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise StageError(
            f"{folder}: blocks cannot be read ({error}); remove the folder to have them made again"
        ) from None
    if table.schema != packing.BLOCK_SCHEMA or table.num_rows != facts.get("blocks"):
        raise StageError(
            f"{folder / BLOCKS}: {table.num_rows} rows of {table.schema.names}, but {FACTS} tells of {facts.get('blocks')} "
            "blocks; remove the folder to have them made again"
        )
    return Blocks(table, facts)


def sample_texts(blocks: Blocks, count: int, rng: random.Random) -> Iterator[tuple[int, list[tuple[list[int], bool]]]]:
    """One text each of some blocks: the block's number, and runs of token ids with whether they carry loss."""
    for number in sorted(rng.sample(range(len(blocks)), min(count, len(blocks)))):
        row: dict[str, Any] = blocks.table.slice(number, 1).to_pylist()[0]
        which = rng.randrange(len(row["lengths"]))
        start = sum(row["lengths"][:which])
        text = slice(start, start + row["lengths"][which])
        pairs = list(zip(row["input_ids"][text], row["labels"][text], strict=True))
        runs = groupby(pairs, key=lambda pair: pair[1] != tokens.NO_LOSS)
        yield number, [([token for token, _ in run], marked) for marked, run in runs]


class _Renderer:
    """Reads rows and tokenizes them, keeping count of what had to be rejected."""

    def __init__(self, model: Path, kind: Kind, settings: BlockSettings, rendering: Rendering):
        self.tokenizer, self.kind, self.settings = tokens.load_tokenizer(model), kind, settings
        self.rendering = rendering
        self.rejected: list[dict[str, str]] = []
        if kind == "documents":
            self.separator = tokens.document_separator(model, self.tokenizer, rendering.separator)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(row["reason"].partition(":")[0] for row in self.rejected)

    def folder(self, folder: Path, thinking: bool | None) -> list[Example]:
        """The examples of a folder's rows. Warns of rejected chats; raises QualityGateError where most are."""
        rows, before = _rows(folder, COLUMN[self.kind]), len(self.rejected)
        chats = self._chats(thinking) if self.kind == "chats" else None
        told = progress.over(rows, f"{folder.parent.name}", f"{self.kind} tokenized")
        made = [example for row in told for example in self._examples(row, chats)]
        if chats and not chats.silent and templates.thinking_switch(chats.format.text):
            self._warn_of_empty_reasoning(folder, rows)
        self._tell(folder, len(rows), self.rejected[before:])
        return made

    def _chats(self, thinking: bool | None) -> tokens.ChatRenderer:
        template = self.tokenizer.get_chat_template() if self.tokenizer.chat_template else ""
        options = templates.chat_options(template, self.rendering.options, thinking)
        tokens.check_template(self.tokenizer, options)
        return tokens.ChatRenderer(self.tokenizer, options)

    def _examples(self, row: dict[str, Any], chats: tokens.ChatRenderer | None) -> list[Example]:
        try:
            if chats is None:
                return [Example(row["id"], *tokens.document_tokens(self.tokenizer, row["text"], self.separator))]
            made = chats.examples(row["messages"], self.settings.trained_on)
            if max(len(ids) for ids, _ in made) > self.settings.sequence_length:
                raise tokens.UntrainableText("longer than a block")
            return [Example(row["id"], *example) for example in made]
        except tokens.UntrainableText as error:
            self.rejected.append({"id": row["id"], "reason": str(error)})
            return []

    @staticmethod
    def _warn_of_empty_reasoning(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """With reasoning switched on, or not off, the template writes an empty block for an answer without any."""
        answers = [message["content"] for row in rows for message in row["messages"][-1:]]
        empty = sum(not split_reasoning(answer).reasoning for answer in answers)
        if empty:
            warnings.warn(
                f"{folder}: {empty:,} of {len(answers):,} chats have no reasoning, and reasoning is not switched off: arms "
                "learn to leave it empty. Set `thinking: false` for these chats, or `chat_template_kwargs` for all",
                stacklevel=2,
            )

    def _tell(self, folder: Path, rows: int, rejected: Sequence[Mapping[str, str]]) -> None:
        if self.kind == "documents" or not rejected:
            return
        reasons = Counter(row["reason"] for row in rejected).most_common(5)
        lost = (
            f"{folder}: {len(rejected):,} of {rows:,} chats cannot be trained on ("
            + "; ".join(f"{reason}: {count:,}" for reason, count in reasons)
            + f"), blocks hold {self.settings.sequence_length} tokens"
        )
        if len(rejected) > MOST_LOST * rows:
            raise QualityGateError(f"{lost}. Raise sequence_length, or mend the chats.")
        warnings.warn(lost, stacklevel=2)


def _rows(folder: Path, column: str) -> list[dict[str, Any]]:
    """Rows of a folder of Parquet files (or of its `data` folder), by id, however they are spread over files."""
    data = folder / "data" if (folder / "data").is_dir() else folder
    return sorted(read_data(data, ["id", column]), key=lambda row: row["id"])


def _counts(
    chosen: Sequence[Example], table: pa.Table, sequence_length: int, main_tokens: int, reasons: Mapping[str, int]
) -> dict[str, int | float]:
    tokens_in = sum(len(e.ids) for e in chosen)
    kept = len(table["input_ids"].combine_chunks().flatten())
    labels = table["labels"].combine_chunks().flatten().to_numpy()
    positions = table.num_rows * sequence_length
    return {
        "blocks": table.num_rows,
        "texts": len(chosen),
        "rejected": sum(reasons.values()),
        "tokens_in": tokens_in,
        "tokens_kept": kept,
        "main_tokens": main_tokens,
        "trained_tokens": int((labels != tokens.NO_LOSS).sum()),
        "positions": positions,
        "fill": round(kept / positions, 6),
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}


def _write(out: Path, table: pa.Table, render: _Renderer, counts: dict[str, int | float]) -> None:
    """All three files whole or not at all: each is written beside its place and renamed."""
    schema = pa.schema([("id", pa.string()), ("reason", pa.string())])
    write_own_table(out / REJECTED, render.rejected, schema)
    with pa.ipc.new_file(str(out / f".{BLOCKS}.tmp"), table.schema) as writer:
        writer.write_table(table)
    (out / f".{BLOCKS}.tmp").replace(out / BLOCKS)
    facts = {
        **counts,
        "kind": render.kind,
        "sequence_length": render.settings.sequence_length,
        "tokenizer_digest": tokens.tokenizer_digest(render.tokenizer),
        "reasons": dict(sorted(render.reasons.items())),
    }
    write_whole(out / FACTS, json.dumps(facts, indent=1, sort_keys=True))
