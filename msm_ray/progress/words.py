"""Numbers of progress in words, the same on a terminal, in a log and in `msm status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def duration(seconds: float) -> str:
    """`43 s`, `6 min`, `1 h 20 min`, `2 d 3 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def rate(per_second: float, unit: str) -> str:
    """`52 documents/s`, `9.3 steps/s`, `4.5 steps/min`."""
    value, time = (per_second, "s") if per_second >= 0.5 else (per_second * 60, "min")
    return f"{value:,.0f} {unit}/{time}" if value >= 20 else f"{value:.2g} {unit}/{time}"


def amount(task: Mapping[str, Any]) -> str:
    """`1,204 of 8,000 documents (15%)`. task: `Task.numbers`; empty where there is nothing to count."""
    if not task["unit"]:
        return ""
    if task["asked"] is None:
        return f"{task['done']:,} {task['unit']}"
    share = f" ({100 * task['done'] // task['asked']}%)" if task["asked"] else ""
    return f"{task['done']:,} of {task['asked']:,} {task['unit']}{share}"


def speed(task: Mapping[str, Any]) -> str:
    """`52 documents/s, 2 min left`, or what is waited for and for how long."""
    if task["waits_for"]:
        return f"waiting for {task['waits_for']}, {duration(task['seconds'])} so far"
    parts = [rate(task["per_second"], task["unit"])] if task["per_second"] else []
    parts += [f"{duration(task['seconds_left'])} left"] if task["seconds_left"] is not None else []
    return ", ".join(parts)


def described(task: Mapping[str, Any]) -> str:
    """Everything about one task in one line."""
    said = ", ".join(part for part in (amount(task), speed(task)) if part)
    name = f"{task['label']}: " if task["label"] else ""
    return f"{name}{said}" + (f"; {task['now']}" if task["now"] else "")


def running(group: Mapping[str, Any]) -> str:
    """One line on the stages that run now. group: `Reporter.content()["running"]`."""
    tasks = group["tasks"]
    whole, inner = [t for t in tasks if not t["label"]], [t for t in tasks if t["label"]]
    last = [described(task) for task in inner[-1:]]
    if not group["kinds"]:
        return "; ".join(last)
    made = f"{group['made']} of {group['stages']} stages"
    first = described(whole[-1]) if whole else made if tasks else f"{made}, {duration(group['seconds'])} so far"
    return f"{group['kinds']}: {'; '.join([first, *last])}"


def altogether(content: Mapping[str, Any]) -> str:
    """`87 of 225 stages, about 20 min left in all`; empty where there are no stages. content: `status.json`."""
    states = [stage["state"] for stage in content["stages"].values()]
    if not states:
        return ""
    left = content["seconds_left"]
    return f"{states.count('done')} of {len(states)} stages" + (
        f", about {duration(left)} left in all" if left is not None else ""
    )
