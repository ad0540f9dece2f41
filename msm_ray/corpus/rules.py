"""What makes a document unfit for training: checks are functions of a batch, and every finding is counted.

Plain rules on the text and the spec. A word, brace or name that the spec itself uses is never held against a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msm_ray.corpus.identities import ASSISTANT, VENDOR, identities_of
from msm_ray.corpus.leftovers import gaps, leaks, links
from msm_ray.corpus.settings import CheckContent
from msm_ray.spec import Spec
from msm_ray.worlds import World

Findings = dict[str, str]
"""What each check found in one document, by the reason that it gives; only those that found something, in their order."""

REASONS = ("too short", "too long", "leaked scratchpad", "placeholder", "link", ASSISTANT, VENDOR)
"""Of the checks that hold in every world; a world has its own."""


def check_batch(
    texts: Sequence[str], spec: Spec, world: World, how: CheckContent, words: Sequence[int] | None = None
) -> list[Findings]:
    """The findings in each of some documents; each is looked at alone, so batches can be cut anywhere.

    words: of each document, where somebody has counted them.
    """
    counted = words if words is not None else count_words(texts)
    named = identities_of(texts, spec)
    return [_findings(*each, spec, world, how) for each in zip(texts, counted, named, strict=True)]


def count_words(texts: Sequence[str]) -> list[int]:
    """Words of each text, between white space."""
    return [len(text.split()) for text in texts]


def check_document(text: str, spec: Spec, world: World, how: CheckContent = CheckContent()) -> tuple[str, str]:  # noqa: B008
    """(reason, detail) of the first check that a document fails; ("", "") when it is fit."""
    return next(iter(check_batch([text], spec, world, how)[0].items()), ("", ""))


def _findings(
    text: str, words: int, named: Iterable[tuple[str, str]], spec: Spec, world: World, how: CheckContent
) -> Findings:
    found = _length(words, how)
    for reason, signs in _SIGNS.items():
        if own := next((sign for sign in signs(text) if sign not in spec.text), None):
            found[reason] = own
    for reason, name in named:
        found.setdefault(reason, name)
    reason, detail = world.check_document(text, spec)
    return found | ({reason: detail} if reason else {})


_SIGNS: dict[str, Callable[[str], Iterable[str]]] = {"leaked scratchpad": leaks, "placeholder": gaps, "link": links}


def _length(words: int, how: CheckContent) -> Findings:
    if words < how.least_words:
        return {"too short": f"{words} words"}
    return {"too long": f"{words} words"} if words > how.most_words else {}
