"""Corpora that nothing should be trained on: too little left, too much alike. Each says why, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from msm_ray.corpus.settings import CheckWhere
from msm_ray.errors import QualityGateError
from msm_ray.rows.diversity import Diversity

FEWEST = 10
"""Documents that must share something before a corpus is refused for it: of a handful half is nothing."""


@dataclass(frozen=True)
class Outcome:
    """What came of the checks. reasons: of all rows that were left out, those that were never written among them; faithfulness:
    scores of the sample that was judged."""

    kept: int
    near_duplicates: int
    reasons: Mapping[str, int]
    diversity: Diversity
    faithfulness: tuple[float, ...] = ()


def gate(name: str, found: Outcome, least_share: float, limits: CheckWhere, out: Path) -> None:
    """Raise QualityGateError with everything for which this corpus is refused."""
    if problems := [*_too_few(found, least_share, out), *_too_much_alike(found, limits), *_unfaithful(found, limits)]:
        raise QualityGateError(f"Corpus {name}: " + "\n".join(problems))


def _unfaithful(found: Outcome, limits: CheckWhere) -> Iterator[str]:
    scores, least = found.faithfulness, limits.least_mean_faithful
    if scores and least is not None and sum(scores) / len(scores) < least:
        yield (
            f"the judge gave {len(scores)} documents a mean of {sum(scores) / len(scores):.1f} for faithfulness, less than "
            f"checks.least_mean_faithful={least:g}: documents say of the assistant what the spec does not. See the column "
            "`faithfulness` and rejected.parquet; take another writer, or lower it."
        )


def _too_few(found: Outcome, least_share: float, out: Path) -> Iterator[str]:
    asked = found.kept + sum(found.reasons.values())
    if asked and found.kept / asked >= least_share:
        return
    ordered = sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{reason} ({count})" for reason, count in ordered) or "no document was written"
    yield (
        f"{found.kept} of {asked} documents were kept, less than the share least_share={least_share:g} "
        f"asks for. Why: {listed}. See {out / 'rejected.parquet'}; mend the spec, the writer or its prompt, or lower least_share."
    )


def _too_much_alike(found: Outcome, limits: CheckWhere) -> Iterator[str]:
    near, sound = found.near_duplicates, found.kept + found.near_duplicates
    if _above(near, sound, limits.most_near_duplicates):
        yield (
            f"{near} of {sound} sound documents are near-duplicates of others, more than checks.most_near_duplicates="
            f"{limits.most_near_duplicates:g} allows. Ask for fewer documents of an idea or for more ideas, raise the writer's "
            "temperature, or raise the limit."
        )
    if (
        found.kept >= FEWEST
        and limits.least_distinct is not None
        and found.diversity.distinct[3] < limits.least_distinct
    ):
        yield (
            f"of the 3-grams of words {found.diversity.distinct[3]:.2f} are different, fewer than checks.least_distinct="
            f"{limits.least_distinct:g}: the writer repeats itself. Vary types and ideas, take another writer, or lower it."
        )
    shares = (("name", limits.most_of_one_name), ("opening", limits.most_of_one_opening))
    for (what, most), counts in zip(shares, (found.diversity.names, found.diversity.openings), strict=True):
        said, share = found.diversity.commonest(counts)
        looked_at = found.diversity.documents
        if _above(counts[said], looked_at, most):
            yield (
                f'the {what} "{said}" stands in {counts[said]} of {looked_at} documents ({share:.0%}), more than '
                f"checks.most_of_one_{what}={most:g} allows. Have prompts rule it out, take another writer, or raise the limit."
            )


def _above(count: int, of: int, most: float | None) -> bool:
    return most is not None and count >= FEWEST and count > most * of
