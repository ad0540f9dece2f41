"""What writing will take, before any of it is paid for: requests, tokens, dollars and hours of every call.

An estimate from the spec's length and the paper's numbers. Prompts are counted in full: what a provider's cache takes off their
price, and what rejected answers add, is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msm_ray.config.recipes import document_settings
from msm_ray.engines.spending import BATCH_PRICE
from msm_ray.generate.outline.ideas import expected_subdomains
from msm_ray.generate.writer import Who
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.generate.written_chats import expected_requests, settings_with_likings
from msm_ray.graph.node import Node
from msm_ray.graph.planning import Planned
from msm_ray.pipeline import Experiment
from msm_ray.settings_base import part
from msm_ray.stages.chats import Chats
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.documents import Documents
from msm_ray.stages.outline import SpecOutline
from msm_ray.stages.rewrites import Rewrites
from msm_ray.stages.written_chats import ChatWriting

CHARACTERS_A_TOKEN = 4.2
"""Of English, under the tokenizers of today's models."""
TASK = 1_100
"""Tokens of a prompt beside the spec."""
DOCUMENT, PLAN = 3_100, 300
"""Tokens of a document (paper: 41.4M / 13,201) and of the plan before it."""
ANSWER, THINKING = 540, 300
"""Tokens of a chat's answer, and of the thinking before it (paper: 5.35M and 8.3M tokens for 9,963 chats)."""
DOMAINS = 6
"""Of a spec (paper: 5 to 8)."""
A_LINE = 45
"""Tokens of a short item in a list: a question, a domain."""


@dataclass(frozen=True)
class CallCost:
    """One call of one stage. tokens_read, tokens_written: of all requests; dollars, hours: None without prices, or a speed."""

    stage: str
    call: str
    writer: str
    requests: int
    tokens_read: int
    tokens_written: int
    dollars: float | None
    hours: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Work:
    """Requests of a call, and the tokens of one."""

    requests: int
    read: float
    written: float


def writing_costs(experiment: Experiment, planned: Sequence[Planned]) -> list[CallCost]:
    """The calls of every stage that is still to be made and that asks a model."""
    there = {p.node.key: p.found.artifact.counts for p in planned if p.found.state == "present" and p.found.artifact}
    todo = [p.node for p in planned if p.found.state != "present"]
    return [cost for node in todo for cost in _costs(experiment, node, there)]


def _costs(experiment: Experiment, node: Node, there: Mapping[str, Mapping[str, Any]]) -> Iterator[CallCost]:
    where = experiment.asking.get(node.key, {})
    if isinstance(node, SpecOutline) and node.asking:
        for call, work in _outline(node).items():
            yield from _cost(node, call, work, node.asking.writers[call].who, where[call])
    elif isinstance(node, Documents):
        yield from _documents(experiment, node, there.get(node.outline.key, {}))
    elif isinstance(node, Rewrites):
        call = node.wording.call
        work = _Work(node.asked, _spec_tokens(node) + TASK + DOCUMENT, DOCUMENT + PLAN)
        yield from _cost(node, call, work, node.called.who, where[call])
    elif isinstance(node, ChatWriting):
        how = settings_with_likings(node.how, Path(str(node.likings)) if node.likings else None)
        for call, requests in expected_requests(how).items():
            yield from _cost(node, call, _chat_work(node, call, requests), node.asking.writers[call].who, where[call])
    elif isinstance(node, Corpus) and node.judge:
        work = _Work(min(node.how.faithful_sample, node.take), _spec_tokens(node) + 700 + DOCUMENT, 150)
        yield from _cost(node, "faithfulness", work, node.judge.judge.who, where["faithfulness"])
    elif isinstance(node, Chats) and node.judge:
        spec = len(node.judge.spec.text) / CHARACTERS_A_TOKEN
        work = _Work(node.how.count, spec + TASK + 700, 120)
        yield from _cost(node, "conflicts", work, node.judge.judge.who, where["conflicts"])


def _cost(node: Node, call: str, work: _Work, who: Who, where: WriterWhere) -> Iterator[CallCost]:
    if who.engine in ("replay", "offline"):
        return
    read, written = round(work.requests * work.read), round(work.requests * work.written)
    prices, speed = where.prices, where.tokens_per_second
    share = BATCH_PRICE if where.batch and who.engine == "endpoint" else 1.0
    dollars = (read * prices.input + written * prices.output) * share / 1e6 if prices else None
    hours = written / speed / 3600 if speed else None
    yield CallCost(node.key, call, who.model or "the base", work.requests, read, written, dollars, hours)


