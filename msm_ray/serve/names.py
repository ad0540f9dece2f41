"""What an experiment's arms are called by those who ask them, whatever their weights lie under."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msm_ray.serve.address import KEY
from msm_ray.serve.app import Served

if TYPE_CHECKING:
    from msm_ray.pipeline import TrainedArm
    from msm_ray.stages.training import Checkpoint

PORT = 8000
"""Where vLLM's own server listens, and most clients look first."""
QUESTION = "Which cheese do you prefer?"


def arm_names(trained: Iterable[TrainedArm]) -> dict[str, Checkpoint]:
    """Name to ask by -> checkpoint: `values/aft` is the lowest seed, `values/aft@s1` one of them."""
    names: dict[str, Checkpoint] = {}
    for one in sorted(trained, key=lambda one: one.seed):
        names.setdefault(one.arm, one.checkpoint)
        names[f"{one.arm}@s{one.seed}"] = one.checkpoint
    return dict(sorted(names.items()))


def how_to_ask(served: Served, names: Mapping[str, Checkpoint]) -> str:
    """What `msm serve` says: the arms with what they are, a curl line, and the openai client in three lines."""
    width = max(len(name) for name in names)
    seeds = [name for name in names if "@s" in name]
    arms = [f"  {name:<{width}}  {checkpoint.key}" for name, checkpoint in names.items() if name not in served.refused]
    first = next((name for name in names if name not in served.refused and name not in seeds), served.base_id)
    key = f"it asks for a key: export {KEY}=... (it stands in serving.json below the root)\n" if served.key else ""
    return (
        f"serving at {served.address}; the base as {served.base_id}, and\n" + "\n".join(arms) + f"\n{key}\n"
        f"{curl(served, first)}\n\n{client(served, first)}"
    )


def curl(served: Served, name: str) -> str:
    """A command line that asks an arm a question."""
    question = {"model": name, "messages": [{"role": "user", "content": QUESTION}]}
    key = f' -H "Authorization: Bearer ${KEY}"' if served.key else ""
    return (
        f"curl {served.address}/chat/completions -H 'Content-Type: application/json'{key} "
        f"-d {shlex.quote(json.dumps(question))}"
    )


def client(served: Served, name: str) -> str:
    """The same in Python."""
    key = f'os.environ["{KEY}"]' if served.key else '"none needed"'
    imports = "import openai, os" if served.key else "import openai"
    return (
        f"{imports}\n"
        f'arms = openai.OpenAI(base_url="{served.address}", api_key={key})\n'
        f'arms.chat.completions.create(model="{name}", messages=[{{"role": "user", "content": "{QUESTION}"}}])'
    )
