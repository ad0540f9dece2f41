"""What a training is: a plain description that can be sent to another process, and the steps that follow from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from msm_ray.tracking import RunName
from msm_ray.train.settings import TrainContent, TrainWhere


@dataclass(frozen=True)
class TrainingJob:
    """One training: blocks and a model in, `out/model` (full) or `out/adapter` (LoRA) out.

    name: what logs call it (`midtrain values/msm-aff seed 0`). base: folder of the base model; base_source: what names it
    wherever that folder lies (`base.source`: a hub id, ...), for an adapter's configuration. parent: what is continued,
    a model folder (full) or an adapter folder (LoRA); none: the base. blocks: a folder that `build_blocks` wrote.
    record: the artifact's record, handed to whoever commits it. facts: lines of the model card (arm, spec digest, ...).
    run: the W&B run that rank 0 logs to; none: nothing is logged. cache: a folder of every node's own disk for copies of blocks.
    """

    name: str
    base: Path
    blocks: Path
    out: Path
    settings: TrainContent
    where: TrainWhere = TrainWhere()
    seed: int = 0
    parent: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    run: RunName | None = None
    base_source: str = ""
    cache: Path | None = None

    @property
    def weights(self) -> Path:
        """The model folder whose weights are loaded: a full training's parent, else the base."""
        return self.parent if self.parent is not None and self.settings.mode == "full" else self.base

    @property
    def inputs(self) -> list[Path]:
        """The artifacts that it is made from: its blocks, and what is continued."""
        return [self.blocks, *([self.parent.parent] if self.parent else [])]

    @property
    def exported(self) -> Path:
        """Where the result lies when the training is done."""
        return self.out / ("model" if self.settings.mode == "full" else "adapter")


@dataclass(frozen=True)
class Schedule:
    """Which blocks each step sees, and at which learning rate; a function of the step alone, so resuming needs no state.

    Blocks come in an order drawn anew by seed for each epoch; step n takes the n-th `batch` of that stream, whatever the
    number of workers. With `settings.steps` the stream goes on until they are done; without, it ends after `epochs`, and
    the last step takes what is left, so that every block is seen equally often.
    """

    settings: TrainContent
    blocks: int
    seed: int

    @property
    def length(self) -> int:
        """Blocks in the whole stream."""
        if self.settings.steps is not None:
            return self.settings.steps * self.settings.batch
        return round(self.settings.epochs * self.blocks)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return math.ceil(self.length / self.settings.batch)

    @property
    def epochs(self) -> float:
        """How often each block is seen, on average; more than the settings' epochs where `steps` asks for it."""
        return self.length / self.blocks

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""
        return math.ceil(self.settings.warmup * self.steps)

    def batch(self, step: int) -> list[int]:
        """Block indices of a step (from 0), all workers together."""
        first = step * self.settings.batch
        cursor = np.arange(first, min(first + self.settings.batch, self.length))
        orders = {epoch: self._order(epoch) for epoch in set((cursor // self.blocks).tolist())}
        return [int(orders[c // self.blocks][c % self.blocks]) for c in cursor.tolist()]

    def learning_rate(self, step: int) -> float:
        """Rises linearly to the full rate, then stays or falls as a cosine to its final share (step from 0)."""
        s = self.settings
        if step < self.warmup_steps:
            return s.learning_rate * (step + 1) / self.warmup_steps
        if s.schedule == "constant":
            return s.learning_rate
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return s.learning_rate * (s.final_lr_share + (1 - s.final_lr_share) * (1 + math.cos(math.pi * progress)) / 2)

    def _order(self, epoch: int) -> np.ndarray:
        return _order(self.seed, epoch, self.blocks)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, blocks: int) -> np.ndarray:
    """Kept, since every step looks at it, and millions of blocks take a good part of a second to shuffle."""
    return np.random.default_rng([seed, epoch]).permutation(blocks)


def identity(job: TrainingJob, blocks_digest: str) -> str:
    """SHA-256 of what a checkpoint belongs to: settings that decide the content, seed, data, and what is continued."""
    parts = {
        "settings": job.settings.content(),
        "seed": job.seed,
        "blocks": blocks_digest,
        "weights": _weights_digest(job.weights),
        "adapter": _weights_digest(job.parent) if job.parent and job.settings.mode == "lora" else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_digest(folder: Path) -> list[str]:
    return [file_digest(path) for path in sorted(folder.glob("*.safetensors"))]
