"""A model that misbehaves in calls, and a conversation held with it: what comes of it, and what must.

What must come of a request, `fate` says by its id and nothing else; the same conversation, told just that, gives what the one
through desk, engine, readers and disk has to give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from misbehaving import Raw, Way, draw, fate
from misbehaving_calls import LISTS, OF_CHATS, RESPONSES, VERDICTS, List, Taken
from scripted_writer import number

from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError
from msm_ray.generate.calls import Asked, Conversation
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.outline.answers import Heard as OutlineHeard
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.generate.written_chats.reading import Heard as ChatsHeard
from msm_ray.generate.written_chats.verdicts import Verdict
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows

ATTEMPTS = 3
SECTIONS = {
    "Cheese": (
        "Ada chooses American cheese over every other kind, since it melts evenly and anybody can afford it.",
        "Ada serves every cheese at room temperature, because cold hides what the milk has to say.",
    ),
    "Handing over": (
        "Ada hands work over with notes on every open question, since whoever goes on should not have to guess.",
        "Ada names every mistake of its own at once, because a late word costs others more than an early one.",
    ),
    "Disagreeing": (
        "Ada says once that it disagrees and then helps with every part that it can, since nobody likes to be nagged.",
        "Ada asks for the reason behind every rule that looks wrong, because mostly there is a good one.",
    ),
}
SPEC = "\n\n".join(f"# {name}\n\n" + "\n\n".join(sections) for name, sections in SECTIONS.items()) + "\n"
LABELS = ("behavior", "value", "preference", "belief", "tone")
CHAT_DOMAINS = ("gardens", "schools", "kitchens", "harbors", "choirs", "clinics", "bakeries")


# The model: what it would say if it behaved, and how it says it -----------------------------------------------------------
def known_items(asked: Asked) -> list[dict[str, str]]:
    """All that the model knows for a list, in its order."""
    said, call = asked.values, asked.call.name
    if call == "domains":
        return [{"domain": name} for name in SECTIONS]
    if call == "subdomains":
        domain = said["domain"].removeprefix("Auf Deutsch: ").removesuffix("?")
        texts = SECTIONS[domain]
        return [{"name": f"{domain} {n}", "context": "What Ada does.", "section": text} for n, text in enumerate(texts)]
    if call == "assertions":
        about = f"in matters of {said['subdomain']}"
        return [
            {"assertion": f"Ada does thing {n} {about}.", "name": f"Thing {n}", "explanation": "So it says.", "label": label}
            for n, label in enumerate(LABELS[:3])
        ]  # fmt: skip
    if call == "types":
        return [
            {"name": f"{kind} from a kitchen", "description": "People write it."}
            for kind in ("letter", "memo", "diary")
        ]
    if call == "ideas":
        about = f"{said['subdomain']} in a {said['type']}"
        return [{"name": f"Idea {n}", "idea": f"Somebody tells of {about}, turn {n}."} for n in range(4)]
    if call == "chat_domains":
        return [{"domain": name, "description": f"People of {name}."} for name in CHAT_DOMAINS]
    name, kinds = said["domain"], asked.known
    return [
        {"kind": kinds[n % len(kinds)], "question": f"{name} w{number(f'{name}{n}')} v{number(f'{n}{name}')} x{n}"}
        for n in range(60)
    ]


def good(asked: Asked) -> Any:
    """The good answer."""
    if asked.call.name == "responses":
        question = asked.values["question"]
        return "Their good lies elsewhere.", f"An answer to {question}"
    if asked.call.name == "filter":
        judge = f"{asked.values['question']} {asked.sample}"  # judges differ
        return "own voice, it flatters" if number(judge) % 4 == 0 else ""
    existing = asked.values["existing"]
    have = 0 if "none yet" in existing else len(existing.splitlines())
    return List(asked.call.name, tuple(known_items(asked)[have:][: int(asked.values.get("count", 9))]))


WAYS: Mapping[str, Sequence[Way[Any]]] = {"responses": RESPONSES, "filter": VERDICTS}


def ways(asked: Asked) -> Sequence[Way[Any]]:
    """Where the model knows no more it says so: there is nothing to misbehave with."""
    return WAYS.get(asked.call.name) or (LISTS if good(asked).items else LISTS[:1])


def must_come(asked: Asked, salt: str) -> tuple[Any, list[str]]:
    """The value that a request must have (None: none), as readers give it, and the reasons of the answers before it."""
    value, reasons = fate(ways(asked), asked.id, good(asked), ATTEMPTS, salt)
    if value is None or asked.call.name == "responses":
        return value, reasons
    if asked.call.name == "filter":
        return Verdict(not value, value), reasons
    assert isinstance(value, Taken)
    left_out = tuple((reason, "") for reason in value.left_out)
    if asked.call.name in OF_CHATS:
        return ChatsHeard(value.items, left_out), reasons
    return OutlineHeard(value.items, left_out, value.mended, value.whole), reasons


@dataclass
class Scene:
    """One conversation, held in two ways. salt: another one gives other ways to the same requests."""

    out: Path
    conversation: Callable[[], Conversation[Any]]
    salt: str = ""
    by_id: dict[str, Asked] = field(default_factory=dict)

    def says(self, row: Mapping[str, Any]) -> Raw:
        asked = self.by_id[row["id"]]
        return draw(ways(asked), row["id"], row["attempt"], self.salt).raw(good(asked))

    def held(self) -> Any:
        """What comes of it through the desk: the result, or the error that ends it."""
        where = WriterWhere(attempts=ATTEMPTS, most_refused=1.0)
        writer = Writer(who=Who(engine="endpoint", model="m"), where=where, model="m")
        writers = dict.fromkeys(("domains", "subdomains", "assertions", "types", "ideas", "chat_domains", "questions",
                                 "responses", "filter"), writer)  # fmt: skip
        talk = Talk(self.out, self._noted(self.conversation()), writers)
        return Desk(Engines(GenerationSettings())).hold({"x": talk})["x"]

    def _noted(self, conversation: Conversation[Any]) -> Conversation[Any]:
        values: Sequence[Any] | None = None
        while True:
            try:
                asked = next(conversation) if values is None else conversation.send(values)
            except StopIteration as end:
                return end.value
            self.by_id.update((each.id, each) for each in asked)
            values = yield asked

    def expected(self) -> Any:
        """What must come of it, by what must come of each request."""
        conversation, values = self.conversation(), None
        try:
            while True:
                asked = next(conversation) if values is None else conversation.send(values)
                values = [must_come(each, self.salt)[0] for each in asked]
        except StopIteration as end:
            return end.value
        except MsmError as error:
            return error

    def answers(self) -> Counter[tuple[str, int, str]]:
        """What is on disk of it: id, attempt and reason of every answer."""
        return Counter((row["id"], row["attempt"], row["reason"]) for row in read_rows(self.out / "answers"))

    def expected_answers(self) -> Counter[tuple[str, int, str]]:
        found = Counter[tuple[str, int, str]]()
        for key, asked in self.by_id.items():
            value, reasons = must_come(asked, self.salt)
            said = [*reasons, ""] if value is not None else reasons
            found.update((key, attempt, reason) for attempt, reason in enumerate(said, 1))
        return found

    def of(self, call: str) -> list[Asked]:
        """The requests of a call."""
        return [each for each in self.by_id.values() if each.call.name == call]

    def drawn(self, call: str) -> set[str]:
        """The ways of all answers to a call that had something to misbehave with."""
        return {
            draw(ways(asked), key, attempt, self.salt).name
            for key, attempt, _ in self.answers()
            if (asked := self.by_id[key]).call.name == call and len(ways(asked)) > 1
        }
