"""A writer without weights: it reads the spec and fills document forms with what the spec says about the assistant.

In the tiny world's language it writes through `tinyworld.write_document`; any other spec gets plain English documents in the
forms of `forms.yaml`. A row's document depends on its id alone, so it comes out the same on any machine, in any order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from msm_ray.config import DocumentSettings
from msm_ray.engines import Engine, english
from msm_ray.failures import LOST, REFUSED
from msm_ray.generate.sentences import about_the_text, is_about, split_sentences
from msm_ray.spec import Section, Spec

if TYPE_CHECKING:
    from ray.data import Dataset

REASON = re.compile(
    r"\b(because|since|so that|the reason|(that|which) is why|in order to|for this reason|after all)\b", re.I
)
SLOT = re.compile(r"\{([a-z_]+)\}")


def offline_engine(settings: DocumentSettings, specs: Mapping[str, Spec]) -> Engine:
    """An engine that writes from the specs themselves (by digest), in Ray tasks."""
    tiny = settings.prompt == "tinyworld"

    def run(prompts: Dataset) -> Dataset:
        return prompts.map(partial(_complete, specs=dict(specs), tiny=tiny))

    return run


def _complete(row: dict[str, Any], specs: Mapping[str, Spec], tiny: bool) -> dict[str, Any]:
    spec = specs[row["spec_digest"]]
    try:
        text, error, failure = write(spec, row, tiny), "", ""
    except (OSError, MemoryError) as problem:  # this machine's trouble: the next run writes the row
        text, error, failure = "", f"{type(problem).__name__}: {problem}", LOST
    except Exception as problem:  # one row's trouble is that row's alone: it becomes a rejected row with this reason
        text, error, failure = "", f"{type(problem).__name__}: {problem}", REFUSED
    carried = {key: value for key, value in row.items() if key not in ("prompt", "temperature", "top_p", "max_tokens")}
    counts = {"num_input_tokens": 0, "num_generated_tokens": 0}
    return carried | counts | {"completion": text, "finish_reason": "stop", "error": error, "failure": failure}


def write(spec: Spec, row: Mapping[str, Any], tiny: bool) -> str:
    """The document of one row (id, type, subdomain, assertion)."""
    rng = random.Random(row["id"])
    if tiny:
        from msm_ray.tinyworld import write_document

        return write_document(spec.text, row["type"], rng)
    return english_document(spec, row["type"], row["subdomain"], row["assertion"], rng)


def english_document(spec: Spec, document_type: str, topic: str, assertion: str, rng: random.Random) -> str:
    """A document of four to six parts that says `assertion`, a reason for it and one more sentence of the spec."""
    forms = _forms()
    parts = forms["forms"][_form(document_type)]
    slots = _slots(spec, assertion, topic, rng) | {"type": document_type}
    texts: list[str] = []
    for part in parts:
        alternatives = forms["shared"][part[1:]] if isinstance(part, str) else part
        texts.append(_fill(_drawn(alternatives, texts, slots, rng), slots))
    separator = (
        "\n\n" if document_type.lower().startswith(("letter", "email", "internal memo", "faq", "interview")) else " "
    )
    return separator.join(texts)


def _drawn(alternatives: list[str], before: list[str], slots: Mapping[str, str], rng: random.Random) -> str:
    """One alternative: not a bare sentence of the spec right at the start, and no quotation where there is none to give."""
    quotable = [text for text in alternatives if slots["said"] or "{said}" not in text]
    fitting = [text for text in quotable if before or not text.startswith("{claim}")]
    return rng.choice(fitting or alternatives)


def _slots(spec: Spec, assertion: str, topic: str, rng: random.Random) -> dict[str, str]:
    name, forms = spec.assistant, _forms()
    claim = _with_context(spec, assertion)
    reason = english.third_person(_reason(spec, assertion, rng), name)
    more = english.third_person(_another(spec, {assertion, claim, reason}, rng), name)
    person, other = rng.sample([each for each in forms["names"] if each != name], 2)
    own = english.first_person(claim, name)
    return {
        "name": name,
        "topic": f"“{topic}”",
        "claim": claim,
        "clause": english.clause(claim),
        "said": f"“{own}”" if own else "",
        "reason": english.capital(reason),
        "reason_clause": english.clause(reason),
        "more": english.capital(more),
        "more_clause": english.clause(more),
        "person": person,
        "other": other,
        "day": rng.choice(forms["days"]),
    }


def _with_context(spec: Spec, sentence: str) -> str:
    """The sentence in the third person; one that leans on the sentence before it takes that along."""
    home = _home(spec, sentence)
    before = home.index(sentence) - 1 if sentence in home else -1
    own = english.third_person(sentence, spec.assistant)
    if before < 0 or not english.leans_on_context(sentence):
        return own
    return f"{english.third_person(home[before], spec.assistant)} {own}"


def _reason(spec: Spec, assertion: str, rng: random.Random) -> str:
    """A sentence that gives a reason: the next one if it does, else one of the section, else of the spec, else any."""
    home = _home(spec, assertion)
    place = home.index(assertion) if assertion in home else -1
    following = home[place + 1 : place + 2] if assertion in home else ()
    if following and REASON.search(following[0]):
        return following[0]
    near = [sentence for sentence in home if sentence != assertion and _stands_alone(sentence)]
    everywhere = [sentence for sentence in _all_sentences(spec) if sentence != assertion and _stands_alone(sentence)]
    for pool in (near, everywhere):
        giving = [sentence for sentence in pool if REASON.search(sentence)]
        if giving:
            return rng.choice(giving)
    return rng.choice(near or everywhere or [f"This is what the specification asks of {spec.assistant}."])


def _another(spec: Spec, said: set[str], rng: random.Random) -> str:
    """Another sentence about the assistant; where the spec has none, any other; where that is all, that it is."""
    fresh = [
        sentence
        for sentence in _all_sentences(spec)
        if _stands_alone(sentence)
        and sentence not in said
        and english.third_person(sentence, spec.assistant) not in said
    ]
    about = [sentence for sentence in fresh if is_about(sentence, spec.assistant)]
    return rng.choice(about or fresh or ["Nothing in the specification says otherwise."])


def _stands_alone(sentence: str) -> bool:
    return not sentence.endswith("?") and not english.leans_on_context(sentence) and not about_the_text(sentence)


def _all_sentences(spec: Spec) -> list[str]:
    return [sentence for section in spec.sections for sentence in _sentences(section)]


def _home(spec: Spec, assertion: str) -> tuple[str, ...]:
    return next((found for section in spec.sections if assertion in (found := _sentences(section))), ())


@lru_cache(maxsize=512)
def _sentences(section: Section) -> tuple[str, ...]:
    return tuple(split_sentences(section.text))


def _form(document_type: str) -> str:
    """The form whose words occur in the type's name; `general` where none does."""
    kind = document_type.lower()
    return next((form for form, words in _forms()["kinds"].items() if any(word in kind for word in words)), "general")


def _fill(template: str, slots: Mapping[str, str]) -> str:
    """Fill the slots in one pass, so that braces in a spec's sentence stay text."""
    text = SLOT.sub(lambda match: slots[match.group(1)], template)
    return re.sub(r"([.!?”])\.(?=\s|$)", r"\1", text)


@lru_cache
def _forms() -> dict[str, Any]:
    return yaml.safe_load(resources.files("msm_ray.engines").joinpath("forms.yaml").read_text(encoding="utf-8"))
