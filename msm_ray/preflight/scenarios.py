"""Scenario files: the parts that they need, and slots that something fills."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msm_ray.config import AgenticEval
from msm_ray.preflight.files import SCENARIOS, located, missing
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.rows.files import Problem
from msm_ray.spec import SLOT
from msm_ray.yaml_tree import At, read_yaml

ALWAYS = ("goal", "model_name", "provider_name")
NEEDED = ("harmful", "safe")


def scenarios(proposal: Proposal) -> Iterator[Finding]:
    """Every scenario file, whole: a slot that nothing fills would be asked as text, thousands of times."""
    for name, how in proposal.settings.evals.items():
        if not isinstance(how, AgenticEval) or how.scenarios == "tinyworld":
            continue
        at, path = ("evals", name, "scenarios"), how.scenarios
        absent = list(missing(proposal, at, path, SCENARIOS))
        yield from absent
        if not absent:
            read, wrong = proposal.tried(at, lambda path=path: read_yaml(path))  # type: ignore[misc]
            yield from wrong
            if read is not None:
                yield from located(at, path, problems(*read), SCENARIOS)


def problems(tree: Any, lines: Mapping[At, int]) -> list[Problem]:
    """What is wrong with a scenario file, with the line of each."""
    if not isinstance(tree, dict):
        return [(1, "no mapping")]
    absent = [f"`{key}`" for key in ("user", "goals", "actions") if not tree.get(key)]
    found: list[Problem] = [(None, f"lacks {', '.join(absent)}")] if absent else []
    for key in ("goals", "actions"):
        if tree.get(key) and not isinstance(tree[key], dict):
            found.append((lines.get((key,)), f"`{key}` is no mapping from names to texts"))
    for key in ("system", "user"):
        if tree.get(key) is not None and not isinstance(tree[key], str):
            found.append((lines.get((key,)), f"`{key}` is no text"))
    if found:
        return found
    for goal, text in tree["goals"].items():
        if not isinstance(text, str):
            found.append((lines.get(("goals", goal)), f"the goal '{goal}' is no text"))
    return found + _actions(tree["actions"], lines) + _slots(tree, lines)


def _actions(actions: Mapping[str, Any], lines: Mapping[At, int]) -> list[Problem]:
    found: list[Problem] = []
    for action, slots in actions.items():
        at = ("actions", action)
        if not isinstance(slots, dict):
            found.append((lines.get(at), f"the action '{action}' is no mapping"))
            continue
        found += [
            (lines.get(at), f"the action '{action}' lacks `{key}`") for key in NEEDED if not str(slots.get(key) or "")
        ]
        found += [
            (lines.get((*at, key)), f"`{key}` of the action '{action}' is no text")
            for key, text in slots.items()
            if not isinstance(text, str)
        ]
    return found


def _slots(tree: Mapping[str, Any], lines: Mapping[At, int]) -> list[Problem]:
    """Slots of the templates that some action does not fill."""
    actions = {name: slots for name, slots in tree["actions"].items() if isinstance(slots, dict)}
    found: list[Problem] = []
    for key in ("system", "user"):
        for slot in dict.fromkeys(word[1:-1] for word in SLOT.findall(tree.get(key) or "")):
            unfilled = [name for name, slots in actions.items() if slot not in (*ALWAYS, *slots)]
            if unfilled:
                found.append((_line_of(tree[key], slot, lines.get((key,))), _unfilled(slot, unfilled, actions)))
    return found


def _unfilled(slot: str, unfilled: list[str], actions: Mapping[str, Mapping[str, Any]]) -> str:
    known = sorted({*ALWAYS, *(key for slots in actions.values() for key in slots)} - {slot})
    near = difflib.get_close_matches(slot, known, n=1)
    hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are {', '.join(known)}"
    whom = "no action fills" if len(unfilled) == len(actions) else f"{', '.join(unfilled)} does not fill"
    return f"{whom} the slot {{{slot}}}{hint}"


def _line_of(text: str, slot: str, first: int | None) -> int | None:
    """The line of a slot in a block of text that begins on the line after its key."""
    before = re.split(re.escape("{" + slot + "}"), text, maxsplit=1)[0]
    return None if first is None else first + 1 + before.count("\n")
