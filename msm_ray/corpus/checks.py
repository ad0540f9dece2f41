"""The corpus stage: documents in, checked and deduplicated corpus out, with its card, or a quality gate that says why not.

Workers read the documents (`examining.py`): rules look at each alone, by batches (`rules.py`), and so do digests and signatures.
What compares documents is an exchange of hashes between workers (`exchange.py`). The driver has ids and ranks, decides
(`deciding.py`), and workers write what is kept (`sorting_out.py`). They are Ray's or this process (`workers.py`), with the same
bytes in the end, however documents are cut into pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from msm_ray import progress
from msm_ray.corpus.card import OVERVIEW, SAMPLES, CardFacts, corpus_card
from msm_ray.corpus.deciding import Decisions, places_of, starts
from msm_ray.corpus.examining import examine, signatures_at
from msm_ray.corpus.exchange import duplicates, groups, joined, links, parts_for
from msm_ray.corpus.figures import overview
from msm_ray.corpus.gates import Outcome, gate
from msm_ray.corpus.gathering import Gathered, files_in, gather, never_written
from msm_ray.corpus.looks import NONE_AHEAD, LooksAhead, Place, Rules, places
from msm_ray.corpus.near_duplicates import compare
from msm_ray.corpus.settings import CheckContent, CheckWhere
from msm_ray.corpus.sorting_out import NEAR, SHARD_ROWS, Cut, Drawn, cut, write_kept, write_rejected
from msm_ray.corpus.summary import Summary
from msm_ray.generate.faithfulness import Faithful
from msm_ray.rows.dataset_card import CARD, names_of
from msm_ray.rows.diversity import NAMES_SAMPLE, SAMPLE, Diversity, Said, repetition, step, together
from msm_ray.rows.tables import clean
from msm_ray.spec import Spec, section_names
from msm_ray.whole_files import write_whole
from msm_ray.workers import HERE, Workers
from msm_ray.worlds import World

COMPARED = 50_000
"""Documents that one worker compares, but for groups that are larger."""
MOST_WRITERS, LEAST_SENT, MOST_HELD = 256, 2**18, 2**30
"""Workers that write kept rows at most; characters that each piece sends to each of them at least, as Ray keeps results of less
than 100 kB in the driver's memory; characters that one of them holds at most, one file's aside."""


def check_corpus(
    out: Path,
    documents: Path,
    spec: Spec,
    world: World,
    least_share: float,
    *,
    taken: Iterable[str],
    asked: int,
    checks: CheckContent = CheckContent(),  # noqa: B008  frozen
    limits: CheckWhere = CheckWhere(),  # noqa: B008
    facts: CardFacts = CardFacts(),  # noqa: B008
    judged: Mapping[str, Faithful] | None = None,
    by_headings: bool = True,
    looked: Path | None = None,
    workers: Workers = HERE,
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet`, `rejected.parquet` and its card in `out` from the documents folder `documents`.

    taken: ids of the documents that are looked at, of the `asked` that there should be. facts: what else the card is to tell.
    judged: what a judge said of the documents of a sample, by their ids. by_headings: documents are about the spec's own
    sections, so that one without any shows on the card. looked: where lies what was found while documents still came
    (`looks.LooksAhead`). workers: who does the work.
    The same documents give the same bytes. Raises QualityGateError when less than `least_share` of the ideas became a document
    that is kept, or the documents are more alike than `limits` allow; the files are written all the same, so that they can be
    looked at. Raises StageError where a file of the documents is damaged.
    """
    clean(out)
    documents, there = documents.absolute(), out.absolute()  # workers have working directories of their own
    gathered = gather(files_in(documents), taken, workers)
    rules = Rules(spec, world, checks)
    ahead = places(looked / LooksAhead(rules, least_share).key, documents / "data") if looked else {}
    decided, examined = sort_out(gathered, rules, workers, ahead)
    decided.judged(judged or {}, checks.least_faithful)
    summary, alike = _write_rows(there, gathered, decided, examined, spec, workers)
    reasons, found = decided.counts()
    if len(gathered.ids) < asked:
        (unwritten,) = workers.get([workers.call(never_written, documents)])
        reasons += unwritten
    scores = decided.all_scores
    facts = replace(facts, scores={"faithfulness": scores}) if scores else facts
    sections = [name for _, name in section_names(spec.sections)] if by_headings else []
    _write_card(out, spec, summary, len(gathered.ids), alike, checks, facts, reasons, found, sections)
    outcome = Outcome(summary.kept, reasons[NEAR], reasons, alike, tuple(scores.values()))
    gate(spec.name, outcome, least_share, limits, out)
    return _counts(summary, reasons, alike)


def sort_out(
    gathered: Gathered, rules: Rules, workers: Workers, ahead: Mapping[str, Place] = NONE_AHEAD
) -> tuple[Decisions, list[Any]]:
    """What is decided of the documents, but for a judge's word, and what each piece's worker found (`Examined`).

    ahead: of files that were looked at while they came, where what was found lies.
    """
    decided = Decisions(gathered.ids)
    parts, shared, looked = parts_for(len(gathered.ids)), workers.share(rules), workers.share(ahead)
    jobs = [(workers.share(taken), shared, parts, looked) for taken in gathered.taken]
    examined, shares = _examine(jobs, gathered, decided, rules.spec.name, workers)
    for _, [found] in workers.each(duplicates, shares):
        decided.duplicates(*found)
    if rules.checks.near_duplicates is not None:
        _find_near(decided, examined, shares, rules.checks.near_duplicates, workers)
    return decided, examined


