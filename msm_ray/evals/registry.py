"""The evals that there are: the one place that names them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from msm_ray.evals.agentic import AgenticEval
from msm_ray.evals.answers import AnswersEval
from msm_ray.evals.inspect_task import InspectEval
from msm_ray.evals.preferences import PreferencesEval
from msm_ray.evals.protocol import Eval

KINDS: tuple[type[Eval], ...] = (PreferencesEval, AgenticEval, AnswersEval, InspectEval)
TASKS = tuple(str(kind.model_fields["task"].default) for kind in KINDS)
EvalSettings = Annotated[PreferencesEval | AgenticEval | AnswersEval | InspectEval, Field(discriminator="task")]
"""An eval's section of an experiment file, by its `task`."""
