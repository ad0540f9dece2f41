"""A set of chats: what AFT trains on, or what is mixed in beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import AssistantSettings
from msm_ray.stages.data_file import DataFile
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Chats(Node):
    """how: where chats come from; file: the one that `how` names, if any."""

    kind: ClassVar[str] = "chats"

    how: ChatSettings
    assistant: AssistantSettings
    file: DataFile | None = None

    @property
    def rows(self) -> int:
        """Chats that are asked for."""
        return self.how.count

    def make(self, work: Work[Chats], machine: Machine) -> Counts:
        """Chats that may be trained on, those that may not and why, and a card."""
        how = self.how.model_copy(update={"path": str(self.file)}) if self.file else self.how
        counts = write_chats(work.out, self.name, how, self.assistant)
        return {"rows": counts["chats"], "asked": self.how.count, **counts}
