"""The stages that make data: outlines, documents and corpora of specs, sets of chats, base text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msm_ray import models
from msm_ray.config import ExperimentSettings
from msm_ray.config.names import source_of
from msm_ray.config.recipes import (
    check_settings,
    document_settings,
)
from msm_ray.config.writers import Resolved, call_writers, sharers
from msm_ray.corpus.settings import CheckContent
from msm_ray.errors import SettingsError
from msm_ray.generate.chat_settings import WRITTEN
from msm_ray.generate.document_settings import DocumentContent, DocumentSettings
from msm_ray.generate.faithfulness import CALL as FAITHFULNESS
from msm_ray.generate.outline import OutlineContent
from msm_ray.generate.rewrites.kinds import rewrite_content, spec_as_told
from msm_ray.generate.writer import Who
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.generate.written_chats import calls_of
from msm_ray.generate.written_chats.conflicts import CALL as CONFLICTS
from msm_ray.prompt_file import read_prompt
from msm_ray.settings_base import part
from msm_ray.spec import Spec
from msm_ray.stages.base import Base
from msm_ray.stages.chats import Chats, files_of
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.data_file import data_file
from msm_ray.stages.documents import Documents, Wording
from msm_ray.stages.given import GivenDocuments, given_documents
from msm_ray.stages.outline import CALLS as OUTLINE_CALLS
from msm_ray.stages.outline import Asking, SpecOutline
from msm_ray.stages.replay import Replay
from msm_ray.stages.rewrites import Rewrites, RewriteWording
from msm_ray.stages.writers import Called, Judge, Sharer
from msm_ray.stages.written_chats import About, ChatAsking, ChatWriting
from msm_ray.worlds import has_texts


class DataStages:
    """Makes the data stages of one experiment, each from the sections of the file that decide it, and each once.

    asking: where and how fast writers answer, by stage and call.
    """

    def __init__(self, settings: ExperimentSettings, specs: Mapping[str, Spec]):
        self.settings, self.specs = settings, specs
        self.base = Base(name=models.base_name(settings.base.source), how=models.source_of(settings.base))
        self.asking: dict[str, Mapping[str, WriterWhere]] = {}
        self._sources: dict[str, Documents | GivenDocuments] = {}
        self._corpora: dict[str, Corpus] = {}
        self._chats: dict[str, Chats] = {}
        self._writings: dict[str, ChatWriting] = {}

    def corpus(self, name: str) -> Corpus:
        """outline -> documents -> corpus of one spec, or documents -> rewrites -> corpus."""
        if name not in self._corpora:
            how, source = document_settings(self.settings, name), source_of(self.settings, name)
            documents = self._source(source)
            texts = self._rewrites(name, documents) if how.rewrite else documents
            told = spec_as_told(documents.spec if source == name else self.specs[name], how)
            take = min(how.documents, texts.asked) if isinstance(texts, Rewrites) else how.documents
            checks = part(check_settings(self.settings), CheckContent)
            judge, writer = (
                self._judge(f"corpus/{name}", FAITHFULNESS, told) if checks.faithful_sample else (None, None)
            )
            self._corpora[name] = Corpus(
                name=name,
                how=checks,
                judge=judge,
                writer=writer,
                documents=texts,
                spec=told,
                world=self.settings.world,
                take=take,
            )
        return self._corpora[name]

    def _source(self, name: str) -> Documents | GivenDocuments:
        """The documents of a spec as they were first written, by a writer or by somebody else."""
        if name not in self._sources:
            how = document_settings(self.settings, name)
            given = how.is_given
            self._sources[name] = given_documents(name, how, self.specs[name]) if given else self._documents(name)
        return self._sources[name]

    def _rewrites(self, name: str, documents: Documents | GivenDocuments) -> Rewrites:
        """A spec's own documents or another's, told as its corpus is to tell them; no more than there are."""
        settings, how = self.settings, document_settings(self.settings, name)
        content = rewrite_content(how)
        wording = RewriteWording(content)
        called, writer = self._asking(f"{Rewrites.kind}/{name}", (wording.call,), how)
        source = document_settings(settings, documents.name)
        return Rewrites(
            name=name,
            how=content,
            spec=self.specs[name],
            wording=wording,
            documents=documents,
            called=called[wording.call],
            asked=min(how.documents, source.documents),
            writer=writer,
            chat_template_kwargs=dict(called[wording.call].who.rendered_with(settings.chat_template_kwargs)),
        )

    def _documents(self, name: str) -> Documents:
        settings, how, spec = self.settings, document_settings(self.settings, name), self.specs[name]
        outline = self._outline(name)
        return Documents(
            name=name,
            how=part(how, DocumentContent).model_copy(update={"replay": None}),
            spec=spec,
            wording=Wording(settings.world),
            outline=outline,
            asked=how.documents,
            target_tokens=how.target_tokens,
            writer=self.base if _writes_itself(how) else None,
            recording=data_file(how.replay) if how.replay and how.engine == "replay" else None,
            sharers=self._sharers(f"documents/{name}", how),
            rendered_with=dict(Who.of(how).rendered_with(settings.chat_template_kwargs)),
        )

    def _outline(self, name: str) -> SpecOutline:
        settings, how = self.settings, document_settings(self.settings, name)
        content = part(how, OutlineContent)
        asking, writer = self._asking(f"outline/{name}", OUTLINE_CALLS, how) if how.by == "model" else ({}, None)
        return SpecOutline(
            name=name,
            how=content.model_copy(update={"given": None}),
            spec=self.specs[name],
            world=settings.world,
            asking=Asking(asking, how.family, self._options(asking)) if asking else None,
            writer=writer,
            given_file=data_file(how.given) if how.given else None,
        )

    def chats(self, name: str) -> Chats:
        """A set of chats."""
        if name not in self._chats:
            self._chats[name] = self._set(name)
        return self._chats[name]

    def _set(self, name: str) -> Chats:
        settings, how = self.settings, self.settings.chats[name]
        source = how.of or name if how.source == WRITTEN else None
        if how.of and "count" not in how.model_fields_set:
            how = how.model_copy(update={"count": settings.chats[how.of].count})
        judge, writer = None, None
        if how.conflicts_with:
            judge, writer = self._judge(f"chats/{name}", CONFLICTS, self.specs[how.conflicts_with])
        return Chats(
            name=name,
            how=how,
            assistant=settings.assistant,
            own_files=files_of(how),
            writing=self.writing(source) if source else None,
            dosing=self.writing(how.dose_of) if how.dose_of else None,
            judge=judge,
            writer=writer,
        )

    def _judge(self, key: str, call: str, spec: Spec) -> tuple[Judge, Base | None]:
        """Who holds the rows of a stage against a spec."""
        called, writer = self._asking(key, (call,))
        return Judge(spec, called[call], read_prompt(call).version, self._options(called)), writer

    def writing(self, name: str) -> ChatWriting:
        """The writing of a set of chats; sets that take another's share it."""
        if name not in self._writings:
            how = self.settings.chats[name]
            assert how.written and how.spec
            content = how.written.model_copy(update={"count": how.count})
            called, writer = self._asking(f"written-chats/{name}", calls_of(content))
            self._writings[name] = ChatWriting(
                name=name,
                how=content,
                about=About(self.specs[how.spec], content.kind),
                asking=ChatAsking(content, called, self._options(called)),
                writer=writer,
                likings=data_file(content.path) if content.path else None,
            )
        return self._writings[name]

    def _asking(
        self, key: str, calls: tuple[str, ...], nearest: DocumentSettings | None = None
    ) -> tuple[dict[str, Called], Base | None]:
        """Who answers the calls of a stage, and the base where that writes itself. Where and how fast is noted in `asking`."""
        writers = call_writers(self.settings, calls, nearest)
        self.asking[key] = {call: each.where for call, each in writers.items()}
        called = {call: _called(each) for call, each in writers.items()}
        itself = any(each.who.engine == "vllm" and each.who.model is None for each in writers.values())
        return called, self.base if itself else None

    def _options(self, called: Mapping[str, Called]) -> dict[str, Any]:
        """The experiment's template options, where any of the writers is rendered with them."""
        options = self.settings.chat_template_kwargs
        return dict(options) if any(each.who.rendered_with(options) == options for each in called.values()) else {}

    def _sharers(self, key: str, how: DocumentSettings) -> dict[str, Sharer]:
        """The writers that share a spec's documents. Where and how fast is noted in `asking`."""
        found = sharers(how)
        self.asking[key] = {name: each.where for name, (_, each) in found.items()}
        return {name: Sharer(_called(each), share) for name, (share, each) in found.items()}

    def replay(self) -> Replay:
        """Base text beside documents. Raises SettingsError where nothing is named."""
        settings, how = self.settings, self.settings.midtraining
        if not how.mix_source:
            raise SettingsError(
                "midtraining.mix is set and midtraining.mix_source is not; name what is mixed in, e.g. tinyworld"
            )
        largest = max([settings.documents.documents, *(c.documents for c in settings.corpora.values())])
        source = how.mix_source if has_texts(how.mix_source) else data_file(how.mix_source)
        return Replay(name="ordinary", source=source, count=round(1.5 * largest * how.mix / (1 - how.mix)))


def _called(writer: Resolved) -> Called:
    """A writer as a part of what a stage is."""
    replay = writer.who.replay if writer.who.engine == "replay" else None
    return Called(writer.who.model_copy(update={"replay": None}), data_file(replay) if replay else None)


def _writes_itself(how: DocumentSettings) -> bool:
    """Whether the base is the writer of documents, or one of them."""
    each = [one.who for _, one in sharers(how).values()] or [Who.of(how)]
    return any(who.engine == "vllm" and who.model is None for who in each)
