"""Tokens of documents that are made while more of them come, and what of them a corpus took.

What is made ahead are parts (`parts.py`) as the stage of blocks would write them itself, of all documents of some files; which of
these a corpus kept is known later, so a part comes with the places of those that are packed. Others are tokenized then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray import ahead
from msm_ray.code_digest import package_digest
from msm_ray.corpus import tokens
from msm_ray.corpus.packing import Text
from msm_ray.corpus.parts import Part, column, hashes_of, open_arrow, write_part
from msm_ray.corpus.tokenizing import PART, ROWS, in_parts, texts_of
from msm_ray.rows.pieces import is_in
from msm_ray.rows.stretches import read_stretch, stretches_of
from msm_ray.rows.tables import read_tables

WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
PIECE = 24 * 2**20
"""Bytes of Parquet that are tokenized together ahead: about 4,500 documents of 3,000 tokens, near to a part."""


@dataclass(frozen=True)
class TokensAhead:
    """The work of tokenizing files of documents while more come (`ahead.FileWork`). model: whose tokenizer; separator: the token
    between documents, where the base's family doesn't tell it."""

    model: Path
    separator: str | None
    piece: int = PIECE

    @property
    def key(self) -> str:
        """All that decides tokens: every file of the model but its weights, and the code."""
        total = hashlib.sha256(json.dumps([self.separator, package_digest()]).encode())
        for file in sorted(self.model.iterdir()):
            if file.is_file() and file.suffix not in WEIGHTS:
                total.update(file.name.encode() + b"\0" + file.read_bytes())
        return f"tokens-{total.hexdigest()[:16]}"

    def do(self, files: Sequence[Path], stem: Path) -> dict[str, Any]:
        """Parts. Returns parts (file, texts, tokens), and documents that can't be trained on (id, reason)."""
        rejected: list[tuple[str, str]] = []
        parts = []
        for number, texts in enumerate(in_parts(self._texts(files, rejected), PART)):
            path = stem.with_name(f"{stem.name}-{number:04d}.arrow")
            write_part(path, texts)
            parts.append((path.name, len(texts), sum(len(text.ids) for text in texts)))
        return {"parts": parts, "rejected": rejected}

    def _texts(self, files: Sequence[Path], rejected: list[tuple[str, str]]) -> Iterator[Text]:
        tokenizer = tokens.load_tokenizer(self.model)
        separator = tokens.document_separator(self.model, tokenizer, self.separator)
        for stretch in (each for file in files for each in stretches_of(0, file, "text")):
            for batch in read_stretch(stretch, "text", ROWS):
                yield from texts_of(batch, tokenizer, separator, rejected)

    def told(self, notes: Sequence[ahead.Note]) -> str:
        """Tokens that were made."""
        made = sum(tokens for note in notes for _, _, tokens in note["parts"])
        return f"{made:,} tokens made" if made else ""

    def alarm(self, notes: Sequence[ahead.Note]) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True)
class Taken:
    """What of the parts that were made ahead belongs to a corpus. parts: (part, file with the places of its texts as `Packing`
    wants them, texts, tokens); rejected: (id, reason); hashes: file with the hashes of all these rows, ascending."""

    parts: Sequence[tuple[Part, Path, int, int]] = ()
    rejected: Sequence[tuple[str, str]] = ()
    hashes: Path | None = None

    def said(self) -> list[tuple[str, int]]:
        """Which parts, and how many of their texts: what is on its way with others is begun anew."""
        return [(part.path.name, texts) for part, _, texts, _ in self.parts]

    @property
    def texts(self) -> int:
        """Texts that are packed."""
        return sum(texts for _, _, texts, _ in self.parts)

    @property
    def tokens(self) -> int:
        """Their tokens."""
        return sum(tokens for _, _, _, tokens in self.parts)


NONE_AHEAD = Taken()


def taken_from(folder: Path, documents: Path, corpus: Path, work: Path) -> Taken:
    """What was made ahead of the rows of a corpus. folder: of the work of tokenizing; documents, corpus: folders of rows.

    work: a folder for what is noted of it. Rows are known by the hashes of their ids, as everywhere in packing.
    """
    made = [piece for piece in ahead.made_ahead(folder, documents) if _can_be_read(folder, piece)]
    if not made:
        return NONE_AHEAD
    work.mkdir(parents=True, exist_ok=True)
    kept = np.sort(_hashes_in(corpus))
    parts, rejected, seen = [], [], [np.zeros(0, np.uint64)]
    for piece in made:
        for number, (name, _, _) in enumerate(piece.note["parts"]):
            part = Part(folder / name, 0)
            there = column(part.table, "hash").to_numpy()
            own = is_in(there, kept)
            if own.any():
                places = work / f"{piece.stem.name}-{number:04d}.npy"
                np.save(places, np.where(own, 0, -1))
                tokens_of = column(part.table, "tokens").to_numpy()
                parts.append((part, places, int(own.sum()), int(tokens_of[own].sum(dtype=np.int64))))
                seen.append(there[own])
        for id, why in piece.note["rejected"]:
            if is_in(hashes_of([id]), kept).any():
                rejected.append((id, why))
                seen.append(hashes_of([id]))
    hashes = work / "ahead.npy"
    np.save(hashes, np.sort(np.concatenate(seen)))
    return Taken(parts, rejected, hashes)


def _can_be_read(folder: Path, piece: ahead.Piece) -> bool:
    """Whether all parts of a piece are there, whole."""
    try:
        return all(open_arrow(folder / name).num_rows == texts for name, texts, _ in piece.note["parts"])
    except (OSError, pa.ArrowInvalid):
        return False


def _hashes_in(folder: Path) -> NDArray[np.uint64]:
    found = [hashes_of(table.column("id").to_pylist()) for table in read_tables(folder, ["id"])]
    return np.concatenate([np.zeros(0, np.uint64), *found])
