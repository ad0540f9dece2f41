"""Chats by a writer: questions, answers with thinking and a judge's word on each; sets of chats are made of them.

Writing is done once: a set with thinking and one without (`Chats`) read the same chats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from msm_ray.errors import MsmError
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.writer_settings import WrittenChatsWhere
from msm_ray.generate.written_chats import (
    ChatsFound,
    WrittenChats,
    chats_conversation,
    embedder,
    prompt_versions,
    settings_with_likings,
    write_found,
)
from msm_ray.graph.making import Work
from msm_ray.graph.node import Node
from msm_ray.spec import Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.data_file import DataFile
from msm_ray.stages.machine import Machine
from msm_ray.stages.writers import Called, begun, writers_at


@dataclass(frozen=True)
class About:
    """Who chats are about, as their writers see it: only chats of the kind `aft` are shown the spec."""

    spec: Spec
    kind: str

    def identity(self) -> dict[str, Any]:
        """What writers read of the spec; one set of preferences or identity chats is the same for all specs of an assistant."""
        said: dict[str, Any] = {"assistant": self.spec.assistant, "provider": self.spec.provider}
        if self.kind == "aft":
            return self.spec.identity()
        return said | ({"facts": list(self.spec.facts)} if self.kind == "identity" else {})


@dataclass(frozen=True)
class ChatAsking:
    """Who is asked, and in which words. writers: by call (`calls_of`); chat_template_kwargs: of writers that chat."""

    how: WrittenChats
    writers: Mapping[str, Called]
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Writers, and the versions of the prompts."""
        writers = {call: each.identity() for call, each in self.writers.items()}
        said = {"writers": writers, "prompts": prompt_versions(self.how)}
        return said | {"chat_template_kwargs": dict(self.chat_template_kwargs)}


@dataclass(frozen=True, kw_only=True)
class ChatWriting(Node):
    """how: what is written; likings: the file that `how` names, if any; writer: the base, where it writes itself."""

    kind: ClassVar[str] = "written-chats"
    direct: ClassVar[bool] = True

    how: WrittenChats
    about: About
    asking: ChatAsking
    writer: Base | None = None
    likings: DataFile | None = None

    @property
    def rows(self) -> int:
        """Chats that are asked for."""
        return self.how.count

    @classmethod
    def make_all(cls, works: Sequence[Work[ChatWriting]], machine: Machine) -> None:
        """Chats that may be trained on, those that may not and why, and a card; all sets side by side, step by step."""
        by_key = {work.node.key: work for work in works}
        talks = begun(by_key, machine)

        def finish(key: str, found: ChatsFound, answers: Answers) -> None:
            by_key[key].node.leave(by_key[key], found, answers)

        desk = Desk(machine.engines)
        for key, result in desk.hold(talks, finish).items():
            if isinstance(result, MsmError):
                by_key[key].fail(result)

    def talk(self, work: Work[ChatWriting], machine: Machine) -> Talk:
        """The conversation with its writers. Raises SettingsError for a file of likings that can't be read."""
        how = settings_with_likings(self.how, Path(str(self.likings)) if self.likings else None)
        where = machine.comparing.get(self.key, WrittenChatsWhere())
        embed = embedder(how.embedder, threads=where.embedding_threads, batch=where.embedding_batch)
        base = model_folder(work.folder(self.writer)) if self.writer else None
        writers = writers_at(self.asking.writers, machine.asking[self.key], base, self.asking.chat_template_kwargs)
        return Talk(work.out, chats_conversation(self.about.spec, how, embed), writers)

    def leave(self, work: Work[ChatWriting], found: ChatsFound, answers: Answers) -> None:
        """Write what was found, and commit it."""
        answers.flush()
        try:
            counts = write_found(work.out, self.name, found, self.about.spec, self.how, answers.by_request)
        except MsmError as error:
            work.fail(error)
            return
        work.finish({"rows": counts["chats"], "asked": self.how.count, **counts, **answers.counts()})
