"""Weights & Biases: one run per experiment, one per training, and a Report. docs/wandb.md says what each holds.

keys: whether there is a key; run: how a run is opened, within a time and without a word too many; names: which run it is;
experiment_run, training_run: what they hold, all of it read from finished artifacts; leaving: what may leave this machine;
report_spec: the Report and the workspace's view; publishing: saves them; upload: sends what was kept here.
"""

from msm_ray.tracking.experiment_run import ExperimentRun
from msm_ray.tracking.keys import without_key
from msm_ray.tracking.names import RunName
from msm_ray.tracking.run import Tracker, open_run

__all__ = ["ExperimentRun", "RunName", "Tracker", "open_run", "without_key"]
