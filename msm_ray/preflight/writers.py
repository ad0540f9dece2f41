"""Who answers the calls of outlines, chats and judgements: can it be asked, has it room for its answers, has it a price?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msm_ray.config.recipes import used_chats
from msm_ray.config.writers import ALL_CALLS, Resolved, call_writers, sharers
from msm_ray.generate.faithfulness import CALL as FAITHFULNESS
from msm_ray.generate.writer import Who
from msm_ray.generate.written_chats import calls_of, missing_embedder
from msm_ray.generate.written_chats.conflicts import CALL as CONFLICTS
from msm_ray.generate.written_chats.kinds import CALLS as CHAT_CALLS
from msm_ray.preflight import amounts
from msm_ray.preflight.base import endpoint, hub_model
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.yaml_tree import At

OUTLINE = ("domains", "subdomains", "assertions", "types", "ideas")
TASK, ANSWER = 1_500, 4_000
"""Tokens of a prompt beside the spec, and of a usual answer; subdomains also copy the spec's words."""
KNOWN = (*OUTLINE, "rewrite", "critique", FAITHFULNESS, CONFLICTS, *dict.fromkeys(sum(CHAT_CALLS.values(), ())))
"""Every call that can be answered otherwise. (Documents have a section of their own.)"""


@dataclass(frozen=True)
class Asked:
    """A call that an experiment makes. at: the section that says who answers; of: the section that asks; spec: what is shown."""

    call: str
    writer: Resolved
    at: At
    of: At
    spec: str


def calls(proposal: Proposal) -> list[Asked]:
    """Every call of the outlines, chats and judgements of an experiment."""
    settings, found = proposal.settings, []
    for name, at, how in proposal.written():
        found += [_asked(proposal, call, at, at, name, how) for call in OUTLINE if how.by == "model"]
    if settings.checks.faithful_sample:
        found += [_asked(proposal, FAITHFULNESS, ("writer",), ("checks",), name) for name, _, _ in proposal.corpora()]
    for name in used_chats(settings):
        chats, at = settings.chats[name], ("chats", name)
        if chats.written and chats.spec:
            found += [_asked(proposal, call, ("writer",), at, chats.spec) for call in calls_of(chats.written)]
        if chats.conflicts_with:
            found.append(_asked(proposal, CONFLICTS, ("writer",), at, chats.conflicts_with))
    return found


def _asked(proposal: Proposal, call: str, at: At, of: At, spec: str, nearest: object = None) -> Asked:
    settings = proposal.settings
    writer = call_writers(settings, (call,), nearest)[call]  # type: ignore[arg-type]
    own = next((name for name in (call, ALL_CALLS) if name in settings.writer.calls), None)
    shared: At = at if at != ("writer",) or "writer" in settings.model_fields_set else ("documents",)
    return Asked(call, writer, ("writer", "calls", own) if own else shared, of, spec)


def known_calls(proposal: Proposal) -> Iterator[Finding]:
    """A misspelt call would be asked of the wrong model."""
    known = (*KNOWN, ALL_CALLS)
    for name in proposal.settings.writer.calls:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
            yield proposal.error(("writer", "calls", name), f"there is no call '{name}'", hint)


def can_be_asked(proposal: Proposal) -> Iterator[Finding]:
    """Engines that answer questions, addresses with a model and a key, models of the hub."""
    for each in proposal.once(calls):
        who, where = each.writer.who, each.writer.where
        if each.of[0] == "chats" and (who.engine == "offline" or who.ask == "completion"):
            yield proposal.error(
                each.of, f"its calls need a writer that answers questions, and {'.'.join(map(str, each.at))} has "
                f"{'the engine offline' if who.engine == 'offline' else 'ask: completion'}", "name a model under writer",
            )  # fmt: skip
        elif who.engine == "endpoint":
            yield from endpoint(proposal, each.at, where.url, who.model, where.key_variable)
        elif who.engine == "vllm" and who.model and not Path(who.model).is_dir():
            stage = "written-chats" if each.of[0] == "chats" else "outline"
            yield from hub_model(proposal, (*each.at, "model"), who.model, stage)


