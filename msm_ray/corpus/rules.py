"""What makes a document unfit for training: checks are functions of a batch, and every finding is counted.

Plain rules on the text and the spec. A word, brace or name that the spec itself uses is never held against a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msm_ray.corpus.identities import ASSISTANT, VENDOR, other_identities
from msm_ray.corpus.leftovers import gaps, leaks, links
from msm_ray.corpus.settings import CheckContent
from msm_ray.spec import Spec
from msm_ray.worlds import World

Findings = dict[str, str]
"""What each check found in one document, by the reason that it gives; only those that found something, in their order."""

REASONS = ("too short", "too long", "leaked scratchpad", "placeholder", "link", ASSISTANT, VENDOR)
"""Of the checks that hold in every world; a world has its own."""


def check_batch(texts: Sequence[str], spec: Spec, world: World, how: CheckContent) -> list[Findings]:
    """The findings in each of some documents; each is looked at alone, so batches can be cut anywhere."""
    return [_findings(text, spec, world, how) for text in texts]


def check_document(text: str, spec: Spec, world: World, how: CheckContent = CheckContent()) -> tuple[str, str]:  # noqa: B008
    """(reason, detail) of the first check that a document fails; ("", "") when it is fit."""
    return next(iter(check_batch([text], spec, world, how)[0].items()), ("", ""))


def _findings(text: str, spec: Spec, world: World, how: CheckContent) -> Findings:
    found = _length(text, how)
    for reason, signs in _SIGNS.items():
        if own := next((sign for sign in signs(text) if sign not in spec.text), None):
            found[reason] = own
    for reason, name in other_identities(text, spec):
        found.setdefault(reason, name)
    reason, detail = world.check_document(text, spec)
    return found | ({reason: detail} if reason else {})


_SIGNS: dict[str, Callable[[str], Iterable[str]]] = {"leaked scratchpad": leaks, "placeholder": gaps, "link": links}


def _length(text: str, how: CheckContent) -> Findings:
    words = len(text.split())
    if words < how.least_words:
        return {"too short": f"{words} words"}
    return {"too long": f"{words} words"} if words > how.most_words else {}
