"""A set of chats: what AFT trains on, or what is mixed in beside it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from msm_ray.errors import MsmError
from msm_ray.generate.calls import Asked
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.chat_forms import Chat
from msm_ray.generate.chat_settings import WRITTEN, ChatSettings
from msm_ray.generate.chats import chat_rows, judged_against, write_chats, write_rows
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.written_chats import mixed, read_written
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import AssistantSettings, Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.data_file import DataFile, data_file
from msm_ray.stages.machine import Machine
from msm_ray.stages.writers import Judge, begun, writers_at
from msm_ray.stages.written_chats import ChatWriting


@dataclass(frozen=True, kw_only=True)
class Chats(Node):
    """how: where chats come from; own_files: those that `how` names, by the parts of a mix (under "" where there is but one).

    writing: what they are taken from; dosing: another that takes a share; judge: of conflicts; writer: the base, where
    that judges.
    """

    kind: ClassVar[str] = "chats"
    version: ClassVar[int] = 2
    direct: ClassVar[bool] = True

    how: ChatSettings
    assistant: AssistantSettings
    own_files: Mapping[str, DataFile] = field(default_factory=dict)
    writing: ChatWriting | None = None
    dosing: ChatWriting | None = None
    judge: Judge | None = None
    writer: Base | None = None

    @property
    def rows(self) -> int:
        """Chats that are asked for."""
        return self.how.count

    @classmethod
    def make_all(cls, works: Sequence[Work[Chats]], machine: Machine) -> None:
        """Chats that may be trained on, those that may not and why, and a card; all that are judged are judged side by side."""
        super().make_all([work for work in works if work.node.judge is None], machine)
        by_key = {work.node.key: work for work in works if work.node.judge and not work.waits}
        if not by_key:
            return

        def finish(key: str, counts: Mapping[str, Any], answers: Answers) -> None:
            by_key[key].finish({**counts, **answers.counts()})

        talks = begun(by_key, machine)
        desk = Desk(machine.engines)
        for key, result in desk.hold(talks, finish).items():
            if isinstance(result, MsmError):
                by_key[key].fail(result)

    def make(self, work: Work[Chats], machine: Machine) -> Counts:
        """A set that nobody judges against a spec."""
        chats = self._written(work) if self.how.source == WRITTEN else None
        return self._counts(write_chats(work.out, self.name, self.how, self.assistant, chats))

    def talk(self, work: Work[Chats], machine: Machine) -> Talk:
        """The conversation with the judge, and what is written behind it."""
        assert self.judge
        base = model_folder(work.folder(self.writer)) if self.writer else None
        judge = {"conflicts": self.judge.judge}
        writers = writers_at(judge, machine.asking[self.key], base, self.judge.chat_template_kwargs)
        return Talk(work.out, self._judged(work, self.judge.spec), writers)

    def _judged(self, work: Work[Chats], spec: Spec) -> Generator[Sequence[Asked], Sequence[Any], Mapping[str, Any]]:
        facts: dict[str, str] = {}
        rows = chat_rows(work.out, self.name, self.how, self.assistant, facts)
        rows = yield from judged_against(spec, rows, self.how)
        return self._counts(write_rows(work.out, self.name, self.how, rows, facts))

    def _written(self, work: Work[Chats]) -> list[Chat]:
        assert self.writing
        own = read_written(work.folder(self.writing))
        others = read_written(work.folder(self.dosing)) if self.dosing else []
        rows = mixed(own, others, self.how.dose, min(self.how.count, len(own) if not others else self.how.count))
        part = {row["id"]: row["part"] for row in rows}
        return [Chat(row["messages"], row["topic"], part=part[row["id"]] if self.dosing else "") for row in rows]

    def _counts(self, counts: Mapping[str, Any]) -> Counts:
        return {"rows": counts["chats"], "asked": self.how.count, **counts}


def files_of(how: ChatSettings) -> dict[str, DataFile]:
    """The files that settings of a set name, looked at once. Raises SettingsError where one is not there."""
    named = how.given or {"": how}
    return {part: data_file(rows.path) for part, rows in named.items() if rows.path}
