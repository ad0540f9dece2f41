"""How long to wait before a request is sent again: what the server says, in any of the ways in which servers say it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds. No server and no clock makes a request wait longer at a time: after that it asks again."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
KINDS = ("requests", "tokens")


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a reply asks to wait, LONGEST_WAIT at most; None where it says nothing.

    Read, the first that is there: `retry-after-ms`; `Retry-After` (RFC 9110: seconds, or a date, which is held against the
    reply's own `Date`, so that the two clocks need not agree); OpenAI's `x-ratelimit-reset-requests` and `-tokens` ("6m0s")
    and Anthropic's `anthropic-ratelimit-*-reset` (a time), of the limits of which nothing remains.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    now = _date(given.get("date", "")) or now or datetime.now(UTC)
    said = _milliseconds(given.get("retry-after-ms", ""))
    said = _after(given.get("retry-after", ""), now) if said is None else said
    said = _resets(given, now) if said is None else said
    return None if said is None else min(max(said, 0.0), LONGEST_WAIT)


def growing(times: int) -> float:
    """Seconds before the next try where nobody says how long: doubling with each time (from 1), with jitter."""
    return min(FIRST_WAIT * 2 ** min(times - 1, 10), LONGEST_WAIT) * random.uniform(0.5, 1.0)


def pause(asked: float | None, times: int) -> float:
    """Seconds before the next try, the so many-th in a row: what the server asks for.

    Less than a second may be a slip (0, a date that is past), with which requests would follow each other at once: it grows, as
    where nothing is said.
    """
    if asked is None or asked < FIRST_WAIT:
        return max(asked or 0.0, growing(times))
    return asked


def _milliseconds(text: str) -> float | None:
    return float(text) / 1000 if _is_number(text) else None


def _after(text: str, now: datetime) -> float | None:
    if _is_number(text):
        return float(text)
    date = _date(text)
    return (date - now).total_seconds() if date else None


def _resets(given: Mapping[str, str], now: datetime) -> float | None:
    """The longest of the limits of which nothing remains (or nobody says what remains)."""
    found = []
    for kind in KINDS:
        for remaining, reset in (
            (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
            (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
        ):
            wait = _duration(given.get(reset, ""), now)
            if wait is not None and given.get(remaining, "0") == "0":
                found.append(wait)
    return max(found, default=None)


def _duration(text: str, now: datetime) -> float | None:
    if _is_number(text):
        return float(text)
    parts = DURATION.findall(text)
    if parts and "".join(map("".join, parts)) == text:
        return sum(float(number) * UNITS[unit] for number, unit in parts)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
