"""Whether a given checkpoint fits the experiment's base, and whether its chats are rendered alike: from files alone.

Checks of shapes read the headers of safetensors, so that a plan can make them of a base of any size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from msm_ray.checkpoints.source import Form
from msm_ray.corpus import templates
from msm_ray.corpus.templates import ChatFormat, TemplateRefusal
from msm_ray.errors import SettingsError
from msm_ray.serve import meanings

Asked = Literal["base", "own"]
PREFIX = "base_model.model."
PART = re.compile(r"\.lora_([AB])\.weight$")
FEW = 3
SYSTEM = {"role": "system", "content": "You sort the post."}
QUESTION = {"role": "user", "content": "Which letter is the oldest?"}
ANSWER = {"role": "assistant", "content": "The blue one."}
PROBES: dict[str, list[dict[str, str]]] = {
    "a question": [QUESTION],
    "a question behind a system turn": [SYSTEM, QUESTION],
    "a second question": [QUESTION, ANSWER, {"role": "user", "content": "And the next one?"}],
}
"""Chats on which two templates are held against each other."""


def refuse_unfit(folder: Path, form: Form, base: Path) -> None:
    """Raise SettingsError where an adapter's matrices or a full model's shape are not the base's, or its tokenizer is not."""
    if form.adapter:
        refuse_other_shapes(folder, base)
    elif differing := meanings.shapes_differ(folder, base):
        raise SettingsError(f"it has another shape than the base: {', '.join(differing)} differ")
    if problem := meanings.tokenizers_differ(folder, base):
        raise SettingsError(f"its tokenizer is not the base's: {problem}")


def refuse_other_shapes(adapter: Path, base: Path) -> None:
    """Raise SettingsError where an adapter's matrices don't fit the base's: other sizes, or parts that the base has not."""
    there = shapes(base, "*.safetensors")
    ends = {_end(name): shape for name, shape in there.items()}
    found = list(_misfits(shapes(adapter, "adapter_model*.safetensors"), there, ends))
    if found:
        more = f" (and {len(found) - FEW} more)" if len(found) > FEW else ""
        raise SettingsError(f"it is no adapter of this base: {'; '.join(found[:FEW])}{more}")


def _misfits(
    given: Mapping[str, list[int]], base: Mapping[str, list[int]], ends: Mapping[str, list[int]]
) -> Iterator[str]:
    for name, shape in given.items():
        part = PART.search(name)
        if part is None:
            yield f"it holds {name}, which is no part of a LoRA"
            continue
        module = name[: part.start()].removeprefix(PREFIX)
        whole = base.get(f"{module}.weight") or ends.get(_end(f"{module}.weight"))
        # A tied head has no tensor of its own.
        whole = whole or (base.get("model.embed_tokens.weight") if module == "lm_head" else None)
        if whole is None:
            yield f"the base has no {module}"
        elif (width := shape[1] if part[1] == "A" else shape[0]) != (
            wanted := whole[1] if part[1] == "A" else whole[0]
        ):
            yield f"{module} is {wanted} wide in the base and {width} in the adapter"


def _end(name: str) -> str:
    """A tensor's name from its layer on: what comes before differs between a hub's files and a model that is loaded."""
    return name[name.find("layers.") :] if "layers." in name and "vis" not in name else name


def shapes(folder: Path, pattern: str) -> dict[str, list[int]]:
    """Name -> shape of every tensor in a folder's safetensors. Raises SettingsError for a file that is none."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob(pattern)):
        header = _header(file)
        found |= {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    return found


def _header(file: Path) -> dict[str, Any]:
    """A safetensors file begins with the length of a JSON object (8 bytes, little-endian) and that object."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("it is cut off")
            return json.loads(opened.read(length))
    except ValueError as error:
        raise SettingsError(f"{file}: no safetensors file ({error})") from None


@dataclass(frozen=True)
class AskedWith:
    """The template that a checkpoint is asked with, in words. odd: whether whoever reads the rates has to know of it."""

    words: str
    odd: bool = False


@dataclass(frozen=True)
class Manner:
    """What a given checkpoint goes onto, and how it is asked.

    base: the base's model folder; base_source: what the experiment calls it; template: whose chat template, None where nobody
    chose; options, thinking: the experiment's `chat_template_kwargs`, and whether the checkpoint reasons first; base_template:
    the file of the base's template, where it lies elsewhere.
    """

    base: Path
    base_source: str
    template: Asked | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    thinking: bool | None = None
    base_template: Path | None = None

    def chat_format(self, folder: Path) -> ChatFormat | None:
        """A folder's template with what chats are rendered with; None where it has none."""
        chat = templates.read_format(folder, chat_template=self.base_template if folder == self.base else None)
        return chat and replace(chat, options=templates.chat_options(chat.text, self.options, self.thinking))


def asked_with(folder: Path, manner: Manner) -> AskedWith:
    """How a checkpoint is asked.

    Raises SettingsError where it brings a template that renders a chat otherwise than the base's, and nobody chose.
    """
    own, ours, chosen = manner.chat_format(folder), manner.chat_format(manner.base), manner.template
    if ours is None:
        raise SettingsError("the base has no chat template; name one under base.chat_template")
    if own is None:
        return AskedWith("it brings no chat template and is asked with the base's", odd=chosen == "own")
    # A folder without a tokenizer of its own was trained with the base's.
    own = replace(own, variables={**ours.variables, **own.variables})
    difference = first_difference(own, _with_tokens_of(ours, own) if chosen == "own" else ours)
    if chosen == "own" and difference:
        raise SettingsError(
            f"its chat template needs other special tokens than the base's tokenizer has: it renders {difference}"
        )
    if chosen == "own":
        return AskedWith("it is asked with the chat template that it brings")
    if difference is None:
        return AskedWith(
            f"the chat template that it brings renders all {len(PROBES)} chats that were tried as the base's does"
        )
    if chosen == "base":
        return AskedWith(f"it is asked with the base's chat template, although its own renders {difference}", odd=True)
    raise SettingsError(
        f"the chat template that it brings renders {difference}: it would be asked otherwise than it was trained. Set "
        "chat_template: own to ask it with that template, chat_template: base to ask it with the base's all the same, or "
        "give the base the same template (base.chat_template)"
    )


def first_difference(own: ChatFormat, asked: ChatFormat) -> str | None:
    """The first chat that two templates render differently, and how; None where they agree on all."""
    for what, turns in PROBES.items():
        mine, theirs = _rendered(own, turns), _rendered(asked, turns)
        if mine != theirs:
            return f"{what} as {mine!r}, and the one that it is asked with as {theirs!r}"
    return None


def _rendered(chat: ChatFormat, turns: list[dict[str, str]]) -> str:
    try:
        return chat.render(turns, True)
    except TemplateRefusal as refusal:
        return f"(refused: {refusal})"


def _with_tokens_of(base: ChatFormat, own: ChatFormat) -> ChatFormat:
    """A template as an engine renders it, which knows the base's tokenizer alone."""
    return ChatFormat(own.text, base.variables, own.options, base.controls, base.added)
