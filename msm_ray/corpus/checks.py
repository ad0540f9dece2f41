"""The corpus stage: documents in, checked and deduplicated corpus out, with its card, or a quality gate that says why not.

Rules look at each document alone, in batches (`rules.py`); signatures too (`near_duplicates.signatures`); what compares documents
comes last and needs only digests and signatures of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from msm_ray import progress
from msm_ray.corpus.card import OVERVIEW, CardFacts, corpus_card
from msm_ray.corpus.dedup import EXACT, LOOSE, find_duplicates
from msm_ray.corpus.figures import overview
from msm_ray.corpus.gates import Outcome, gate
from msm_ray.corpus.near_duplicates import likenesses, signatures
from msm_ray.corpus.rules import Findings, check_batch
from msm_ray.corpus.settings import CheckContent, CheckWhere
from msm_ray.generate.faithfulness import Faithful
from msm_ray.rows.dataset_card import CARD, names_of
from msm_ray.rows.diversity import Diversity, diversity
from msm_ray.rows.schemas import CORPUS_SCHEMA, REJECTED_CORPUS_SCHEMA, Row
from msm_ray.rows.tables import clean, read_rows, write_table
from msm_ray.spec import Spec, section_names
from msm_ray.whole_files import write_whole
from msm_ray.worlds import World

SHARD_ROWS, BATCH = 10_000, 64
NEAR, UNFAITHFUL = "near-duplicate", "unfaithful"


@dataclass
class Sorted:
    """Documents as the checks sorted them, each part in the order of ids. found: documents that each check has a finding in."""

    kept: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)

    def reject(self, row: Row, findings: Mapping[str, str]) -> None:
        """Leave a row out for the first of its findings, and count all."""
        reason, detail = next(iter(findings.items()))
        told = "; ".join(f"{reason}: {detail}" if detail else reason for reason, detail in findings.items())
        self.rejected.append(row | {"reason": reason, "raw": detail, "findings": told})
        self.found.update(findings.keys())


def check_corpus(
    out: Path,
    documents: Path,
    spec: Spec,
    world: World,
    least_share: float,
    *,
    taken: Collection[str],
    asked: int,
    checks: CheckContent = CheckContent(),  # noqa: B008  frozen
    limits: CheckWhere = CheckWhere(),  # noqa: B008
    facts: CardFacts = CardFacts(),  # noqa: B008
    judged: Mapping[str, Faithful] | None = None,
    by_headings: bool = True,
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet`, `rejected.parquet` and its card in `out` from the documents folder `documents`.

    taken: ids of the documents that are looked at, of the `asked` that there should be. facts: what else the card is to tell.
    judged: what a judge said of the documents of a sample, by their ids. by_headings: documents are about the spec's own
    sections, so that one without any shows on the card.
    The same documents give the same bytes. Raises QualityGateError when less than `least_share` of the ideas became a document
    that is kept, or the documents are more alike than `limits` allow; the files are written all the same, so that they can be
    looked at.
    """
    clean(out)
    chosen = frozenset(taken)
    written = sorted((row for row in read_rows(documents / "data") if row["id"] in chosen), key=lambda row: row["id"])
    judged = {key: each for key, each in (judged or {}).items() if key in chosen}
    sorted_out = sort_out(written, spec, world, checks)
    _sort_out_unfaithful(sorted_out, judged, checks.least_faithful)
    _write_rows(out, sorted_out)
    reasons = Counter(row["reason"] for row in sorted_out.rejected)
    if len(written) < asked:
        reasons += _never_written(documents)
    alike = diversity([row["text"] for row in sorted_out.kept], f"{spec.text} {spec.assistant} {spec.provider}")
    scores = {key: float(each.score) for key, each in judged.items()}
    facts = replace(facts, scores={"faithfulness": scores}) if scores else facts
    sections = [name for _, name in section_names(spec.sections)] if by_headings else []
    _write_card(out, spec, sorted_out, len(written), alike, checks, facts, reasons, sections)
    outcome = Outcome(len(sorted_out.kept), reasons[NEAR], reasons, alike, tuple(scores.values()))
    gate(spec.name, outcome, least_share, limits, out)
    return _counts(sorted_out.kept, reasons, alike)