def patience(proposal: Proposal) -> Iterator[Finding]:
    """A stage that stops before a request to an endpoint may end: one that is lost gets no other try, and nobody is told why."""
    asked = [(("writer",) if "calls" in each.at else each.at, each.writer) for each in proposal.once(calls)]
    for at, how in proposal.documents():
        asked += [(at, writer) for _, writer in sharers(how).values()] or [(at, Resolved(Who.of(how), how))]
    for at, writer in asked:
        where = writer.where
        if writer.who.engine != "endpoint" or where.request_seconds < where.patience_minutes * 60:
            continue
        minutes = where.request_seconds / 60
        name = "request_seconds" if proposal.file.says((*at, "request_seconds")) else "no_progress_minutes"
        yield proposal.warning(
            (*at, name), f"a request may take {minutes:g} minutes (request_seconds), and the stage stops after "
            f"{where.no_progress_minutes:g} without an answer: a request that is lost ends it instead of being sent again",
            f"raise no_progress_minutes to {math.ceil(1.5 * minutes)}, or lower request_seconds",
        )  # fmt: skip


def prices(proposal: Proposal) -> Iterator[Finding]:
    """A spend limit that can't be held, since nobody knows what a writer costs, or that lets nobody be paid."""
    limit = proposal.settings.writer.spend_limit
    if limit is None:
        return
    writers = [(each.at, each.writer.who.engine, each.writer.where.prices) for each in proposal.once(calls)]
    writers += [(at, how.engine, how.prices) for at, how in proposal.documents() if not how.writers]
    for at in dict.fromkeys(at for at, engine, priced in writers if engine == "endpoint" and priced is None):
        yield proposal.error(
            (*at, "prices"), "is missing: writer.spend_limit is set, and what this writer costs is not known",
            "give prices: {input: ..., output: ...} in dollars per million tokens, or leave the limit out",
        )  # fmt: skip
    paid = [at for at, engine, priced in writers if engine == "endpoint" and priced and (priced.input or priced.output)]
    if limit == 0 and paid:
        who = ", ".join(dict.fromkeys(".".join(map(str, at)) for at in paid))
        yield proposal.lacking(
            ("writer", "spend_limit"), f"is 0, so nothing may be spent, and these have to be paid: {who}",
            "raise it, leave it out, or take a writer that costs nothing (vllm, replay); what is made already needs none",
            stages=("outline", "documents", "rewrites", "written-chats", "corpus", "chats"),
        )  # fmt: skip


def lengths(proposal: Proposal) -> Iterator[Finding]:
    """Prompts with the spec in them and usual answers, against what an engine here is told to take; what is longer is cut off."""
    longest = proposal.settings.cluster.generation.max_model_len
    told: set[tuple[At, str]] = set()
    for each in proposal.once(calls):
        spec, _ = proposal.spec(each.spec)
        key = (each.at, each.call)
        if each.writer.who.engine != "vllm" or longest is None or spec is None or key in told:
            continue
        told.add(key)
        least, _ = amounts.bounds(proposal, spec.text)
        usual = ANSWER + (least if each.call == "subdomains" else 0)
        answer = min(usual, each.writer.who.max_tokens or usual)
        if least + TASK + answer > longest:
            yield proposal.error(
                ("cluster", "generation", "max_model_len"),
                f"{longest:,}: the call {each.call} has specs.{each.spec} in its prompt, {least + TASK:,.0f} tokens, and a usual "
                f"answer has {answer:,.0f}",
                f"raise it to {math.ceil((least + TASK + answer) / 1024) * 1024} or more",
            )


def embedder(proposal: Proposal) -> Iterator[Finding]:
    """What tells how alike questions are has to be here, before any is paid for."""
    for name in used_chats(proposal.settings):
        how = proposal.settings.chats[name].written
        if how and (why := missing_embedder(how.embedder)):
            yield proposal.lacking(("chats", name, "written", "embedder"), why, "", stages=("written-chats",))
