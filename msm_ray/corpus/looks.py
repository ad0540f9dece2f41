"""What is found in each document alone: by the worker of a piece, or ahead, by whoever has a CPU while documents still come."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray import ahead
from msm_ray.code_digest import package_digest
from msm_ray.corpus.exchange import DIGESTS
from msm_ray.corpus.near_duplicates import SIGNATURE, signatures_of_folded
from msm_ray.corpus.rules import Findings, check_batch, count_words
from msm_ray.corpus.settings import CheckContent
from msm_ray.corpus.words import folded, loose
from msm_ray.graph.node import plainly
from msm_ray.rows.pieces import Part
from msm_ray.rows.tables import read_table, write_groups
from msm_ray.spec import Spec
from msm_ray.worlds import World

BATCH = 32
"""Documents that are checked together, so that as many texts are in Python's memory."""
PIECE = 8 * 2**20
"""Bytes of Parquet that are looked at together ahead: about 1,500 documents of 3,000 tokens."""
LOOK_SCHEMA = pa.schema(
    [
        ("words", pa.int32()),
        ("characters", pa.int32()),
        ("findings", pa.string()),
        ("digest", pa.binary(DIGESTS.itemsize)),
        ("signature", pa.binary(SIGNATURE * 4)),
    ]
)
"""A row a document. findings: as JSON, null without; signature: null where there is none."""
MANY = 1000
"""Documents from which on a share of unfit ones is a word of warning."""


@dataclass(frozen=True)
class Rules:
    """What documents are held against."""

    spec: Spec
    world: World
    checks: CheckContent


@dataclass(frozen=True)
class Look:
    """What was found. words, characters, findings: of each document; digests: theirs, without ranks; signed: signatures of those
    without a finding, where they are wanted."""

    words: NDArray[np.int32]
    characters: NDArray[np.int32]
    findings: list[Findings]
    digests: NDArray[Any]
    signed: NDArray[np.uint32]

    def take(self, places: NDArray[Any]) -> Look:
        """Some of the documents, by their places, ascending."""
        sound = np.array([not each for each in self.findings], bool)
        findings = [self.findings[place] for place in places.tolist()]
        chosen = np.zeros(len(sound), bool)
        chosen[places] = True
        signed = self.signed[chosen[sound]] if len(self.signed) else self.signed
        return Look(self.words[places], self.characters[places], findings, self.digests[places], signed)

    @classmethod
    def together(cls, looks: Sequence[Look]) -> Look:
        """Several, one after the other."""
        if len(looks) == 1:
            return looks[0]
        arrays = [
            np.concatenate([getattr(look, name) for look in looks])
            for name in ("words", "characters", "digests", "signed")
        ]
        words, characters, digests, signed = arrays
        return cls(words, characters, [each for look in looks for each in look.findings], digests, signed)

    def table(self) -> pa.Table:
        """As it is kept."""
        signed = iter(self.signed)
        wanted = len(self.signed) > 0
        signatures = [None if each or not wanted else next(signed).tobytes() for each in self.findings]
        columns = {
            "words": self.words,
            "characters": self.characters,
            "findings": [json.dumps(each) if each else None for each in self.findings],
            "digest": [each.tobytes() for each in self.digests],
            "signature": signatures,
        }
        return pa.table(columns, schema=LOOK_SCHEMA)

    @classmethod
    def of(cls, table: pa.Table) -> Look:
        """As it was before it was kept."""
        column = {name: table.column(name).to_pylist() for name in ("findings", "digest", "signature")}
        signatures = b"".join(each for each in column["signature"] if each is not None)
        return cls(
            table.column("words").to_numpy(),
            table.column("characters").to_numpy(),
            [json.loads(each) if each else {} for each in column["findings"]],
            np.frombuffer(b"".join(column["digest"]), DIGESTS).copy(),
            np.frombuffer(signatures, np.uint32).reshape(-1, SIGNATURE),
        )


