"""Enough English grammar to say a spec's sentences in another person: third ("Ada prefers …") and first ("I prefer …").

Rules, not a parser: where a sentence is too tangled for the first person, `first_person` says so with None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources

import yaml

TO_THIRD = {
    "are": "is", "am": "is", "have": "has", "do": "does", "don't": "doesn't", "aren't": "isn't", "haven't": "hasn't",
    "were": "was", "weren't": "wasn't", "go": "goes",
}  # fmt: skip
TO_FIRST = {
    "is": "am", "has": "have", "does": "do", "doesn't": "don't", "isn't": "am not", "hasn't": "haven't", "goes": "go",
    "dies": "die", "lies": "lie", "ties": "tie",
}  # fmt: skip
PRONOUNS = {
    "your": "its", "yours": "its own", "yourself": "itself", "my": "its", "mine": "its own", "myself": "itself", "me": "it",
}  # fmt: skip
_WORDS = yaml.safe_load(resources.files("msm_ray.engines").joinpath("words.yaml").read_text(encoding="utf-8"))
MODALS, ADVERBS, VERBS, LOWERED = (frozenset(_WORDS[key]) for key in ("modals", "adverbs", "verbs", "lowered"))


def imperative(sentence: str) -> str:
    """What follows "Ada is" when the sentence is an order ("not to lie." for "Never lie."); "" when it is none."""
    found = re.match(r"(Do not|Don['’]t|Never|Always)?\s*([A-Za-z]+)\b(.*)", sentence, re.DOTALL)
    if not found or not (found.group(1) or found.group(2)[0].isupper()):
        return ""
    forbids = (found.group(1) or "").startswith("Do")  # any word after "Don't" is a verb
    if found.group(2).lower() not in VERBS and not forbids:
        return ""
    if found.group(1) == "Always":
        return f"always to {found.group(2)}{found.group(3)}"
    return f"{'not ' if found.group(1) else ''}to {found.group(2).lower()}{found.group(3)}"


def third_person(sentence: str, name: str) -> str:
    """The sentence about the assistant, with its name as the subject where the spec says you, I, it or the assistant."""
    if order := imperative(sentence):
        return third_person(f"{name} is {order}", name)
    text = re.sub(r"^(The (?:assistant|model|system|AI|bot)|It)\b", name, sentence)
    text = re.sub(r"^Its\b", f"{name}'s", text)
    text = re.sub(r"\bthe (assistant|model)\b(?! spec)", name, text, flags=re.IGNORECASE)
    words = re.split(r"(\s+)", text)
    if not any(_bare(word) in ("you", "i", "your", "my", "me", "yourself", "myself") for word in words[::2]):
        return text
    return _replace_pronouns(words, name, named=name.lower() in text.lower())


def _replace_pronouns(words: list[str], name: str, named: bool) -> str:
    """Put `name`, then "it", for you and I. `words`: words at even places, the white space between them at odd ones."""
    spoken = "you" if any(_bare(word) in ("you", "your") for word in words[::2]) else "i"
    for place in range(0, len(words), 2):
        bare = _bare(words[place])
        if bare == spoken or (bare == "you" and spoken == "you"):
            words[place] = _like(words[place], "it" if named else name)
            named = True
            _conjugate_after(words, place, to_third)
        elif bare in PRONOUNS:
            own = "itself" if PRONOUNS[bare] == "itself" else PRONOUNS[bare]
            words[place] = _like(words[place], own if named else f"{name}'s")
            named = True
    text = "".join(words)
    return text[0].upper() + text[1:] if not text.startswith(name) else text


def first_person(sentence: str, name: str) -> str | None:
    """ "Ada prefers tea because it is plain." as Ada would say it; None where that can't be done safely."""
    start = re.match(rf"{re.escape(name)}\s+(?=[a-z])", sentence)
    rest = sentence[start.end() :] if start else ""
    # An inner "it" may mean something else, and a second mention of the name needs a parser.
    if not rest or re.search(rf"\b(it|itself|I|my|me|you|we)\b|{re.escape(name)}|[\"“”]", rest):
        return None
    words = re.split(r"(\s+)", "I " + rest)
    if not _conjugate_after(words, 0, to_first):
        return None
    return re.sub(r"\bits\b", "my", "".join(words))


def _conjugate_after(words: list[str], subject: int, form: Callable[[str], str]) -> bool:
    """Put the verb after the subject, and verbs coordinated with it, into a form. False where no verb follows."""
    place = _verb_place(words, subject + 2)
    if place is None:
        return False
    bare = _bare(words[place])
    if bare in MODALS:
        return True
    changed = form(bare)
    if changed == bare and bare not in VERBS and not bare.endswith("ed") and bare not in ("was", "had", "did"):
        return False
    words[place] = _like(words[place], changed)
    for later in range(place + 2, len(words) - 2, 2):
        if _bare(words[later]) in ("and", "but", "or") and (verb := _verb_place(words, later + 2)) is not None:
            candidate = _bare(words[verb])
            if candidate in VERBS and form is to_third or base_form(candidate) in VERBS and form is to_first:
                words[verb] = _like(words[verb], form(candidate))
    return True


def _verb_place(words: list[str], start: int) -> int | None:
    """Where the verb stands at or after `start`, past adverbs."""
    for place in range(start, len(words), 2):
        bare = _bare(words[place])
        if bare not in ADVERBS and not bare.endswith("ly"):
            return place if bare else None
    return None


def to_third(verb: str) -> str:
    """prefer -> prefers, try -> tries, are -> is; modals, past forms and words that are no known verb stay."""
    if verb in TO_THIRD:
        return TO_THIRD[verb]
    if verb in MODALS or verb not in VERBS:
        return verb
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + ("es" if re.search(r"(s|sh|ch|x|z|o)$", verb) else "s")


def to_first(verb: str) -> str:
    """prefers -> prefer, is -> am; modals and past forms stay."""
    return TO_FIRST.get(verb) or base_form(verb)


def base_form(verb: str) -> str:
    """The bare form of a verb in the third person: tries -> try, watches -> watch, holds -> hold."""
    if verb in MODALS or not verb.endswith("s") or verb.endswith(("ss", "us", "was", "is")):
        return verb
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb[:-2] if re.search(r"(ss|sh|ch|x|zz|o)es$", verb) else verb[:-1]


def clause(sentence: str) -> str:
    """The sentence as it stands after "that": no full stop, and a small letter where the first word is no name."""
    text = sentence.strip().rstrip(".!:;")
    first = re.match(r"[A-Za-z']+", text)
    word = first.group().lower() if first else ""
    return (
        text[0].lower() + text[1:]
        if word in LOWERED or (len(word) > 4 and word.endswith(("ed", "ing", "ly")))
        else text
    )


def leans_on_context(sentence: str) -> bool:
    """Whether a word of it (them, these, this …) means something said before, so that it can't stand alone."""
    leaning = r"\b(them|these|those|this|such|former|latter|the same reason)\b|^(They|That|Because|So)\b"
    return re.search(leaning, sentence) is not None


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'“”‘’()[]—").replace("’", "'").lower()


def _like(word: str, bare: str) -> str:
    """`bare` with the punctuation that `word` had around it."""
    lead = re.match(r"[\"'“‘(\[—]*", word)
    tail = re.search(r"[.,;:!?\"'”’)\]—]*$", word)
    return (lead.group() if lead else "") + bare + (tail.group() if tail else "")