def _examine(
    jobs: list[tuple[Any, ...]], gathered: Gathered, decided: Decisions, name: str, workers: Workers
) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """What each piece's worker keeps, and the shares of each part of the exchange."""
    held: dict[int, list[Any]] = {}
    parts = parts_for(len(decided.ids))
    with progress.task(f"corpus/{name}", len(decided.ids), "documents checked") as work:
        for number, [told, *more] in workers.each(examine, jobs, 2 + parts):
            decided.examined(gathered.taken[number], told)
            held[number] = more
            work.advance(len(told.words))
    examined, *shares = zip(*(held[number] for number in range(len(jobs))), strict=True) if jobs else ((),)
    return list(examined), shares


def _find_near(
    decided: Decisions, examined: list[Any], shares: list[tuple[Any, ...]], threshold: float, workers: Workers
) -> None:
    """Only documents that share a band with another are compared, each group of them by one worker."""
    copies = workers.share(np.flatnonzero(decided.state))
    found = [pairs for _, [pairs] in workers.each(links, [(copies, *share) for share in shares])]
    compared = groups(joined(found, np.zeros((0, 2), np.int64)), COMPARED)
    if not compared:
        return
    wanted = workers.share(np.sort(np.concatenate(compared)))
    signed = [workers.call(signatures_at, each, wanted) for each in examined]
    for _, [like] in workers.each(compare, [(ranks, threshold, *signed) for ranks in compared]):
        decided.alike(like)


def _write_rows(
    out: Path, gathered: Gathered, decided: Decisions, examined: list[Any], spec: Spec, workers: Workers
) -> tuple[Summary, Diversity]:
    """Write what is kept and what is not, and tell of the kept. Files of a run that was killed go first."""
    for old in (out / "data").glob("*.parquet"):
        old.unlink()
    kept = decided.ranks(True)
    characters = int(decided.characters[kept].sum(dtype=np.int64))
    files = _files(len(kept), characters, len(examined))
    where = Cut(starts(kept, files * SHARD_ROWS), starts(decided.ranks(False), files * SHARD_ROWS))
    samples = frozenset(places_of(len(kept), SAMPLES))
    drawn = workers.share(Drawn(step(characters, NAMES_SAMPLE), step(characters, SAMPLE), samples))
    writers, parts = len(where.kept), len(where.kept) + len(where.left_out)
    sent = [
        workers.call(cut, each, workers.share(decided.verdicts(taken)), where, results=parts)
        for taken, each in zip(gathered.taken, examined, strict=True)
    ]
    rejected = [[each[part] for each in sent] for part in range(writers, parts)]
    left_out = workers.call(write_rejected, out, SHARD_ROWS, workers.fetch, rejected)
    jobs = [(out, number * files, SHARD_ROWS, drawn, *(each[number] for each in sent)) for number in range(writers)]
    told: dict[int, list[Any]] = {}
    with progress.task(f"corpus/{spec.name}", len(kept), "documents written") as work:
        for number, done in workers.each(write_kept, jobs, 3):
            told[number] = done
            work.advance(done[0].kept)
    summaries, said, texts = zip(*(told[number] for number in range(writers)), strict=True)
    repeated = workers.call(_repetition, *texts)
    own = f"{spec.text} {spec.assistant} {spec.provider}"
    alike, _ = workers.get([workers.call(_together, own, repeated, *said), left_out])
    return Summary.together(summaries), alike


def _files(kept: int, characters: int, pieces: int) -> int:
    """How many files of the corpus one worker writes."""
    writers = min(MOST_WRITERS, max(1, characters // (LEAST_SENT * max(1, pieces))))
    most = MOST_HELD * kept // (SHARD_ROWS * characters) if characters else 1
    return max(1, min(most, -(-kept // (SHARD_ROWS * writers))))


def _repetition(*texts: list[str]) -> tuple[dict[int, float], float]:
    return repetition([text for each in texts for text in each])


def _together(own: str, repeated: tuple[dict[int, float], float], *said: Said) -> Diversity:
    return together(repeated, said, own)


def _write_card(
    out: Path, spec: Spec, kept: Summary, written: int, alike: Diversity, checks: CheckContent, facts: CardFacts,
    reasons: Mapping[str, int], found: Mapping[str, int], sections: list[str],
) -> None:  # fmt: skip
    domains, types = (
        Counter({str(name): n for name, n in kept.by[column].documents.items()}) for column in ("domain", "type")
    )
    (out / OVERVIEW).unlink(missing_ok=True)
    if kept.kept:
        (out / OVERVIEW).write_bytes(overview(kept.words, domains, types))
    card = corpus_card(
        spec,
        kept,
        reasons,
        written,
        sections,
        found=found,
        alike=alike,
        checks=checks,
        facts=facts,
        names=names_of(out),
    )
    write_whole(out / CARD, card)


def _counts(kept: Summary, reasons: Counter[str], alike: Diversity) -> dict[str, Any]:
    """What the artifact's record tells."""
    (_, name), (_, opening) = alike.commonest(alike.names), alike.commonest(alike.openings)
    return {
        "documents": kept.kept,
        "rejected": sum(reasons.values()),
        "words": int(kept.words.sum(dtype=np.int64)),
        "tokens_written": kept.tokens,
        **{f"distinct-{n}": round(share, 3) for n, share in alike.distinct.items()},
        "compression": round(alike.compression, 2),
        "commonest name": round(name, 3),
        "commonest opening": round(opening, 3),
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}
