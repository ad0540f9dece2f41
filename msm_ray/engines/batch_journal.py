"""Which batches were sent, on disk before anything else happens: whoever is killed goes on by their ids and pays once.

Three lines a batch in `batches.jsonl` below the root: what is about to be sent, under a token that the batch carries too (so
that one is found whose id was never heard); its id; its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msm_ray.rows.journal import read_journal, reopened
from msm_ray.whole_files import add_line, settle

JOURNAL = "batches.jsonl"


@dataclass(frozen=True)
class Sent:
    """A batch. most: dollars that each request may cost, by its key; prices: dollars per million tokens of prompts and answers,
    None where nobody counts; batch: the id, "" while unknown; ended: how, "" before."""

    token: str
    url: str
    variable: str
    model: str
    most: Mapping[str, float] = field(repr=False)
    prices: Sequence[float] | None = None
    batch: str = ""
    ended: str = ""


class BatchJournal:
    """The batches of a root, in the order in which they were sent."""

    def __init__(self, path: Path):
        self.path = path
        self.sent = _sent(reopened(path))

    def intend(self, sent: Sent) -> None:
        """A batch is about to be sent."""
        self.sent[sent.token] = sent
        said = {
            "url": sent.url,
            "variable": sent.variable,
            "model": sent.model,
            "most": dict(sent.most),
            "prices": sent.prices,
        }
        self._write({"token": sent.token, **said})

    def created(self, token: str, batch: str) -> None:
        """The address took it, under this id."""
        self.sent[token] = replace(self.sent[token], batch=batch)
        self._write({"token": token, "batch": batch})

    def ended(self, token: str, how: str) -> None:
        """Nothing more comes of it, and what it cost is noted."""
        self.sent[token] = replace(self.sent[token], ended=how)
        self._write({"token": token, "ended": how})

    def _write(self, line: Mapping[str, Any]) -> None:
        add_line(self.path, json.dumps(line))
        settle(self.path)


def outstanding_dollars(path: Path, paid: frozenset[str]) -> float:
    """The most that batches may still cost that were sent and have not ended. paid: ids of those whose cost is noted."""
    sent = _sent(read_journal(path)).values()
    return sum(sum(each.most.values()) for each in sent if not each.ended and each.batch not in paid)


def _sent(lines: list[Any]) -> dict[str, Sent]:
    found: dict[str, Sent] = {}
    for line in lines:
        token = line["token"]
        if "most" in line:
            found[token] = Sent(**line)
        elif token in found:
            found[token] = replace(found[token], **{name: line[name] for name in ("batch", "ended") if name in line})
    return found
