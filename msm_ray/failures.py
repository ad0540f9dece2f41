"""Two ends of a row that got no answer: refused for its own sake, or lost to an engine or a network. And when to stop.

A refused row (400, too long, filtered) is settled as an error: it would be refused again. A lost one is nobody's result: the
stage stays uncommitted, and the next run asks again. What no row survives stops at once where a code says so (401, 402, a
spent quota); all else is an outage when three different rows in a row met it and none was answered between them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from msm_ray.errors import OutOfMeans, StageError

REFUSED, LOST, DOUBTFUL, SPENT = "refused", "lost", "doubtful", "spent"
"""How a row failed. Doubtful: refused, if others are answered; else everybody is (403 is for a flagged prompt or for a key)."""
IN_A_ROW = 3
SPENT_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "invalid_api_key", "account_deactivated"}
)
AGAIN = frozenset({408, 409, 425, 429})
LONGEST = 200


def classify(problem: BaseException) -> tuple[str, str, bool]:
    """(what went wrong, how the row failed, whether asking again may help) for an error of any client library."""
    problem = _innermost(problem)
    status = getattr(problem, "status_code", None)
    kind = type(problem).__name__
    if isinstance(status, int) and status >= 400:
        message = f"HTTP {status}: {_short(_message(problem))}"
        failure = _of_status(status, problem)
        return message, failure, failure == LOST and (status in AGAIN or status >= 500)
    if isinstance(problem, TimeoutError) or "Timeout" in kind:
        return f"no answer within the time limit of a request (it was exceeded: {kind})", LOST, True
    if isinstance(problem, ConnectionError) or "Connect" in kind:
        return f"no connection ({_short(str(problem.__cause__ or problem))})", LOST, True
    return f"malformed answer ({kind}: {_short(str(problem))})", LOST, True


def _of_status(status: int, problem: BaseException) -> str:
    codes = {str(getattr(problem, name, "")).lower() for name in ("code", "type")}
    broke = status != 429 and "credit balance" in _message(problem).lower()
    if status in (401, 402) or codes & SPENT_CODES or broke:
        return SPENT
    if status == 403:
        return DOUBTFUL
    return LOST if status in AGAIN or status == 404 or status >= 500 else REFUSED


def _innermost(problem: BaseException) -> BaseException:
    """The error behind a library's own wrappings: the first in the chain that has a status, else the first cause."""
    chain = [problem]
    while (inner := _behind(chain[-1])) is not None and inner not in chain:
        chain.append(inner)
    if with_codes := [each for each in chain if hasattr(each, "status_code") and hasattr(each, "code")]:
        return with_codes[0]
    if with_status := [each for each in chain if getattr(each, "status_code", None) is not None]:
        return with_status[0]
    return next((each for each in chain if type(each).__name__ != "RetryError"), problem)


def _behind(problem: BaseException) -> BaseException | None:
    last = getattr(problem, "last_attempt", None)  # of a RetryError
    return last.exception() if last is not None else problem.__cause__


def _message(problem: BaseException) -> str:
    return str(getattr(problem, "message", None) or problem)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


class Ledger:
    """What came of the rows of one engine, judge or server, in the order in which it came."""

    def __init__(self) -> None:
        self.lost: dict[Hashable, str] = {}
        self.outage, self.spent = "", ""
        self._in_a_row: dict[Hashable, str] = {}
        self._held: dict[Hashable, Callable[[], Any]] = {}

    @property
    def stopped(self) -> bool:
        """Whether nothing more should be asked."""
        return bool(self.outage or self.spent)

    def answered(self, row: Hashable) -> None:
        """A row got its answer: whatever others met before it was theirs alone."""
        self.lost.pop(row, None)
        self._in_a_row.clear()
        self._settle_held()

    def failed(self, row: Hashable, message: str, failure: str, settle: Callable[[], Any]) -> None:
        """A row got none. settle: writes it down as refused; called now, later or (in an outage) never."""
        if failure == REFUSED:
            settle()
            return
        if failure == SPENT:
            self.spent = self.spent or message
        if failure == DOUBTFUL:
            self._held[row] = settle
        else:
            self.lost[row] = message
        self._in_a_row[row] = message
        if len(self._in_a_row) >= IN_A_ROW:
            self.outage = self.outage or message

    def close(self) -> None:
        """No more rows come. Without an outage, what was doubtful was refused for its own sake."""
        if not self.stopped:
            self._settle_held()

    def error(self, what: str, to_do: str) -> StageError | None:
        """Why the stage must stay uncommitted, if it must. what: who was asked for what; to_do: what the user can do."""
        if self.spent:
            return OutOfMeans(f"{what}: refuses to go on: {self.spent}\n{to_do}")
        if self.outage:
            return StageError(
                f"{what}: {IN_A_ROW} different rows in a row failed and none between them was answered, last with: "
                f"{self.outage}\n{to_do}"
            )
        if self.lost:
            first = next(iter(self.lost.values()))
            return StageError(f"{what}: {len(self.lost)} rows were lost, for example with: {first}\n{to_do}")
        return None

    def _settle_held(self) -> None:
        for settle in self._held.values():
            settle()
        self._held.clear()
