"""What is asked for against what there is: ideas, recordings, chats, text to mix in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msm_ray.engines.replay import answers_calls, recorded_documents
from msm_ray.generate.chat_draw import wanted
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.replayed import TEXTS
from msm_ray.preflight import amounts
from msm_ray.preflight.amounts import Amount
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.training import Training, trainings
from msm_ray.rows.files import checked
from msm_ray.train.settings import TrainSettings
from msm_ray.worlds import has_texts
from msm_ray.yaml_tree import At


def ideas(proposal: Proposal) -> Iterator[Finding]:
    """Documents that have no idea of their own would be missing from the corpus."""
    for spec, at, how in proposal.written():
        if how.by == "model":
            yield from _expected(proposal, spec, at, how)
            continue
        there = amounts.ideas(proposal, spec, how)
        if there is not None and there[0] < how.documents:
            number, sections, types = there
            enough = math.ceil(how.documents / (sections * types))
            yield proposal.fewer(
                (*at, "documents"),
                f"{how.documents:,} documents are asked for and there are {number:,} ideas about specs.{spec} "
                f"({sections} sections x {types} types x {how.ideas} ideas)",
                f"set documents to {number} or less, or ideas to {enough}",
            )
        if there is not None and there[2] < how.types:
            yield proposal.warning(
                (*at, "types"), f"{how.types} document types are asked for and {there[2]} are known",
                f"set {there[2]}; more ideas a type make up for it",
            )  # fmt: skip


def _expected(proposal: Proposal, spec: str, at: At, how: DocumentSettings) -> Iterator[Finding]:
    """What a writer will find isn't known before it is asked: told only where the documents are hardly possible."""
    subdomains = amounts.expected_subdomains(proposal, spec, how)
    number = (subdomains or 0) * how.types * how.ideas
    if subdomains and number < how.documents:
        enough = math.ceil(how.documents / (subdomains * how.types))
        yield proposal.warning(
            (*at, "documents"),
            f"{how.documents:,} documents are asked for and a writer finds hardly more than {number:,} ideas about specs.{spec} "
            f"({subdomains} subdomains x {how.types} types x {how.ideas} ideas)",
            f"set documents to {number} or less, or ideas to {enough}",
        )


def recordings(proposal: Proposal) -> Iterator[Finding]:
    """A recording that has fewer documents than are asked for."""
    for _, at, how in proposal.written():
        if how.engine == "replay" and how.replay and Path(how.replay).exists() and not answers_calls(Path(how.replay)):
            there = len(recorded_documents(Path(how.replay)))
            if 0 < there < how.documents:
                yield proposal.fewer(
                    (*at, "documents"), f"{how.documents:,} documents are asked for and {how.replay} holds {there:,}",
                    f"set {there}, or add to the file",
                )  # fmt: skip


def chats(proposal: Proposal) -> Iterator[Finding]:
    """Files that have fewer usable chats than are asked for: fewer would be trained on, and the arms say otherwise."""
    for name, how in proposal.settings.chats.items():
        there = Counter(
            row["part"] or "" for row in proposal.once(amounts.given_chats).get(name, ()) if not row["reason"]
        )
        asked = wanted(how.count, how.shares)
        for part, rows in how.given.items():
            if 0 < there[part] < asked[part] and not rows.misplaced:
                at, enough = ("chats", name, "count"), math.floor(there[part] / how.shares[part])
                of = f"of part {part} " if part else ""
                yield proposal.fewer(
                    at, f"{asked[part]:,} chats {of}are asked for and {rows.path} holds {there[part]:,} that can be used",
                    f"put {asked[part]:,} there, or set count: {enough}",
                )  # fmt: skip


def mixed(proposal: Proposal) -> Iterator[Finding]:
    """What is mixed in has to make up its share of the tokens; no text is used twice for that."""
    for training in proposal.once(trainings):
        how, main = training.how, training.main
        if not training.mixed or main is None:
            continue
        other = training.other if training.kind == "sft" else _replayed(proposal, how)
        if other is not None:
            yield from _short(proposal, training, main, other)


def _replayed(proposal: Proposal, how: TrainSettings) -> Amount | None:
    """The text beside the documents; the tiny world's never runs out."""
    if how.mix_source is None or has_texts(how.mix_source):
        return None
    texts = dict.fromkeys(row["text"] for row in checked(str(how.mix_source), TEXTS)[0])
    tokens = sum(amounts.tokens_of(proposal, text) for text in texts)
    return Amount(len(texts), (tokens, tokens)) if texts else None


def _short(proposal: Proposal, training: Training, main: Amount, other: Amount) -> Iterator[Finding]:
    how = training.how
    least, most = (tokens * how.mix / (1 - how.mix) for tokens in main.tokens)
    there = sum(other.tokens) / 2
    if there < 0.9 * (least if training.kind == "midtrain" else (least + most) / 2):
        share = there / (there + sum(main.tokens) / 2)
        yield proposal.error(
            (*training.at, "mix"),
            f"{how.mix:g} beside '{training.name}' needs about {(least + most) / 2:,.0f} tokens of '{how.mix_source}', and its "
            f"{other.rows:,} rows have about {there:,.0f}",
            f"add to them, or lower mix below {math.floor(share * 100) / 100:g}",
        )
