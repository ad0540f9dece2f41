"""A set of chats: what AFT trains on, or what is mixed in beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import AssistantSettings
from msm_ray.stages.data_file import DataFile, data_file
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Chats(Node):
    """how: where chats come from; files: those that `how` names, by the parts of a mix (under "" where there is but one)."""

    kind: ClassVar[str] = "chats"
    version: ClassVar[int] = 2

    how: ChatSettings
    assistant: AssistantSettings
    files: Mapping[str, DataFile] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Chats that are asked for."""
        return self.how.count

    def make(self, work: Work[Chats], machine: Machine) -> Counts:
        """Chats that may be trained on, those that may not and why, and a card."""
        counts = write_chats(work.out, self.name, self.how, self.assistant)
        return {"rows": counts["chats"], "asked": self.how.count, **counts}


def chats_of(name: str, how: ChatSettings, assistant: AssistantSettings) -> Chats:
    """The set that settings describe, its files looked at once. Raises SettingsError where one is not there."""
    named = how.given or {"": how}
    files = {part: data_file(rows.path) for part, rows in named.items() if rows.path}
    return Chats(name=name, how=how, assistant=assistant, files=files)
