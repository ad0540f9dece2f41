"""What a run tells while it runs: on the terminal, in `<root>/status.json`, and what it keeps libraries from saying.

Stages tell how far they are through `task`, `waiting` and `over`; `reporting` is opened by the runner and shows it. Where nobody
reports (a test, a worker process) telling costs nothing.
"""

from msm_ray.progress.reporter import Reporter, current, over, task, waiting
from msm_ray.progress.showing import reporting
from msm_ray.progress.work import Task

__all__ = ["Reporter", "Task", "current", "over", "reporting", "task", "waiting"]
