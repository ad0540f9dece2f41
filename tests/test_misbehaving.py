"""Documents of a model that misbehaves in every way that there is: the exact ids, texts and reasons that must come of it.

No Ray: `stand_in.py` answers, in several orders, and is killed in the middle.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from document_jobs import document_job
from misbehaving import DOCUMENTS, document, documents, draw, fate
from stand_in import Model

from msm_ray.engines.open import Engines
from msm_ray.generate import document_outcomes
from msm_ray.generate import documents as stage
from msm_ray.generate.document_job import DocumentJob, row_id
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.written import document_counts
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec

COUNT = 200


def job(out: Path, attempts: int, **settings: Any) -> DocumentJob:
    said = {"engine": "endpoint", "model": "m", "documents": COUNT, "attempts": attempts, "most_refused": 1.0}
    spec = read_spec(Path("specs/cheese/america.md"), AssistantSettings(name="Ada"))
    return document_job(out, spec, DocumentSettings.model_validate(said | settings), "m")


def ids(made: DocumentJob) -> list[str]:
    return [row_id(made.spec, idea, made.world.prompt_version) for idea in made.ideas()]


def write(made: DocumentJob) -> None:
    assert stage._write_group([made], Engines(GenerationSettings())) == [None]


def texts(made: DocumentJob) -> dict[str, str]:
    rows = list(read_rows(made.out / "data"))
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["text"] for row in rows}


def reasons(made: DocumentJob) -> Counter[tuple[str, int, str]]:
    return Counter((row["id"], row["attempt"], row["reason"]) for row in read_rows(made.out / "rejected"))


def expected(made: DocumentJob, attempts: int) -> tuple[dict[str, str], Counter[tuple[str, int, str]]]:
    """What must come out: the text of each id that is accepted, and each answer that is rejected with its reason."""
    accepted, wrong = {}, Counter[tuple[str, int, str]]()
    for key in ids(made):
        text, why = fate(DOCUMENTS, key, document(key), attempts)
        wrong.update((key, attempt, reason) for attempt, reason in enumerate(why, 1))
        if text is not None:
            accepted[key] = text
    return accepted, wrong


@pytest.mark.parametrize("attempts", [1, 3])
def test_exactly_the_documents_that_can_be_read_come_out(
    attempts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, model = job(tmp_path, attempts), Model(monkeypatch, documents)
    write(made)
    accepted, wrong = expected(made, attempts)
    assert texts(made) == accepted and reasons(made) == wrong
    asked = [(key, attempt) for key in ids(made) for attempt in range(1, attempts + 1)]
    assert len(set(ids(made))) == COUNT and len(model.asked) == len(set(model.asked)) <= len(asked)
    drawn = {draw(DOCUMENTS, *each).name for each in model.asked}
    assert len(drawn) > 20 and (attempts == 1 or drawn == {way.name for way in DOCUMENTS})
    last = Counter(
        f"rejected: {fate(DOCUMENTS, key, document(key), attempts)[1][-1]}" for key in ids(made) if key not in accepted
    )
    counts = document_counts(made)
    assert counts["documents"] == len(accepted) and counts["answers_rejected"] == wrong.total()
    assert {name: count for name, count in counts.items() if name.startswith("rejected: ")} == last
    raw = {row["id"]: row["raw"] for row in read_rows(made.out / "raw")}
    assert raw.keys() == accepted.keys() and all(accepted[key].split()[-1] in raw[key] for key in raw)


def test_what_is_settled_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = job(tmp_path, 1)
    write_with = Model(monkeypatch, documents)
    write(once)
    assert len(write_with.asked) == COUNT
    again = Model(monkeypatch, documents)
    write(once)
    assert again.asked == []
    thrice = job(tmp_path, 3)  # more tries: only what was rejected is asked for, from its second try on
    write(thrice)
    accepted, wrong = expected(thrice, 3)
    assert texts(thrice) == accepted and reasons(thrice) == wrong
    assert {attempt for _, attempt in again.asked} == {2, 3}
    assert {key for key, _ in again.asked}.isdisjoint(expected(once, 1)[0])


def asked_in_rounds(made: DocumentJob) -> list[int]:
    """How many are asked for in each of three rounds."""
    return [COUNT] + [COUNT - len(expected(made, tries)[0]) for tries in (1, 2)]


@pytest.mark.parametrize("order", ["backwards", "by hash"])
@pytest.mark.parametrize("portion", [2000, 37])
def test_another_order_and_other_portions_give_the_same_documents(
    order: str, portion: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model(monkeypatch, documents, order)
    looked: list[int] = []
    monkeypatch.setattr(document_outcomes, "overused", lambda texts, *_: looked.append(len(texts)) or [])
    made = job(tmp_path, 3, portion=portion)
    write(made)
    assert (texts(made), reasons(made)) == expected(made, 3)
    goes = sum(-(-left // portion) for left in asked_in_rounds(made))
    assert len(looked) <= goes  # what is written is read once for a go


@pytest.mark.parametrize("dies", [{"dies_after": n} for n in (1, 57, 199, 260)] + [{"writes": n} for n in range(8)])
def test_a_kill_in_the_middle_gives_the_same_documents(
    dies: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one between the files of one flush."""
    model, made = Model(monkeypatch, documents, "by hash"), job(tmp_path, 3)
    model.killed(lambda: write(made), **dies)
    there = texts(made)
    assert len(there) < COUNT
    before = set(model.asked)
    model.asked.clear()
    write(made)
    assert (texts(made), reasons(made)) == expected(made, 3)
    assert there.keys().isdisjoint(key for key, _ in model.asked)
    assert {row["id"] for row in read_rows(made.out / "raw")} == texts(made).keys()  # nothing paid for is lost
    lost = before & set(model.asked)
    assert len(lost) <= 1  # answers stand in a journal when they have come


def test_a_document_in_another_language_is_taken_and_then_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser doesn't judge what a document says; the checks of a corpus do."""
    Model(monkeypatch, documents)
    made = job(tmp_path, 1)
    write(made)
    foreign = {key for key in ids(made) if draw(DOCUMENTS, key, 1).name == "another language"}
    found = {key for key, text in texts(made).items() if made.world.check_document(f"Ada. {text}", made.spec)[0]}
    assert found == foreign and found