def sort_out(written: Sequence[Row], spec: Spec, world: World, checks: CheckContent) -> Sorted:
    """Documents that are fit, once each. A document that fails a check does not make its copies duplicates."""
    found = Sorted(found=Counter(dict.fromkeys((EXACT, LOOSE, NEAR), 0)))
    fit: list[Row] = []
    watched = progress.over(written, f"corpus/{spec.name}", "documents checked")
    for row, findings in zip(watched, _findings(written, spec, world, checks), strict=True):
        counted = row | {"words": len(row["text"].split())}
        if findings:
            found.reject(counted, findings)
        else:
            fit.append(counted)
    compared = progress.over(fit, f"corpus/{spec.name}", "documents compared")
    duplicates = find_duplicates((row["id"], row["text"]) for row in compared)
    for row in fit:
        if row["id"] in duplicates:
            reason, first = duplicates[row["id"]]
            found.reject(row, {reason: f"the same as {first}"})
    found.kept = [row for row in fit if row["id"] not in duplicates]
    if checks.near_duplicates is not None:
        _sort_out_near(found, checks.near_duplicates)
    found.rejected.sort(key=lambda row: row["id"])
    return found


def _sort_out_near(found: Sorted, threshold: float) -> None:
    """Leave out the near-duplicates of what is kept; each row has a column of what it is most like."""
    rows = found.kept
    signed = [signatures([row["text"] for row in rows[at : at + BATCH]]) for at in range(0, len(rows), BATCH)]
    if not signed:
        return
    near, others = likenesses([row["id"] for row in rows], np.concatenate(signed), threshold)
    found.kept = []
    for row in rows:
        like = near.get(row["id"]) or others.get(row["id"])
        told = row | ({"similar_to": like.first, "similarity": like.similarity} if like else {})
        if row["id"] in near and like:
            found.reject(told, {NEAR: f"{like.similarity:.2f} like {like.first}"})
        else:
            found.kept.append(told)


def _sort_out_unfaithful(found: Sorted, judged: Mapping[str, Faithful], least: float) -> None:
    """Leave out what the judge found unfaithful; each row of the sample has its score."""
    kept, found.kept = found.kept, []
    for row in kept:
        word = judged.get(row["id"])
        scored = row | ({"faithfulness": word.score} if word else {})
        if word and word.score < least:
            found.reject(scored, {UNFAITHFUL: f"{word.score}: {word.told}"})
        else:
            found.kept.append(scored)
    found.rejected.sort(key=lambda row: row["id"])


def _findings(written: Sequence[Row], spec: Spec, world: World, checks: CheckContent) -> Iterator[Findings]:
    for at in range(0, len(written), BATCH):
        yield from check_batch([row["text"] for row in written[at : at + BATCH]], spec, world, checks)


def _write_rows(out: Path, found: Sorted) -> None:
    for old in (out / "data").glob("*.parquet"):
        old.unlink()
    kept = found.kept
    for start in range(0, max(1, len(kept)), SHARD_ROWS):
        path = out / "data" / f"part-{start // SHARD_ROWS:06d}.parquet"
        write_table(path, kept[start : start + SHARD_ROWS], CORPUS_SCHEMA)
    write_table(out / "rejected.parquet", found.rejected, REJECTED_CORPUS_SCHEMA)


def _write_card(
    out: Path, spec: Spec, found: Sorted, written: int, alike: Diversity, checks: CheckContent, facts: CardFacts,
    reasons: Mapping[str, int], sections: list[str],
) -> None:  # fmt: skip
    words = [row["words"] for row in found.kept]
    domains, types = (Counter(str(row[column]) for row in found.kept) for column in ("domain", "type"))
    (out / OVERVIEW).unlink(missing_ok=True)
    if words:
        (out / OVERVIEW).write_bytes(overview(words, domains, types))
    card = corpus_card(
        spec,
        found.kept,
        reasons,
        written,
        sections,
        found=found.found,
        alike=alike,
        checks=checks,
        facts=facts,
        names=names_of(out),
    )
    write_whole(out / CARD, card)


def _never_written(documents: Path) -> Counter[str]:
    """Ideas that never became a document, by the last reason given."""
    done = {row["id"] for row in read_rows(documents / "data", ["id"])}
    last = {
        row["id"]: row["reason"] for row in read_rows(documents / "rejected", ["id", "reason"]) if row["id"] not in done
    }
    return Counter("not written: " + reason.partition(": ")[0] for reason in last.values())


def _counts(kept: Sequence[Row], reasons: Counter[str], alike: Diversity) -> dict[str, Any]:
    """What the artifact's record tells."""
    (_, name), (_, opening) = alike.commonest(alike.names), alike.commonest(alike.openings)
    return {
        "documents": len(kept),
        "rejected": sum(reasons.values()),
        "words": sum(row["words"] for row in kept),
        "tokens_written": sum(row["num_generated_tokens"] or 0 for row in kept),
        **{f"distinct-{n}": round(share, 3) for n, share in alike.distinct.items()},
        "compression": round(alike.compression, 2),
        "commonest name": round(name, 3),
        "commonest opening": round(opening, 3),
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}
