"""A verdict on one answer, whoever gives it. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Judgement:
    """verdict: True (aligned choice; decided to act; solved), False, None. reason: why, if the status is not ok.

    status: "unclear" where the answer makes no choice; "cut off" where it ended too early to tell; "unusable" where the judge
    gave nothing that can be read; "error" where there is no answer. judge: the rules, or the model as its reply names it.
    share: the verdict as a number from 0 to 1, of evals that give one; the rate is then over these.
    """

    verdict: bool | None
    status: Literal["ok", "unclear", "cut off", "unusable", "error"] = "ok"
    reason: str = ""
    judge: str = "rules"
    share: float | None = None


CUT_OFF = Judgement(None, "cut off", "the reply ended in its reasoning")
