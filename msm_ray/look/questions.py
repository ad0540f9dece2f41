"""The questions of an eval on a terminal."""

from __future__ import annotations

from collections import Counter

from msm_ray.evals.items import read_items
from msm_ray.look.view import View

OWN = ("id", "system", "user", "epochs", "condition", "cluster")
"""Columns that are shown in a place of their own, or say nothing to people."""


def show_items(view: View) -> None:
    """Some questions, each with its condition and what the judge goes by."""
    page, items = view.page, read_items(view.entry.folder)
    page.facts("by condition", {f"{name}:": n for name, n in sorted(Counter(i["condition"] for i in items).items())})
    drawn = view.rng.sample(items, min(view.count, len(items)))
    page.heading(f"{len(drawn)} of {len(items):,} questions, at random")
    for item in drawn:
        if item.get("system"):
            page.text(f"system: {item['system']}", f"{item['id']}  {item['condition']}")
            page.text(f"user: {item['user']}")
        else:
            page.text(item["user"], f"{item['id']}  {item['condition']}")
        page.facts("  judged by", {key: value for key, value in item.items() if key not in OWN and value is not None})
