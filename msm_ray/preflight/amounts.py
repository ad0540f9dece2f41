"""How much data there really is: rows, ideas and tokens, counted in files and estimated from samples."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from msm_ray.engines.replay import recorded_documents, recorded_text
from msm_ray.errors import MsmError
from msm_ray.generate import chats as making
from msm_ray.generate.chat_files import chats_here
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.given_documents import documents_form, read_document
from msm_ray.generate.outline import expected_subdomains as expected
from msm_ray.generate.outline import list_ideas, make_outline
from msm_ray.models import world_of
from msm_ray.preflight.proposal import Proposal
from msm_ray.rows.files import checked
from msm_ray.rows.schemas import Row
from msm_ray.spec import AssistantSettings
from msm_ray.worlds import world

SAMPLE = 200
"""Texts that an estimate looks at."""
CHARACTERS = 4.0
"""Characters a token, in English with the vocabularies of current models; the tiny world has a token a word."""
TURN = 5
"""Tokens that a template puts around a turn."""


@dataclass(frozen=True)
class Amount:
    """How much there is. rows: texts, counted. tokens: least and most that they are likely to have."""

    rows: int
    tokens: tuple[float, float]

    def of(self, rows: int) -> Amount:
        """So many of these, where there are more."""
        share = min(1, rows / self.rows) if self.rows else 0
        return Amount(min(rows, self.rows), (self.tokens[0] * share, self.tokens[1] * share))


_JUDGED: dict[tuple[str, str, str, tuple[str, ...]], list[Row]] = {}
MOST_KEPT = 8


def chats(proposal: Proposal, name: str) -> Amount | None:
    """What there is of a set of chats; None where its source can't be read."""
    how = proposal.settings.chats[name]
    if not how.given:
        return _made(proposal, how)
    if any(part.misplaced or part.hub for part in how.given.values()):
        return None
    given = proposal.once(given_chats)[name]
    drawn = making.draw(given, how.count, how.shares, how.seed).rows
    return _amount(proposal, [row["messages"] for row in drawn], len(drawn)) if drawn else None


def given_chats(proposal: Proposal) -> dict[str, list[Row]]:
    """Of each set of chats that others made: the rows of its files, with why some are left out. A hub's are not looked at."""
    settings = proposal.settings
    return {name: _judged(name, how, settings.assistant) for name, how in settings.chats.items() if how.given}


def _judged(name: str, how: ChatSettings, assistant: AssistantSettings) -> list[Row]:
    """The rows of a set's files. Those of files that have not changed are judged once a process: a large file takes seconds."""
    files = tuple(map(str, (_state(rows.path) for rows in how.given.values())))
    key = (name, how.model_dump_json(), assistant.model_dump_json(), files)
    if key not in _JUDGED:
        if len(_JUDGED) >= MOST_KEPT:
            _JUDGED.pop(next(iter(_JUDGED)))
        chats = [chat for part, rows in how.given.items() for chat in chats_here(rows, part)]
        _JUDGED[key] = making.judged(chats, name, how, assistant)
    return _JUDGED[key]


def _state(path: str | None) -> tuple[str, int, int] | None:
    """By what a file is known as the same."""
    try:
        state = Path(path or "").resolve().stat()
    except OSError:
        return None
    return str(Path(path or "").resolve()), state.st_mtime_ns, state.st_size


def documents(proposal: Proposal, how: DocumentSettings) -> Amount:
    """What a corpus will have, each document that is asked for counted as kept."""
    if how.is_given and how.path:
        given = [[{"content": text}] for text in given_texts(how)]
        if given:
            return _amount(proposal, given, len(given)).of(how.documents)
    if not how.is_given and how.engine == "replay" and how.replay and Path(how.replay).exists():
        texts = [recorded_text(row) for row in recorded_documents(Path(how.replay))]
        if texts:
            return _amount(proposal, [[{"content": text}] for text in texts], len(texts)).of(how.documents)
    least, most = world(proposal.settings.world).document_tokens(how.engine == "offline")
    if how.engine != "offline":
        most = min(most, how.sampling.max_tokens)
    return Amount(how.documents, (min(least, most) * how.documents, most * how.documents))


def given_texts(how: DocumentSettings) -> list[str]:
    """The documents in a file of somebody else, as far as it can be read."""
    rows = checked(how.path, documents_form(how.columns))[0] if how.path else []
    return [text for row in rows if (text := read_document(row, how.columns)[0])]


def tokens_of(proposal: Proposal, text: str) -> float:
    """About how many tokens a text has."""
    return len(text.split()) if _a_word_a_token(proposal) else len(text) / CHARACTERS


def _a_word_a_token(proposal: Proposal) -> bool:
    return world(world_of(proposal.settings.base.source)).word_is_token


def bounds(proposal: Proposal, text: str) -> tuple[float, float]:
    """Least and most tokens that a prompt with this text is likely to have."""
    if _a_word_a_token(proposal):
        return len(text.split()), len(text.split()) + 2 * TURN
    return len(text) / 6, len(text) / 3.5 + 8 * TURN


def _made(proposal: Proposal, how: ChatSettings) -> Amount | None:
    """Chats that are made: a sample of them is."""
    few = how.model_copy(update={"count": min(how.count, SAMPLE)})
    try:
        sample = making.source_chats(few, proposal.settings.assistant)
    except (MsmError, TypeError, KeyError, AttributeError, IndexError):
        return None  # said by the check of its file
    return _amount(proposal, [chat.messages for chat in sample], how.count)


def _amount(proposal: Proposal, rows: Sequence[Sequence[Any]], there: int) -> Amount:
    drawn = random.Random(0).sample(list(rows), min(SAMPLE, len(rows)))
    each = [sum(TURN + tokens_of(proposal, _text(turn["content"])) for turn in turns) for turns in drawn]
    mean = sum(each) / len(each)
    return Amount(there, (0.8 * mean * there, 1.25 * mean * there))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def ideas(proposal: Proposal, spec: str, how: DocumentSettings) -> tuple[int, int, int] | None:
    """(ideas that there are, sections that they are spread over, document types).

    None where the spec can't be read, or where a model is still to find them (`expected_subdomains`).
    """
    read, _ = proposal.spec(spec)
    if read is None or how.by == "model":
        return None
    try:
        outline = make_outline(read, world(proposal.settings.world), how)
    except MsmError:
        return None
    types = {kind for section in outline.subdomains for kind in section.types}
    return (
        sum(1 for _ in islice(list_ideas(outline, how.documents), how.documents)),
        len(outline.subdomains),
        len(types),
    )


def expected_subdomains(proposal: Proposal, spec: str, how: DocumentSettings) -> int | None:
    """How many subdomains a writer finds at most, about; None where the spec, or an outline that is given, says it better."""
    read, _ = proposal.spec(spec)
    if read is None or how.is_given:
        return None
    return max(expected(read.text), len(how.domains))
