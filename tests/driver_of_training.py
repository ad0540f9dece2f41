"""A driver of its own process for the kill tests: `python driver_of_training.py FOLDER` runs the folder's job."""

from __future__ import annotations

import sys
from pathlib import Path

from msm_ray import ray_session
from msm_ray.graph.artifacts import FORMAT
from msm_ray.placement.settings import ClusterSettings
from msm_ray.settings_base import part
from msm_ray.train.job import TrainingJob
from msm_ray.train.launch import train_all
from msm_ray.train.settings import TrainContent, TrainSettings, TrainWhere

LONG = TrainSettings(
    mode="full", precision="fp32", steps=60, batch=8, micro_batch=2, sequence_length=128, learning_rate=1e-3,
    embedding_learning_rate=3e-3, least_steps=1, checkpoint_every=5, log_every=5, zero_stage=2,
)  # fmt: skip
"""A training that is long enough to be killed on the way."""


def halves(settings: TrainSettings) -> tuple[TrainContent, TrainWhere]:
    """What decides the weights, and what only says where and how fast."""
    return part(settings, TrainContent), part(settings, TrainWhere)


def long_job(folder: Path, out: str) -> TrainingJob:
    record = {"format": FORMAT, "stage": "midtrain", "name": "long", "version": 1, "settings": {}, "inputs": {}}
    content, where = halves(LONG)
    return TrainingJob("long", folder / "base", folder / "blocks", folder / out, content, where, seed=3, record=record)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cluster = ClusterSettings(cpus=4)
    with ray_session.open_session(cluster):
        train_all([long_job(folder, "driver-killed")], cluster, folder / "storage")