def look_at(texts: Sequence[str], rules: Rules) -> Look:
    """Look at each of some documents."""
    words: list[int] = []
    findings: list[Findings] = []
    digests = np.zeros(len(texts), DIGESTS)
    signed = [np.zeros((0, SIGNATURE), np.uint32)]
    for at in range(0, len(texts), BATCH):
        batch = texts[at : at + BATCH]
        counted = count_words(batch)
        found = check_batch(batch, rules.spec, rules.world, rules.checks, counted)
        sound = [place for place, each in enumerate(found) if not each]
        said = [folded(batch[place]) for place in sound]
        for place, each in zip(sound, said, strict=True):
            digests[at + place] = (*_numbers(loose(each), 2), *_numbers(batch[place].encode(), 1), 0)
        if rules.checks.near_duplicates is not None and said:
            signed.append(signatures_of_folded(said))
        words += counted
        findings += found
    characters = np.array([len(text) for text in texts], np.int32)
    return Look(np.array(words, np.int32), characters, findings, digests, np.concatenate(signed))


@dataclass(frozen=True)
class Place:
    """Where lies what was found in a file of documents ahead. start, rows: its own of the rows that lie there."""

    path: Path
    start: int
    rows: int

    def read(self, part: Part) -> Look | None:
        """What was found in a part of the file; None where it can't be read any more."""
        try:
            return Look.of(read_table(self.path).slice(self.start + part.start, len(part)))
        except (OSError, pa.ArrowException):
            return None


NONE_AHEAD: Mapping[str, Place] = {}


@dataclass(frozen=True)
class LooksAhead:
    """The work of looking at files of documents while more come (`ahead.FileWork`). least_share: of the documents, that has to be
    fit in the end."""

    rules: Rules
    least_share: float
    piece: int = PIECE

    @property
    def key(self) -> str:
        """All that the rules are, and the code."""
        decisive = {one.name: getattr(self.rules, one.name) for one in fields(self.rules)}
        told = plainly(decisive | {"world": self.rules.world.name})
        said = json.dumps([told, package_digest()], sort_keys=True)
        return f"looks-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    def do(self, files: Sequence[Path], stem: Path) -> dict[str, Any]:
        """A table of looks. Returns rows of each file, and how many documents are unfit for what."""
        looks = []
        for file in files:
            texts = read_table(file, ["text"]).column("text").to_pylist()
            looks.append(look_at([text or "" for text in texts], self.rules))
        look = Look.together(looks)
        write_groups(_table(stem), [look.table()], LOOK_SCHEMA)
        reasons = Counter(next(iter(each)) for each in look.findings if each)
        return {"rows": [len(each.words) for each in looks], "unfit": dict(reasons)}

    def told(self, notes: Sequence[ahead.Note]) -> str:
        """Documents that were looked at, and the share of those that are unfit."""
        rows, reasons = _sums(notes)
        return f"{rows:,} checked, {sum(reasons.values()) / rows:.1%} unfit" if rows else ""

    def alarm(self, notes: Sequence[ahead.Note]) -> str:
        """A word of warning, where what is there so far would not be let through."""
        rows, reasons = _sums(notes)
        unfit = sum(reasons.values())
        if rows < MANY or rows - unfit >= self.least_share * rows:
            return ""
        most = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(3))
        return (
            f"{self.rules.spec.name}: {unfit:,} of the first {rows:,} documents are unfit ({most}), and a corpus that keeps less "
            f"than {self.least_share:.0%} ends the run. Ctrl-C keeps what is written"
        )


def places(folder: Path, documents: Path) -> dict[str, Place]:
    """Of each file of documents that was looked at ahead, by its name, where what was found lies."""
    found = {}
    for piece in ahead.made_ahead(folder, documents):
        start = 0
        for name, rows in zip(piece.files, piece.note["rows"], strict=True):
            found[name] = Place(_table(piece.stem), start, rows)
            start += rows
    return found


def _table(stem: Path) -> Path:
    return stem.with_suffix(".parquet")


def _sums(notes: Sequence[ahead.Note]) -> tuple[int, Counter[str]]:
    reasons = Counter[str]()
    for note in notes:
        reasons.update(note["unfit"])
    return sum(sum(note["rows"]) for note in notes), reasons


def _numbers(raw: bytes, count: int) -> tuple[int, ...]:
    """So many numbers of 64 bits from the digest of some bytes."""
    digest = hashlib.sha256(raw).digest()
    return tuple(int.from_bytes(digest[8 * n : 8 * n + 8], "little") for n in range(count))
