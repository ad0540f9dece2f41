"""Which parameters an address takes, learned from what it refuses: once, for all that is asked of it afterwards.

`max_tokens` has a newer name, `max_completion_tokens`, which models that reason insist on. `top_p` and `temperature` are refused
by some models, by others both together. One is left out only where the row asks for 1, which is what the API says it is without
being said; a row that asks for another value is refused with the reason, since without it the answer would be sampled otherwise
than the settings say.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

REFUSED = re.compile(
    r"unsupported|not supported|n[o']t support|unknown|unrecognized|unexpected|not permitted|not allowed|extra (input|field)|"
    r"cannot both|only one|only the default|deprecated|instead",
    re.I,
)
"""Words of a refusal of a parameter, and not of a prompt that has a parameter's name in it."""
UNSAID = {"top_p": 1.0, "temperature": 1.0}
"""What a parameter is where it is not sent."""
LOGGER = logging.getLogger("msm_ray.engines.endpoint")


class Parameters:
    """What an address takes. left_out: parameters that it refused."""

    def __init__(self, model: str):
        self.model = model
        self.longest, self.left_out = "max_tokens", set[str]()

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a row that are sent."""
        sampling = {name: row[name] for name in UNSAID if not (name in self.left_out and row[name] == UNSAID[name])}
        return {**sampling, self.longest: row["max_tokens"]}

    def learn(self, problem: BaseException, sent: Mapping[str, Any]) -> tuple[bool, str]:
        """(whether the same row may be taken when it is asked again, what to tell where not) from a refusal.

        sent: the parameters of the request. Nothing is learned, and nothing told, from other refusals.
        """
        if getattr(problem, "status_code", None) not in (400, 422):
            return False, ""
        said = f"{getattr(problem, 'param', None) or ''} {getattr(problem, 'message', None) or problem}"
        if not REFUSED.search(said):
            return False, ""
        if "max_tokens" in sent and "max_completion_tokens" in said:
            return self._noted(
                "takes max_completion_tokens in the place of max_tokens", longest="max_completion_tokens"
            )
        named = [name for name in UNSAID if name in sent and re.search(rf"\b{name}\b", said)]
        for name in named:
            if sent[name] == UNSAID[name]:
                return self._noted(f"takes no {name}, which is left out where it is 1", left_out=name)
        told = [f"{name} {sent[name]:g}" for name in named]
        return False, (
            f" ({' and '.join(told)} is asked for; with 1 it is left out and the model's own holds)" if told else ""
        )

    def _noted(self, what: str, longest: str = "", left_out: str = "") -> tuple[bool, str]:
        if self.longest != (longest or self.longest) or left_out not in {"", *self.left_out}:
            LOGGER.warning("%s %s", self.model, what)
        self.longest = longest or self.longest
        self.left_out |= {left_out} - {""}
        return True, ""
