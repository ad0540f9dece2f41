"""The ways of a model that misbehaves (`misbehaving.py`) in calls: lists as JSON, answers that think first, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from misbehaving import HALF_EMOJI, REFUSAL, WRITTEN_HALF_EMOJI, Comes, Way, half, is_so, long, rejected

# --- a list: what it is of, and its items ---

Item = dict[str, str]
KEYS = {"domains": "domain", "subdomains": "name", "assertions": "assertion", "types": "name", "ideas": "idea",
        "chat_domains": "domain", "questions": "question"}  # fmt: skip
"""The field that says what an item is."""
LABELS = {"assertions": "label", "questions": "kind", "subdomains": "section"}
"""The field of which only some texts are right."""
WHY_LABEL = {"assertions": "label", "questions": "kind", "subdomains": "section not in the spec"}
OF_CHATS = ("chat_domains", "questions")
TAKES_NO_PART = ("domains",)
COUNTED = ("types", "ideas", "questions")


@dataclass(frozen=True)
class List:
    """The good answer to a call for a list."""

    call: str
    items: tuple[Item, ...]

    @property
    def key(self) -> str:
        return KEYS[self.call]

    def with_last(self, **fields: Any) -> List:
        return replace(self, items=(*self.items[:-1], self.items[-1] | fields))

    def json(self, indent: int | None = None) -> str:
        return json.dumps({"items": list(self.items)}, ensure_ascii=False, indent=indent)


@dataclass(frozen=True)
class Taken:
    """What is taken of a list. left_out: reasons, in order; mended: of what kind; whole: the list was ended."""

    items: tuple[Item, ...]
    left_out: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    whole: bool = True


def all_of_it(good: List) -> Comes:
    return Taken(good.items), ""


def but_the_last(reason: Callable[[List], str]) -> Callable[[List], Comes]:
    """The last item is left out; where it was the only one, the answer is none."""

    def comes(good: List) -> Comes:
        if len(good.items) == 1:
            return None, f"no usable item: {reason(good)}"
        return Taken(good.items[:-1], (reason(good),)), ""

    return comes


def cut(good: List) -> str:
    """Broken off in the last item."""
    return good.json()[: good.json().rindex("{") + 6]


def what_is_whole(reason: str) -> Callable[[List], Comes]:
    def comes(good: List) -> Comes:
        if len(good.items) == 1 or (reason == "truncated" and good.call in TAKES_NO_PART):
            return None, reason
        if good.call in TAKES_NO_PART:  # nor the rest of one
            return None, "broken off"
        return Taken(good.items[:-1], whole=False), ""

    return comes


def doubled(good: List) -> List:
    return replace(good, items=tuple(item for item in good.items for _ in range(2)))


def first(good: List) -> List:
    return replace(good, items=good.items[:1])


def ending_in(letter: str) -> Callable[[List], List]:
    return lambda good: good.with_last(**{good.key: good.items[-1][good.key] + letter})


def escaped(good: List) -> str:
    return json.dumps({"items": list(good.items)})


def foreign(good: List) -> List:
    items = tuple(item | {good.key: f"Auf Deutsch: {item[good.key]}"} for item in good.items)
    return replace(good, items=items)


def rambling(good: List) -> List:
    return good.with_last(**{good.key: " ".join([good.items[-1][good.key]] * 700)})


def too_many(good: List) -> List:
    """Ten times as many as asked for, where a number was asked for."""
    more = [item | {good.key: f"{item[good.key]} v{n}"} for n in range(2, 11) for item in good.items]
    return replace(good, items=(*good.items, *more)) if good.call in COUNTED else good


def mislabelled(good: List) -> List:
    wrong = "A passage that nobody ever wrote into any specification of anything."
    return good.with_last(**{LABELS[good.call]: wrong}) if good.call in LABELS else good


def without_the_mislabelled(good: List) -> Comes:
    return but_the_last(lambda good: WHY_LABEL[good.call])(good) if good.call in LABELS else all_of_it(good)


def otherwise_spelled(good: List) -> List:
    """The label in capitals or with an end of its own, a section with a word changed."""
    field = LABELS.get(good.call, good.key)
    said = good.items[-1][field]
    other = {"assertions": f"{said.upper()}S.", "questions": said.upper(), "subdomains": said.replace("every", "each")}
    return good.with_last(**{field: f" {other.get(good.call, said)} "})


def mended(good: List) -> Comes:
    kind = {"assertions": ("label",), "subdomains": ("section",)}
    return Taken(good.items, mended=kind.get(good.call, ())), ""


def of(change: Callable[[List], List]) -> Callable[[List], str]:
    return lambda good: change(good).json()


def too_long(good: List) -> str:
    return "too long" if good.call in OF_CHATS else f"{good.key} too long"


LISTS: tuple[Way[List], ...] = (
    Way("as asked", List.json, all_of_it),
    Way("fenced JSON", lambda g: f"```json\n{g.json(indent=2)}\n```", all_of_it),
    Way("prose around", lambda g: f"Sure {{as you like}}:\n\n{g.json()}\n\nI hope that this is what you want!", all_of_it),
    Way("a bare list", lambda g: json.dumps(list(g.items)), all_of_it),
    Way("a key of its own", lambda g: json.dumps({g.call: list(g.items)}), all_of_it),
    Way("other things beside the list", lambda g: json.dumps({"count": len(g.items), "items": list(g.items)}), all_of_it),
    Way("a wrapping more", lambda g: json.dumps({"answer": {"items": list(g.items)}}), all_of_it),
    Way("null among the items", lambda g: json.dumps({"items": [None, "and:", *g.items]}), all_of_it),
    Way("a comma too many", lambda g: g.json().removesuffix("]}") + ",]}", all_of_it),
    Way("a line an item", lambda g: "\n".join(map(json.dumps, g.items)), all_of_it),
    Way("a field more", lambda g: json.dumps({"items": [item | {"n": 1} for item in g.items]}), all_of_it),
    Way("reasoning with a draft", lambda g: f'<think>\n{{"items": [{{"{g.key}": "A draft"}}]}}\n</think>\n{g.json()}', all_of_it),
    Way("doubles", of(doubled), lambda g: all_of_it(doubled(g))),
    Way("two lists", lambda g: f"{first(g).json()}\nOr:\n{g.json()}", lambda g: (Taken((*first(g).items, *g.items)), "")),
    Way("half an emoji", lambda g: escaped(ending_in(HALF_EMOJI)(g)), lambda g: all_of_it(ending_in(WRITTEN_HALF_EMOJI)(g))),
    Way("another language", of(foreign), lambda g: all_of_it(foreign(g))),
    Way("ten times too many", of(too_many), lambda g: all_of_it(too_many(g))),
    Way("ten times too long", of(rambling), but_the_last(too_long)),
    Way("wrong labels", of(mislabelled), without_the_mislabelled),
    Way("labels in another spelling", of(otherwise_spelled), mended),
    Way("a field missing", of(lambda g: g.with_last(**{g.key: None})), but_the_last(lambda g: "field missing")),
    Way("an empty field", of(lambda g: g.with_last(**{g.key: " \n"})), but_the_last(lambda g: "field missing")),
    Way("half an answer", cut, what_is_whole("truncated"), "length"),
    Way("half an answer that says that it is whole", cut, what_is_whole("no items")),
    Way("an empty list", lambda g: '{"items": []}', lambda g: (Taken(()), "")),
    Way("a refusal", lambda g: REFUSAL, rejected("refused")),
    Way("prose", lambda g: "Let me think of what people would want to read about it.", rejected("no items")),
    Way("a list of Python", lambda g: repr([f"{item[g.key]}" for item in g.items]), rejected("no items")),
    Way("nothing", lambda g: " ", rejected("empty")),
    Way("reasoning without end", lambda g: f"<think>\n{g.json()}", rejected("truncated")),
    Way("filtered", lambda g: cut(g), rejected("filtered"), "content_filter"),
)  # fmt: skip


# --- an answer that thinks first: thinking and reply ---

Response = tuple[str, str]


def thought(good: Response) -> str:
    return f"<think>\n{good[0]}\n</think>\n\n{good[1]}"


RESPONSES: tuple[Way[Response], ...] = (
    Way("as asked", thought, is_so),
    Way("reasoning of its own before", lambda g: f"<think>I am to think aloud.</think>\n{thought(g)}", is_so),
    Way("nothing thought, then again", lambda g: f"<think>\n\n</think>\n{thought(g)}", is_so),
    Way("tags of its own", lambda g: f"<Thinking>{g[0]}</Thinking>{g[1]}", is_so),
    Way("brackets", lambda g: f"[THINK]{g[0]}[/THINK]{g[1]}", is_so),
    Way("a label", lambda g: f"<think>{g[0]}</think> **Answer:** {g[1]}", is_so),
    Way("ten times too long", lambda g: thought((g[0], long(g[1]))), lambda g: ((g[0], long(g[1])), "")),
    Way("another language", lambda g: thought((g[0], f"Gern. {g[1]}")), lambda g: ((g[0], f"Gern. {g[1]}"), "")),
    Way("half an emoji", lambda g: thought(g) + HALF_EMOJI, lambda g: ((g[0], g[1] + WRITTEN_HALF_EMOJI), "")),
    Way("a refusal after the thinking", lambda g: thought((g[0], REFUSAL)), lambda g: ((g[0], REFUSAL), "")),
    Way("no thinking", lambda g: g[1], rejected("no thinking")),
    Way("an empty thinking", lambda g: thought(("", g[1])), rejected("no thinking")),
    Way("fenced JSON", lambda g: f"```json\n{json.dumps(g)}\n```", rejected("no thinking")),
    Way("only thinking", lambda g: thought((g[0], "")), rejected("no reply")),
    Way("two blocks", lambda g: f"{thought(g)}\n{thought(g)}", rejected("two thinkings")),
    Way("prose around", lambda g: f"Of course!\n\n{thought(g)}", rejected("two thinkings")),
    Way("a form to be filled in", lambda g: thought((g[0], f"Dear [your name], {g[1]}")), rejected("placeholder")),
    Way("half an answer", lambda g: half(thought(g)), rejected("truncated"), "length"),
    Way("thinking without end", lambda g: f"<think>\n{g[0]}", rejected("no reply")),
    Way("a refusal", lambda g: REFUSAL, rejected("refused")),
    Way("nothing", lambda g: "\n", rejected("empty")),
    Way("filtered", lambda g: half(thought(g)), rejected("filtered"), "content_filter"),
)  # fmt: skip


# --- a verdict: what speaks against a chat, "" where nothing does ---


def verdict(why: str) -> str:
    return f"EXCLUDE: {why}" if why else "INCLUDE"


def evaluation(why: str, *, times: int = 1) -> str:
    points = "own voice: it says what one would EXCLUDE, and is sound\nfacts: sound\n" * times
    return f"<evaluation>\n{points}</evaluation>\nVerdict: {verdict(why)}"


VERDICTS: tuple[Way[str], ...] = (
    Way("as asked", evaluation, is_so),
    Way("only the word", verdict, is_so),
    Way("bold", lambda w: f"## Verdict\n\n**{verdict(w)}**", is_so),
    Way("fenced", lambda w: f"```\n{evaluation(w)}\n```", is_so),
    Way("small letters", lambda w: "The verdict is: " + (f"exclude: {w}" if w else "include."), is_so),
    Way("reasoning that wavers", lambda w: f"<think>Verdict: EXCLUDE? Verdict: INCLUDE?</think>\n{evaluation(w)}", is_so),
    Way("doubles", lambda w: f"{evaluation(w)}\nVerdict: {verdict(w)}", is_so),
    Way("ten times too long", lambda w: evaluation(w, times=10), is_so),
    Way("prose around", lambda w: f"Let me see.\n\n{evaluation(w)}\n\nTell me if you see it otherwise.", is_so),
    Way("half an emoji", lambda w: HALF_EMOJI + evaluation(w), is_so),
    Way("JSON", lambda w: json.dumps({"verdict": "EXCLUDE" if w else "INCLUDE"}), lambda w: ("no reason given" if w else "", "")),
    Way("two verdicts", lambda w: f"{evaluation('')}\nOr rather:\nVerdict: EXCLUDE: facts", rejected("two verdicts")),
    Way("the form", lambda w: "Verdict: INCLUDE or EXCLUDE", rejected("no verdict")),
    Way("wrong labels", lambda w: "Verdict: PASS", rejected("no verdict")),
    Way("another language", lambda w: "Urteil: aufnehmen", rejected("no verdict")),
    Way("prose", lambda w: "It could be included, and it could be left out.", rejected("no verdict")),
    Way("half an answer", lambda w: evaluation(w).partition("</eval")[0], rejected("truncated"), "length"),
    Way("half an answer that says that it is whole", lambda w: evaluation(w).partition("</eval")[0], rejected("no verdict")),
    Way("a refusal", lambda w: REFUSAL, rejected("refused")),
    Way("nothing", lambda w: "", rejected("empty")),
    Way("reasoning without end", lambda w: f"<think>{evaluation(w)}", rejected("truncated")),
    Way("filtered", verdict, rejected("filtered"), "content_filter"),
)  # fmt: skip
