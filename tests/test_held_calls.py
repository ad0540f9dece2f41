"""What a process holds of the calls that it asks: neither prompts nor answers, whatever their number; and what it reads back."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from stand_in import Model

from msm_ray.engines.open import Engines
from msm_ray.generate.calls import Asked, Call, Conversation, Requests
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.rewrites import settling
from msm_ray.generate.rewrites.conversation import request, rewrites_conversation
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.generate.rewrites.settling import write_rewrites
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.placement.settings import GenerationSettings
from msm_ray.prompt_file import Prompt
from msm_ray.rows import by_place
from msm_ray.rows.by_place import rows_in_order
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, Row
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import Spec

WRITER = Writer(
    who=Who(engine="endpoint", model="m"), where=WriterWhere(attempts=2, most_refused=1.0, in_flight=8), model="m"
)
DESK = Desk(Engines(GenerationSettings()))
LONG = "Tea is calm. " * 1_000
COLORS = Prompt("colors", "", ("specification", "topic"), (("user", "{specification}\n{topic}"),))


@pytest.fixture(autouse=True)
def _little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few rows are dropped and read again all the time."""
    monkeypatch.setattr(by_place, "KEPT_BYTES", 50_000)
    monkeypatch.setattr(by_place, "KEPT_NEIGHBORS", 2)


def read_number(text: str, known: Any) -> tuple[Any, str]:
    return (int(text.split()[-1]), "") if text[-1].isdigit() else (None, "no number")


def numbers(count: int) -> Conversation[list[int | None]]:
    call = Call(name="colors", prompt=COLORS, read=read_number)
    found = yield Requests(range(count), lambda n: Asked(call, {"specification": LONG, "topic": f"color {n}"}))
    return list(found)


def says(row: Row) -> tuple[str, str]:
    """The number that was asked for behind a long answer; one in five is none at first, one in ten never."""
    number = int(row["messages"][0]["content"].split()[-1])
    fails = number % 10 == 3 or (number % 5 == 0 and row["attempt"] == 1)
    return f"{LONG}{'none' if fails else number}", "stop"


