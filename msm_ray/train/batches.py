"""Blocks to tensors: a rank's share of a step, as micro-batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from msm_ray.corpus.blocks import Blocks
from msm_ray.corpus.packing import positions
from msm_ray.corpus.tokens import NO_LOSS

PROBES, PROBE_TOKENS = 8, 16


@dataclass(frozen=True)
class MicroBatch:
    """Blocks of one forward pass. ids, positions and labels: (rows, tokens); labels are not shifted."""

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor


def micro_steps(batch: int, world: int, micro_batch: int) -> int:
    """Forward passes of one rank per optimizer step: the same on all ranks, though some may get an empty one."""
    return math.ceil(math.ceil(batch / world) / micro_batch)


def share(indices: Sequence[int], rank: int, world: int) -> list[int]:
    """A rank's blocks of a step."""
    return list(indices[rank::world])


def micro_batches(
    blocks: Blocks, indices: Sequence[int], *, passes: int, rows: int, pad: int, device: torch.device
) -> list[MicroBatch]:
    """A rank's blocks in exactly `passes` micro-batches of at most `rows`; where blocks run out, one without any loss."""
    groups = [indices[i * rows : (i + 1) * rows] for i in range(passes)]
    return [_collate([_block(blocks, i) for i in group] or [_NOTHING], pad, device) for group in groups]


def probe(blocks: Blocks, device: torch.device) -> MicroBatch:
    """Prompts to compare weights by: up to 8 rows of up to 16 tokens (128 positions), each before a token that is trained on.

    They are drawn from the blocks by a fixed seed; each is a text of its own, so its positions count from 0.
    """
    rng = np.random.default_rng(0)
    each = math.ceil(PROBES / len(blocks))
    places: list[tuple[int, int]] = []
    for block in rng.permutation(len(blocks)).tolist():
        ends = _trained_places(blocks[block].labels)
        places += [(block, end) for end in rng.permutation(ends)[:each].tolist()]
        if len(places) >= PROBES:
            break
    width = min(PROBE_TOKENS, *(end for _, end in places))
    texts = [blocks[block].ids[end - width : end] for block, end in places[:PROBES]]
    ids = torch.from_numpy(np.stack(texts).astype(np.int64)).to(device)
    return MicroBatch(ids, torch.arange(width, device=device).expand_as(ids), torch.full_like(ids, NO_LOSS))


def _trained_places(labels: np.ndarray) -> np.ndarray:
    """Where a block has loss, far enough from its start for a whole prompt before it; else the last such place."""
    places = np.flatnonzero(labels[1:] != NO_LOSS) + 1
    far = places[places >= PROBE_TOKENS]
    return far if len(far) else places[-1:]


_NOTHING = tuple(np.array(values) for values in ([0, 0], [NO_LOSS, NO_LOSS], [0, 1]))


def _block(blocks: Blocks, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    block = blocks[index]
    return block.ids, block.labels, positions(block.lengths.tolist())


def _collate(rows: Sequence[tuple[np.ndarray, ...]], pad: int, device: torch.device) -> MicroBatch:
    """Padding is a text of its own (its positions restart) that carries no loss."""
    width = max(len(ids) for ids, _, _ in rows)
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    labels = np.full((len(rows), width), NO_LOSS, dtype=np.int64)
    places = np.zeros((len(rows), width), dtype=np.int64)
    for row, (tokens, targets, order) in enumerate(rows):
        n = len(tokens)
        ids[row, :n], labels[row, :n], places[row, :n] = tokens, targets, order
        places[row, n:] = np.arange(width - n)
    return MicroBatch(*(torch.from_numpy(array).to(device) for array in (ids, places, labels)))
