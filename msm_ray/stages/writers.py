"""Who answers the calls of a stage: as a part of what the stage is, and as they are asked on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msm_ray.generate.desk import Talk
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.graph.making import Work
from msm_ray.spec import Spec
from msm_ray.stages.data_file import DataFile, data_file
from msm_ray.stages.machine import Machine


@dataclass(frozen=True)
class Called:
    """Who answers a call. recording: the file that is replayed; where it lies is no part of what it is."""

    who: Who
    recording: DataFile | None = None

    @classmethod
    def by(cls, who: Who) -> Called:
        """A writer with its recording, where it has one. Raises SettingsError where that can't be read."""
        return cls(who, data_file(who.replay) if who.engine == "replay" and who.replay else None)

    def identity(self) -> dict[str, Any]:
        """Engine, model, sampling, and the recording's digest."""
        said = {name: value for name, value in self.who.model_dump(mode="json").items() if name != "replay"}
        return said | ({"recording": self.recording.identity()} if self.recording else {})


@dataclass(frozen=True)
class Sharer:
    """One of several writers of the same rows. share: of them, beside the others'."""

    called: Called
    share: float

    def identity(self) -> dict[str, Any]:
        """Who it is, and how much it writes."""
        return {**self.called.identity(), "share": self.share}


@dataclass(frozen=True)
class Judge:
    """Who holds chats or documents against a spec, and in which words."""

    spec: Spec
    judge: Called
    prompt: str
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """The spec, the judge, the wording."""
        said = {"spec": self.spec.identity(), "judge": self.judge.identity(), "prompt": self.prompt}
        return {**said, "chat_template_kwargs": dict(self.chat_template_kwargs)}


def writers_at(
    called: Mapping[str, Called],
    where: Mapping[str, WriterWhere],
    base: Path | None,
    chat_template_kwargs: Mapping[str, Any],
) -> dict[str, Writer]:
    """The writers of a stage's calls, ready to be asked. base: folder of the base's model, where it writes itself."""
    return {
        call: Writer(
            who=each.who.model_copy(update={"replay": str(each.recording)}) if each.recording else each.who,
            where=where[call],
            model=each.who.model or (str(base) if base and each.who.engine == "vllm" else ""),
            chat_template_kwargs=each.who.rendered_with(chat_template_kwargs),
        )
        for call, each in called.items()
    }


def begun(works: Mapping[str, Work[Any]], machine: Machine) -> dict[str, Talk]:
    """The conversations of stages (`talk`); one that can't begin has failed, and the others go on."""
    talks = {}
    for key, work in works.items():
        try:
            talks[key] = work.node.talk(work, machine)
        except Exception as error:
            work.fail(error)
    return talks
