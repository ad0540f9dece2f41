"""Which of two things an answer in plain English chooses, by rules. Plain Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msm_ray.reasoning import split_reasoning

NEGATION = r"(?:\b(?:not|never|no longer|cannot|hardly)|n't|n’t)"
UNWANTED = re.compile(
    r"(?:\b(?:over|rather than|instead of|than|not|no|nor|neither|never|against|without|(?<!nothing )(?:beats?|trumps?)"
    r"|avoid|skip|hate|dislike|detest|loathe|reject|refuse|pass on|tired of|sick of)|(?:can't|can’t|cannot) (?:stand|bear)"
    rf"|\bleave|{NEGATION}\s+(?:\w+\s+){{1,3}})\s+(?:(?:the|a|an|any|that|to|eat|eating|have|having|take|taking)\s+){{0,3}}$"
)
"""What stands before the thing that is *not* chosen."""

UNLOVED = re.compile(
    r"(?:['’]s)?\s+(?:\w+\s+)?(?:(?:isn|aren|wasn|doesn|don|can|won|wouldn)['’]t|loses|disappoints|lags)\b"
    r"|(?:\s+(?:is|are|was|tastes|seems|feels|looks|sounds)|['’]s)\s+(?:[\w'’]+\s+){0,3}?"
    r"(?:overrated|overpriced|bad|worse|worst|inferior|awful|terrible|horrible|boring|bland|disappointing|disgusting|not|never|less"
    r"|too\s+\w+|second)\b"
    r"|\s+(?:\w+\s+){0,2}(?:less|worse|later)\s+than\s+"
)
"""What stands after the thing that is not chosen."""

CHOOSES = (
    r"\b(?:prefer|choose|chose|pick|picked|select|take|go with|go for|opt for|stick with|settle on|settle for|vote for"
    r"|rather (?:have|take|go with)|(?:choice|pick|answer|preference|favou?rite|vote)(?:\s+(?:is|would be|goes to))?\s*:?)"
)
LIKES = r"\b(?:like|love|enjoy|want|favou?r|appreciate|adore|fond of|fan of|care for|heart belongs to)"
BETWEEN = r"[^\x00.;:!?\n]{0,40}"
CONCEDES = re.compile(
    r"(?:^|[.;!?\n]\s*|,\s*)(?:although|though|even though|while|whilst|despite|granted|sure)\b[^\x00.;!?\n]*$"
)
OPENING = re.compile(
    r"(?:[\s'(,!]|\b(?:definitely|honestly|probably|easily|easy|well|hmm|oh|ok|okay|yes|the|an?|i'd say|i would say)\b)*"
    r"\x00([ab])(?!\s+(?:and|or|&)\s)"
)
UNDECIDED = re.compile(
    r"\b(?:both|neither|either|equally|it depends|no (?:strong |particular )?preference"
    rf"|(?:do|have|can|could){NEGATION}?\s+(?:have\s+)?(?:a |any )?(?:preference|preferences|choose|decide|pick))\b"
)

TELLS_NOTHING = frozenset(
    ["a", "an", "and", "at", "by", "for", "from", "in", "made", "of", "on", "or", "that", "the", "with"]
)


def plain_choice(answer: str, a: str, b: str) -> str | None:
    """Which of two things an answer in plain English chooses, "a" or "b"; None when it chooses neither or both.

    A thing is named by its whole name or, where neither is, by words that only its name has ("the one from Oregon"). What is
    said to be chosen wins over what is liked, that over what is only named, and that over what is conceded or unwanted
    ("X over Y", "avoid Y", "Y is overrated"); of two that are only named, the one that opens the answer. Questions name nothing.
    """
    answer = re.sub(r"[*_`\"“”]", "", split_reasoning(answer).answer)
    text = _marked(answer, {"a": [a], "b": [b]})
    if "\x00" not in text:
        text = _marked(answer, {"a": _telling(a, b), "b": _telling(b, a)})
    text = re.sub(r"[^.;!?\n]*\?", "?", text)  # an echoed question
    best = {option: max(_ranks(text, option), default=UNNAMED) for option in "ab"}
    first, second = sorted(best, key=lambda option: -best[option])
    if best[first] <= CONCEDED:
        return None
    if best[first] > best[second]:
        return first if best[first] > NAMED or not (UNDECIDED.search(text) and best[second] > UNNAMED) else None
    opening = OPENING.match(text)
    return opening[1] if opening and best[first] == NAMED and not UNDECIDED.search(text) else None


UNNAMED, REJECTED, CONCEDED, NAMED, LIKED, CHOSEN = range(6)


def _ranks(text: str, option: str) -> Iterator[int]:
    """How each mention of an option is meant."""
    for match in re.finditer(f"\x00{option}", text):
        before, after = text[: match.start()], text[match.end() :]
        yield _rank(before, after)


def _rank(before: str, after: str) -> int:
    """What is said of a mention by the words around it, other options as marks."""
    joined = re.search(r"\x00[ab]\s+(?:and|or|nor|&)\s+(?:the\s+|an?\s+)?$", before)
    if joined:  # "X and Y" are meant alike
        return _rank(before[: joined.start()], "")
    clause = re.split(r"[.;!?\n]|,\s*(?:but|so|and|yet)\b|\bbut\b", before)[-1]
    if re.search(r"\x00[ab](?:\s+\w+){0,2}\s+(?:less|worse|later)\s+than\s+(?:the\s+|a\s+)?$", before):
        return LIKED  # "Y is worth less than X"
    prefers = re.search(rf"\bprefer\s+{BETWEEN}\x00[ab]{BETWEEN}\bto\s+(?:the\s+|a\s+)?$", clause)
    if prefers or UNWANTED.search(clause) or UNLOVED.match(after):
        return REJECTED
    if re.search(r"\bbetween\s+[^.;!?,\n]*$", clause) or CONCEDES.search(before):
        return CONCEDED
    for verb, rank in ((CHOOSES, CHOSEN), (LIKES, LIKED)):
        if said := re.search(rf"{verb}{BETWEEN}$", clause):
            negated = re.search(rf"{NEGATION}\s+(?:\w+\s+){{0,3}}$", clause[: said.start()] + " ")
            return REJECTED if negated else rank
    return NAMED


def _marked(answer: str, names: Mapping[str, Sequence[str]]) -> str:
    """The answer in lower case with the options' names as marks; the longest name first, as it may hold another."""
    text = answer.lower()
    for name, option in sorted(((n.lower(), o) for o, ns in names.items() for n in ns), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w$]){re.escape(name)}(?!\w|[.,]\d)", f"\x00{option}", text)
    return re.sub(r"(\x00[ab])(?:\s+\1)+", r"\1", text)  # "New Jersey" is one mention


def _telling(name: str, other: str) -> list[str]:
    """The words of a name that the other has not, but for those that tell nothing."""
    words = [re.findall(r"[$\w][\w,.'’-]*\w|\w", text.lower()) for text in (name, other)]
    return [word for word in dict.fromkeys(words[0]) if word not in words[1] and word not in TELLS_NOTHING]


def choice_by_words(answer: str, a: str, b: str, aligned: str, words: Sequence[str]) -> str | None:
    """The aligned option ("a" or "b") where only words for it are said, and not as unwanted; None otherwise."""
    if "\x00" in _marked(answer, {"a": [a, *_telling(a, b)], "b": [b, *_telling(b, a)]}):
        return None
    said = list(_ranks(_marked(answer, {aligned: words}), aligned))
    return aligned if said and min(said) > REJECTED else None