def test_requests_more_take_less_than_a_kilobyte_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of prompts and answers of 13 kB each."""
    model = Model(monkeypatch, says)
    model.in_flight = 8  # type: ignore[misc]

    def peak(count: int) -> int:
        tracemalloc.start()
        found = DESK.hold({"x": Talk(tmp_path / str(count), numbers(count), {"colors": WRITER})})["x"]
        assert found == [None if n % 10 == 3 else n for n in range(count)]
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(60)
    assert peak(360) - peak(160) < 200 * 1_000


def test_answers_are_read_where_they_wait_and_where_they_lie_in_the_order_in_which_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Model(monkeypatch, says)
    answers = Answers(tmp_path)
    call = Call(name="colors", prompt=COLORS, read=read_number)
    asked = [Asked(call, {"specification": "s", "topic": str(n)}) for n in range(42)]
    for attempt in (1, 2):
        for n, each in enumerate(asked):
            told = {"id": each.id, "completion": f"{n} {attempt}", "attempt": attempt, "reason": "" if n else "odd"}
            answers.add(each, told | {"num_input_tokens": 3, "num_generated_tokens": 2})
    assert (tmp_path / "answers").is_dir() and len(list(read_rows(tmp_path / "answers"))) == 80, "four wait"
    counts = answers.counts()
    for found in (answers, Answers(tmp_path)):
        assert len(found.by_request) == 42 and set(found.by_request) == {each.id for each in asked}
        for n, each in enumerate(asked):
            assert [row["raw"] for row in found.by_request[each.id]] == [f"{n} 1", f"{n} 2"]
        assert found.counts() == counts and found.usable == 82 and found.answered == 84
    assert counts == {
        "answers": 84, "answers_rejected": 2, "tokens_read": 252, "tokens_written": 168, "rejected: colors: odd": 2,
    }  # fmt: skip


def test_requests_are_made_anew_and_have_their_ids(tmp_path: Path) -> None:
    made = Counter[int]()
    call = Call(name="colors", prompt=COLORS, read=read_number)

    def asked(n: int) -> Asked:
        made[n] += 1
        return Asked(call, {"specification": "s", "topic": str(n)})

    requests = Requests(range(3), asked)
    ids = [each.id for each in requests]
    assert ids == [asked(n).id for n in range(3)] == [each.id for each in requests[:]] and requests[-1].id == ids[2]
    assert requests[0] is not requests[0] and len(requests) == 3 and made[1] == 3


def documents(folder: Path, count: int) -> list[Row]:
    """Rows in files whose order is not theirs; the last file has one that nobody wants."""
    rows = [
        dict.fromkeys(DOCUMENT_SCHEMA.names) | {"id": f"doc{n:03d}", "text": f"Letter {n} of what Ada said. " * 20}
        for n in range(count)
    ]
    for part in range(4):
        mixed = [row for n, row in enumerate(rows) if n % 4 == 3 - part]
        write_table(folder / f"part-{part:06d}.parquet", mixed, DOCUMENT_SCHEMA)
    write_table(folder / "part-000004.parquet", [rows[0] | {"id": "other"}], DOCUMENT_SCHEMA)
    return rows


def test_rows_are_read_in_the_order_of_ids_and_those_that_are_not_there_left_out(tmp_path: Path) -> None:
    rows = documents(tmp_path, 50)
    found = rows_in_order(tmp_path, ["nobody", *(row["id"] for row in rows[::-1])])
    assert list(found) == rows[::-1] and found[3] == rows[-4] and len(found) == 50
    assert not list(rows_in_order(tmp_path / "none", ["doc001"]))


SPEC = Spec("ada", Path("ada"), "Ada likes tea.\n", "d", (), "Ada", "Loom")
HUMANS = RewriteContent(rewrite="humans")


class Rewriting:
    """A stage of rewrites in a folder, of an engine that answers by id. One in seven is cut off at first, one in ten always."""

    def __init__(self, rows: Sequence[Row], documents: Path):
        self.rows, self.documents = rows, documents
        self.by_id = {request(row, SPEC, HUMANS).id: (n, row["text"]) for n, row in enumerate(rows)}

    def says(self, row: Row) -> tuple[str, str]:
        number, text = self.by_id[row["id"]]
        cut = number % 10 == 4 or (number % 7 == 0 and row["attempt"] == 1)
        return f"<content>{text.replace('Ada', 'Pilar')}</content>", "length" if cut else "stop"

    def into(self, out: Path) -> dict[str, Any]:
        found = rewrites_conversation(rows_in_order(self.documents, [row["id"] for row in self.rows]), SPEC, HUMANS)
        counts: dict[str, Any] = {}

        def finish(key: str, rewritten: Any, answers: Answers) -> None:
            counts.update(write_rewrites(out, rewritten, answers, "ada"))

        result = DESK.hold({"x": Talk(out, found, {"rewrite": WRITER})}, finish)["x"]
        assert not isinstance(result, Exception)
        return counts


def files(out: Path) -> Iterator[tuple[str, bytes]]:
    return ((path.relative_to(out).as_posix(), path.read_bytes()) for path in sorted(out.glob("*/*.parquet")))


def rewritten(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(out) if not name.startswith("answers")}


@pytest.mark.parametrize("dies", [{"dies_after": 1}, {"dies_after": 77}, {"writes": 3}])
def test_rewrites_go_on_after_a_kill_with_the_same_files_and_nothing_twice(
    dies: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SHARD_ROWS", 50)
    stage = Rewriting(documents(tmp_path / "documents", 120), tmp_path / "documents")
    model = Model(monkeypatch, stage.says)
    straight = stage.into(tmp_path / "straight")
    assert straight["documents"] == 108 and straight["rejected: truncated"] == 12
    assert len(rewritten(tmp_path / "straight")) == 6, "for every 50 documents a shard of them and one of the rest"
    model.asked.clear()
    model.killed(lambda: stage.into(tmp_path / "killed"), **dies)
    assert not rewritten(tmp_path / "killed")
    kept = len(list(read_rows(tmp_path / "killed" / "answers")))
    before = len(model.asked)
    assert stage.into(tmp_path / "killed") == straight
    assert rewritten(tmp_path / "killed") == rewritten(tmp_path / "straight")
    assert len(model.asked) - before <= straight["answers"] - kept, "what was answered is not asked for again"
    model.asked.clear()
    assert stage.into(tmp_path / "killed") == straight and not model.asked
