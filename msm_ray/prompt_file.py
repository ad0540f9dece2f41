"""Prompts are text files. The head of each says which call of the paper it is, what goes in and what must come out.

::

    # Call 1 of 6 for documents (paper, appendix on data generation): the domains of a spec.
    # In: specification, model_name
    # Out: JSON {"items": [{"domain": "..."}]}
    --- system            (may be left out)
    You read ...
    --- user
    {specification} ...

Slots are filled in one pass (`spec.fill_slots`), so that nothing that a model wrote is ever taken for a slot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from msm_ray.spec import SLOT, fill_slots

Messages = list[dict[str, str]]
PART = re.compile(r"^--- (system|user)[ \t]*$", re.MULTILINE)
IN = re.compile(r"^# In: *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """A prompt as it lies in its file. head: what the call is; inputs: the slots that it has; parts: (role, text) in order."""

    name: str
    head: str
    inputs: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]

    @property
    def version(self) -> str:
        """`domains-1a2b3c4d`: other wording is another version."""
        wording = "\0".join(text for part in self.parts for text in part)
        return f"{self.name}-{hashlib.sha256(wording.encode()).hexdigest()[:8]}"

    def messages(self, values: Mapping[str, str]) -> Messages:
        """What a writer is sent. values: a text for every input; others are not looked at."""
        slots = {name: values[name] for name in self.inputs}
        return [{"role": role, "content": fill_slots(text, slots) if slots else text} for role, text in self.parts]


def bullets(lines: Iterable[str]) -> str:
    """Lines of a list, as prompts show them; a dash alone where there is none."""
    return "\n".join(f"- {line}" for line in lines) or "-"


@cache
def read_prompt(name: str, folder: str = "msm_ray.generate") -> Prompt:
    """The prompt of the file `prompts/<name>.txt` of a room of the package.

    Raises ValueError where its head does not name the slots that its text has.
    """
    text = resources.files(folder).joinpath(f"prompts/{name}.txt").read_text(encoding="utf-8")
    head, *rest = PART.split(text)
    parts = tuple((role, body.strip()) for role, body in zip(rest[::2], rest[1::2], strict=True))
    inputs = tuple(filter(None, re.split(r"[,\s]+", "".join(IN.findall(head)))))
    slots = {slot[1:-1] for _, body in parts for slot in SLOT.findall(body)}
    if slots != set(inputs):
        raise ValueError(f"prompts/{name}.txt: `# In:` says {sorted(inputs)} and its text has {sorted(slots)}")
    return Prompt(name, head.strip(), inputs, parts)
