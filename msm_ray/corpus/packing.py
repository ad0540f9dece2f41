"""Packing tokenized texts into blocks of one length, with no token lost and no text joined to its neighbour."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from msm_ray import progress
from msm_ray.corpus.tokens import NO_LOSS

NUMBERS, NAMES = pa.large_list(pa.uint32()), pa.large_list(pa.large_string())
BLOCK_SCHEMA = pa.schema(
    [
        ("input_ids", NUMBERS),
        ("loss", NUMBERS),
        ("trained", pa.uint32()),
        ("lengths", NUMBERS),
        ("offsets", NUMBERS),
        ("sources", NUMBERS),
        ("ids", NAMES),
    ]
)
"""A row a block. loss: begin and end, in the block, of each run of tokens that are trained on; trained: how many these are.

A number each for every packed piece, in order: lengths, its tokens; offsets, where it begins in its text; sources, which folder
the text is from (what is mixed in comes last); ids, the text's row.
"""

FULL = 0.98
"""A packing that fills so much of its blocks is taken as it is."""


@dataclass(frozen=True)
class Text:
    """One tokenized text. id: of its row; number: which of the row's texts; source: which folder the row is from.

    ids: its tokens (uint32). loss: begin and end of each run of tokens that are trained on, one after the other (uint32).
    """

    id: str
    ids: np.ndarray
    loss: np.ndarray
    number: int = 0
    source: int = 0

    @classmethod
    def whole(cls, id: str, ids: Sequence[int], source: int = 0) -> Text:
        """A document: all of it is trained on but its first token, which nothing precedes."""
        own = np.array(ids, np.uint32)
        return cls(id, own, np.array([1, len(own)] if len(own) > 1 else [], np.uint32), source=source)


class Piece(NamedTuple):
    """A stretch of a text that goes into one block: from a token of it on, so many."""

    text: Text
    start: int
    length: int


def text_of(id: str, ids: Sequence[int], labels: Sequence[int], *, number: int = 0, source: int = 0) -> Text:
    """A text from its tokens and labels (`NO_LOSS` where nothing is trained)."""
    carries = np.concatenate([[False], np.asarray(labels) != NO_LOSS, [False]])
    loss = np.flatnonzero(carries[1:] != carries[:-1]).astype(np.uint32)
    return Text(id, np.asarray(ids, np.uint32), loss, number, source)


def pack(texts: Sequence[Text], sequence_length: int, *, split: bool) -> pa.Table:
    """Pack texts into as few blocks as a greedy search for exact fits finds; deterministic in the order of the texts.

    Returns a table of `BLOCK_SCHEMA`, of blocks with at most `sequence_length` tokens. split: texts longer than a block are cut
    over several blocks (midtraining keeps every token); else they must fit (a chat is never cut; ValueError if one does not).
    The first token of each packed piece carries no loss: what stands before it is another text.
    """
    pieces = [piece for text in texts for piece in _pieces(text, sequence_length)]
    if not split and len(pieces) > len(texts):
        longest = max(len(text.ids) for text in texts)
        raise ValueError(f"a text of {longest} tokens does not fit a block of {sequence_length} and must not be cut")
    return table_of([[pieces[i] for i in block] for block in assign([p.length for p in pieces], sequence_length)])


def table_of(blocks: Sequence[Sequence[Piece]]) -> pa.Table:
    """The table of blocks with these pieces."""
    pieces = [piece for block in blocks for piece in block]
    runs = [_loss(block) for block in blocks]
    borders = _borders([len(block) for block in blocks])
    columns = {
        "input_ids": _lists(
            _joined([piece.text.ids[piece.start : piece.start + piece.length] for piece in pieces]),
            _borders([sum(piece.length for piece in block) for block in blocks]),
        ),
        "loss": _lists(_joined(runs), _borders([len(run) for run in runs])),
        "trained": pa.array([int((run[1::2] - run[::2]).sum()) for run in runs], pa.uint32()),
        "lengths": _lists([piece.length for piece in pieces], borders),
        "offsets": _lists([piece.start for piece in pieces], borders),
        "sources": _lists([piece.text.source for piece in pieces], borders),
        "ids": pa.LargeListArray.from_arrays(borders, pa.array([piece.text.id for piece in pieces], pa.large_string())),
    }
    return pa.table(columns, schema=BLOCK_SCHEMA)


def assign(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which pieces (by index) share a block: the better of two ways, where the first leaves more than 2% empty."""
    blocks = _by_sums(lengths, capacity)
    if sum(lengths) >= FULL * capacity * len(blocks):
        return blocks
    return min(blocks, _by_fit(lengths, capacity), key=len)


