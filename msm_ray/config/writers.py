"""Which writer answers which call: the experiment's, what a section says otherwise, what a call says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msm_ray.config import ExperimentSettings
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.writer import Who
from msm_ray.generate.writer_settings import CallSettings, Prices, WriterSettings, WriterWhere
from msm_ray.settings_base import part

ALL_CALLS = "all"
"""The name under `writer.calls` of what holds for every call that is not named itself."""


@dataclass(frozen=True)
class Resolved:
    """Who answers, and where and how fast."""

    who: Who
    where: WriterWhere

    @property
    def prices(self) -> Prices | None:
        """What tokens cost."""
        return self.where.prices


def shared_writer(settings: ExperimentSettings) -> WriterSettings | DocumentSettings:
    """Who writes where nothing nearer says so: `writer`, or `documents` in files that have no `writer`."""
    return settings.writer if "writer" in settings.model_fields_set else settings.documents


def call_writers(
    settings: ExperimentSettings, calls: Iterable[str], nearest: WriterSettings | DocumentSettings | None = None
) -> dict[str, Resolved]:
    """The writer of each call. nearest: the section that is nearest to the stage (a spec's documents); None: the shared one."""
    writer = nearest or shared_writer(settings)
    given = settings.writer.calls
    return {call: _resolved(writer, [given[name] for name in (ALL_CALLS, call) if name in given]) for call in calls}


def _resolved(writer: WriterSettings | DocumentSettings, owns: Sequence[CallSettings]) -> Resolved:
    who = Who(
        engine=writer.engine,
        model=writer.model,
        ask=writer.ask,
        replay=writer.replay,
        seed=writer.sampling.seed,
        chat_template_kwargs=writer.chat_template_kwargs,
    )
    where = part(writer, WriterWhere)
    found = Resolved(who, where)
    for own in owns:
        found = with_own(found, own)
    return found


def with_own(writer: Resolved, own: CallSettings) -> Resolved:
    """A writer with what is said otherwise."""
    said = {name: value for name, value in own if value is not None}
    who = {name: value for name, value in said.items() if name in Who.model_fields}
    where = {name: value for name, value in said.items() if name in WriterWhere.model_fields}
    return Resolved(writer.who.model_copy(update=who), writer.where.model_copy(update=where))


def sharers(how: DocumentSettings) -> dict[str, tuple[float, Resolved]]:
    """The writers that share documents, by their names, with their shares; none where one writes alone."""
    alone = Resolved(Who.of(how), part(how, WriterWhere))
    return {name: (own.share, with_own(alone, own)) for name, own in how.writers.items()}