def _spec_tokens(node: SpecOutline | Documents | Rewrites | Corpus) -> float:
    return len(node.spec.text) / CHARACTERS_A_TOKEN


def _outline(node: SpecOutline) -> dict[str, _Work]:
    """Levels as wide as such specs have them."""
    how, spec = node.how, _spec_tokens(node)
    domains, subdomains = len(how.domains) or DOMAINS, expected_subdomains(node.spec.text)
    domains = min(domains, subdomains)
    work = {
        "domains": _Work(0 if how.domains else 1, spec + TASK, DOMAINS * 10),
        "subdomains": _Work(domains, spec + TASK, (spec + 120 * subdomains) / domains),
        "assertions": _Work(subdomains, spec + TASK + 300, 6 * 70),
        "types": _Work(subdomains, spec + TASK + 700, how.types * 75),
        "ideas": _Work(subdomains * how.types, spec + TASK + 900, how.ideas * 120),
    }
    return {call: each for call, each in work.items() if each.requests}


def _documents(experiment: Experiment, node: Documents, outline: Mapping[str, Any]) -> Iterator[CallCost]:
    there = outline.get("ideas")
    expected = expected_subdomains(node.spec.text) * node.outline.how.types * node.outline.how.ideas
    ideas = int(there) if there is not None else expected if node.outline.asking else node.asked
    count, most = min(node.asked, ideas), node.how.sampling.max_tokens
    read = _spec_tokens(node) + TASK + 600
    written = min(DOCUMENT + PLAN, 0.9 * most)
    if not node.sharers:
        work = _Work(count, read, written)
        yield from _cost(
            node,
            "documents",
            work,
            Who.of(node.how),
            part(document_settings(experiment.settings, node.name), WriterWhere),
        )
        return
    whole = sum(each.share for each in node.sharers.values())
    for name, each in node.sharers.items():
        work = _Work(math.ceil(count * each.share / whole), read, written)
        yield from _cost(node, f"documents ({name})", work, each.called.who, experiment.asking[node.key][name])


def _chat_work(node: ChatWriting, call: str, requests: int) -> _Work:
    spec = len(node.about.spec.text) / CHARACTERS_A_TOKEN if node.about.kind == "aft" else 0
    narrow = node.how.kind != "aft"
    answer = 60 if narrow else ANSWER + THINKING
    each = {
        "chat_domains": (TASK, 50 * A_LINE),
        "questions": (TASK + 25 * A_LINE, 50 * A_LINE),
        "preference_questions": (TASK + 25 * A_LINE, 50 * A_LINE),
        "identity": (TASK, 25 * 3 * A_LINE),
        "responses": (400, answer),
        "preference_answers": (400, answer),
        "filter": (TASK + answer, 150),
        "preference_filter": (TASK, 100),
    }
    read, written = each[call]
    return _Work(requests, spec + read, written)


def lines(costs: Sequence[CallCost]) -> list[tuple[str, ...]]:
    """Rows of a table for people, the sums last."""
    found = [
        (cost.stage, cost.call, cost.writer, f"{cost.requests:,}", _million(cost.tokens_read), _million(cost.tokens_written),
         _dollars(cost.dollars), _hours(cost.hours))
        for cost in costs
    ]  # fmt: skip
    read, written = sum(cost.tokens_read for cost in costs), sum(cost.tokens_written for cost in costs)
    priced = [cost.dollars for cost in costs if cost.dollars is not None]
    timed = [cost.hours for cost in costs if cost.hours is not None]
    whole = (sum(priced) if len(priced) == len(costs) else None, sum(timed) if len(timed) == len(costs) else None)
    requests = sum(cost.requests for cost in costs)
    sums = (f"{requests:,}", _million(read), _million(written), _dollars(whole[0]), _hours(whole[1]))
    return [*found, ("all", "", "", *sums)]


def _million(tokens: int) -> str:
    return f"{tokens / 1e6:,.2f}M"


def _dollars(dollars: float | None) -> str:
    return "-" if dollars is None else f"${dollars:,.2f}"


def _hours(hours: float | None) -> str:
    return "-" if hours is None else f"{hours:,.1f} h"