def _by_sums(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Each time the longest piece left, with those that fill its block best.

    Best fit decreasing leaves 3% empty where texts are all about a fifth of a block long; looking for the subset with the best
    sum (the minimum bin slack heuristic, Gupta and Ho 1999) leaves well under 1%.
    """
    waiting: dict[int, list[int]] = defaultdict(list)
    for index in range(len(lengths) - 1, -1, -1):
        waiting[lengths[index]].append(index)
    sizes = sorted(waiting, reverse=True)
    blocks = []
    with progress.task("packing", len(lengths), "pieces") as work:
        while sizes:
            rest = {s: len(waiting[s]) - (s == sizes[0]) for s in sizes}
            chosen = [sizes[0], *_best_subset(rest, capacity - sizes[0])]
            blocks.append([waiting[size].pop() for size in chosen])
            sizes = [size for size in sizes if waiting[size]]
            work.advance(len(chosen))
    return blocks


def _by_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best fit decreasing (as trl's `pack_dataset`): each piece, longest first, where it leaves the least room.

    With two or three texts a block the best sums take the short ones first, and the rest no longer fit beside each other.
    """
    blocks: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens, block), sorted
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        place = bisect_left(rooms, (lengths[index], -1))
        if place == len(rooms):
            blocks.append([])
            room, block = capacity, len(blocks) - 1
        else:
            room, block = rooms.pop(place)
        blocks[block].append(index)
        insort(rooms, (room - lengths[index], block))
    return blocks


def positions(lengths: Sequence[int]) -> np.ndarray:
    """Position ids of a block: they restart at 0 with every packed text, which is what keeps attention inside it."""
    return np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])


def _pieces(text: Text, sequence_length: int) -> list[Piece]:
    whole = len(text.ids)
    return [Piece(text, s, min(sequence_length, whole - s)) for s in range(0, whole, sequence_length)]


def _loss(block: Sequence[Piece]) -> np.ndarray:
    """Begin and end of each run of trained tokens in a block; a piece's first token is none of them."""
    runs: list[int] = []
    place = 0
    for text, start, length in block:
        for begin, end in text.loss.reshape(-1, 2).tolist():
            begin, end = max(begin - start, 1), min(end - start, length)
            if begin < end:
                runs += (place + begin, place + end)
        place += length
    return np.array(runs, np.uint32)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint32)


def _borders(lengths: Sequence[int]) -> pa.Array:
    return pa.array([0, *accumulate(lengths)], pa.int64())


def _lists(values: Sequence[int] | np.ndarray, borders: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(borders, pa.array(values, pa.uint32()))


def _best_subset(available: dict[int, int], space: int) -> list[int]:
    """Sizes (each at most as often as it is available) whose sum is the largest that fits the space.

    Sums that can be reached are the bits of an integer, so that adding one size to all of them is one shift. Each entry
    of `steps` is a size and what could be reached before it was allowed once more, which is how the way back is found.
    """
    fits = (1 << (space + 1)) - 1
    reached, steps = 1, []
    for size, count in available.items():
        for _ in range(min(count, space // size)):
            steps.append((size, reached))
            reached |= (reached << size) & fits
            if reached >> space:
                return _way_back(steps, space)
    return _way_back(steps, reached.bit_length() - 1)


def _way_back(steps: list[tuple[int, int]], total: int) -> list[int]:
    chosen = []
    for size, before in reversed(steps):
        if not before >> total & 1:
            chosen.append(size)
            total -= size
    return chosen
