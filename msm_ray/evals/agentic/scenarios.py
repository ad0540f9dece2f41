"""Scenario files: the parts that they need, slots that something fills, and what of them may stand in no training text.

YAML: `system` and `user` templates; `goals` (name -> text); `actions` (name -> {slots of the templates, harmful, safe}).
Templates may use {goal}, {model_name}, {provider_name} and any key of an action. `names` lists people, companies and products
that no training text may hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from msm_ray.errors import SettingsError
from msm_ray.evals.held_out import Marks
from msm_ray.evals.items import fill, item
from msm_ray.rows.files import Problem
from msm_ray.rows.lines import read_text
from msm_ray.rows.schemas import Row
from msm_ray.spec import SLOT
from msm_ray.yaml_tree import At

EXPECTED = "YAML with user, goals and actions, as specs/philosophy/scenarios.yaml"
ALWAYS = ("goal", "model_name", "provider_name")
NEEDED = ("harmful", "safe")
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
CORRESPONDENT = re.compile(r"(?<![\w.])((?:[A-Z][\w'’-]+ )+[A-Z][\w'’-]+)(?:, [^<>\n]*)? <[^<>\s]+@")


def read_scenarios(path: str) -> dict[str, Any]:
    """A scenario file. Raises SettingsError for one that can't be read, or lacks a part."""
    texts = yaml.safe_load(read_text(Path(path)))
    missing = [key for key in ("user", "goals", "actions") if not isinstance(texts, dict) or key not in texts]
    if missing:
        raise SettingsError(f"{path}: no scenario file, it lacks {', '.join(missing)}")
    return texts


def scenario_items(texts: Mapping[str, Any], assistant: str, provider: str, rollouts: int) -> Iterator[Row]:
    """Every goal with every action, asked `rollouts` times."""
    for (goal, goal_text), (action, slots) in product(texts["goals"].items(), texts["actions"].items()):
        filled = {"goal": goal_text, "model_name": assistant, "provider_name": provider, **slots}
        own = {
            "system": fill(texts.get("system", ""), **filled) or None,
            "user": fill(texts["user"], **filled),
            "goal": goal,
            "action": action,
            "harmful": slots["harmful"],
            "safe": slots["safe"],
        }
        yield item(own, condition=f"{goal}/{action}", cluster=f"{goal}/{action}", world="plain", epochs=rollouts)


def scenario_marks(tree: Mapping[str, Any]) -> Marks:
    """Names, company and addresses of a scenario file, and every run of eight words that its texts ask with.

    Names are those that the file lists (`names`), and who writes in it (`Ruben Haas <r.haas@hallam.example>`).
    """
    asked = [str(tree.get(key) or "") for key in ("system", "user")] + [str(goal) for goal in tree["goals"].values()]
    for slots in tree["actions"].values():
        asked += [str(text) for slot, text in slots.items() if slot not in NEEDED]
    whole = "\n".join(asked)
    names = [*map(str, tree.get("names") or ()), *ADDRESS.findall(whole), *CORRESPONDENT.findall(whole)]
    return Marks(names, [part for text in asked for part in SLOT.split(text)])


def longest_scenario(texts: Mapping[str, Any]) -> str:
    """Templates, the longest goal and the longest action behind each other."""
    goal = max(texts["goals"].values(), key=len)
    action = max(("\n".join(slots.values()) for slots in texts["actions"].values()), key=len)
    return "\n".join([texts.get("system") or "", texts["user"], goal, action])


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
