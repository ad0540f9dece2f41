"""Calls through Ray's workers: what comes of few requests comes of many, and a kill loses nothing and asks nothing twice."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import Model
from test_at_size import begin, finish, kill, wait_until

from benchmarks.timed import answer_of, asked
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.generate import desk
from msm_ray.generate.at_size.calls import CallPlan
from msm_ray.generate.at_size.worker import Given
from msm_ray.generate.calls import Asked, Call, Conversation, Requests
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.calls.table import outcome
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.rewrites.conversation import request, rewrites_conversation
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.generate.rewrites.settling import write_rewrites
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.placement.settings import GenerationSettings
from msm_ray.prompt_file import Prompt
from msm_ray.rows.by_place import rows_in_order
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import Spec
from msm_ray.workers import HERE, OnRay

ROOT = Path(__file__).parents[1]
WORKERS = GenerationSettings(workers=2)
SPEC = Spec("ada", Path("ada"), "Ada likes tea.\n", "d", (), "Ada", "Loom")
DOES = RewriteContent(rewrite="does")
ROWS = 900


def writer(engine: str = "benchmarks.timed:engine", seconds: str = "0.02", **where: Any) -> Writer:
    how = {"attempts": 3, "most_refused": 1.0, "in_flight": 8} | where
    return Writer(who=Who(engine=engine, model=seconds), where=WriterWhere(**how), model=seconds)


def write_documents(folder: Path, rows: int) -> list[str]:
    """Documents in files of 100, listed from the last to the first."""
    ids = [f"{number:024x}" for number in range(rows)]
    for first in range(0, rows, 100):
        some = [{"id": key, "text": f"Ada made a pot of tea for {key}.", "type": "memo"} for key in ids[first:][:100]]
        write_table(folder / f"part-{first:06d}.parquet", some, DOCUMENT_SCHEMA)
    return ids[::-1]


def rewrite(documents: Path, out: Path, rows: int, seconds: str, many: bool) -> dict[str, Any]:
    """A stage of rewrites. many: by Ray's workers."""
    ids = [f"{number:024x}" for number in range(rows)][::-1]
    counts: dict[str, Any] = {}

    def settle(key: str, found: Any, answers: Answers) -> None:
        places: list[tuple[str, str]] = []
        counts.update(write_rewrites(out, found, answers, "ada", places.extend, OnRay() if many else HERE))
        counts["places"] = places

    with Engines(WORKERS) as engines:
        talk = Talk(
            out, rewrites_conversation(rows_in_order(documents, ids), SPEC, DOES), {"rewrite": writer(seconds=seconds)}
        )
        result = Desk(engines).hold({"x": talk}, settle)["x"]
    if isinstance(result, MsmError):
        raise result
    return counts


def rewritten(out: Path) -> dict[str, bytes]:
    return {
        f"{p.parent.name}/{p.name}": p.read_bytes() for f in ("data", "rejected") for p in (out / f).glob("*.parquet")
    }


def test_rows_in_order_are_sent_by_their_places(tmp_path: Path) -> None:
    rows = rows_in_order(tmp_path, write_documents(tmp_path, 250))
    part = rows.part(np.array([3, 200, 249], np.int32))
    sent = pickle.loads(pickle.dumps(part))
    assert [row["id"] for row in sent] == [row["id"] for row in (rows[3], rows[200], rows[249])]
    assert len(part.names) == 2 and len(pickle.dumps(part)) < 2_000


@pytest.mark.real
def test_many_are_told_anew_as_few_are(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_documents(tmp_path / "documents", 700)
    few = rewrite(tmp_path / "documents", tmp_path / "few", 700, "0", many=False)
    monkeypatch.setattr(desk, "AT_SIZE", 100)
    many = rewrite(tmp_path / "documents", tmp_path / "many", 700, "0", many=True)
    assert few == many and few["documents"] == len(few["places"]) > 600 and few["rejected: truncated"] > 0
    assert rewritten(tmp_path / "few") == rewritten(tmp_path / "many") and len(rewritten(tmp_path / "few")) == 6
    names = [path.name for path in (tmp_path / "many/answers").iterdir()]
    assert names and not any(name.startswith((".", "part-000")) for name in names), "workers wrote, each its own"
    again = rewrite(tmp_path / "documents", tmp_path / "many", 700, "0", many=True)
    assert again == many, "nothing is asked that was answered"


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import ray
from msm_ray.generate import desk
from test_calls_at_size import ROWS, rewrite
if __name__ == "__main__":
    desk.AT_SIZE = 100
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if sys.argv[4] == "own":
        ray.init(address="local", num_cpus=4, include_dashboard=False, **quiet)
    else:
        ray.init(runtime_env={"env_vars": {"TIMED_LOG": sys.argv[4]}}, **quiet)
    out = Path(sys.argv[2])
    rewrite(out.parent / "documents", out, ROWS, sys.argv[3], many=True)
    print("[None]")
"""


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", [pytest.param("driver", marks=pytest.mark.soak), "worker"])
def test_what_is_killed_is_neither_lost_nor_asked_twice(who: str, ray_cluster: None, tmp_path: Path) -> None:
    ids = write_documents(tmp_path / "documents", ROWS)
    driver = begin(tmp_path, seconds=0.1, own=who == "driver", program=DRIVER)
    try:
        wait_until(lambda: asked(tmp_path / "log").total() >= ROWS // 2, tmp_path, driver)
        if who == "driver":
            kill(driver)
            driver = begin(tmp_path, seconds=0.1, program=DRIVER)
        else:
            logs = sorted((tmp_path / "log").glob("*.txt"), key=lambda path: path.stat().st_mtime)
            os.kill(int(logs[-1].stem), signal.SIGKILL)
        finish(driver, tmp_path)
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    texts = {row["rewrite_of"]: row["text"] for row in read_rows(tmp_path / "out/data")}
    wanted = {}
    for row in rows_in_order(tmp_path / "documents", ids):
        answers = (answer_of(request(row, SPEC, DOES).id, attempt) for attempt in (1, 2, 3))
        if said := next((text for text, finish in answers if finish == "stop"), None):
            wanted[row["id"]] = said.partition("<content>")[2].removesuffix("</content>")
    assert texts == wanted
    log = asked(tmp_path / "log")
    twice = [key for key, many in log.items() if many > 1]
    assert max(log.values()) <= 2 and len(twice) <= WORKERS.workers * 8 * 32


COLORS = Prompt("colors", "", ("topic",), (("user", "{topic}"),))


def read_place(text: str, known: int) -> tuple[Any, str]:
    return (known, "") if known % 3 else (None, "of three")


def one(place: int) -> Asked:
    return Asked(Call(name="colors", prompt=COLORS, read=read_place), {"topic": f"color {place}"}, known=place)


def colors(things: Sequence[int], made: bool = False) -> Conversation[list[int | None]]:
    found = yield [one(place) for place in things] if made else Requests(things, one)
    again = yield Requests([each for each in found if each], one)
    return [*found, *again]


def engine(settings: Any, workers: Any) -> Any:
    """model: "no": it refuses all rows; "down": it loses them; "mute": it never answers; a file that exists: it raises."""

    async def answer(row: Any) -> dict[str, Any]:
        if settings.model == "no":
            return {"completion": "", "finish_reason": None, "failure": "refused", "error": "HTTP 400: too long"}
        if settings.model == "down":
            return {"completion": "", "finish_reason": None, "failure": "lost", "error": "no connection"}
        if settings.model == "mute":
            await asyncio.sleep(1000)
        if "other" in str(row["messages"]) and Path(settings.model).exists():
            raise ZeroDivisionError("raised by the engine")
        return {"completion": "said", "finish_reason": "stop", "num_input_tokens": 1, "num_generated_tokens": 1}

    return answer


@pytest.mark.parametrize("made", [True, False])
def test_a_plan_knows_what_was_answered_before_and_what_is_there_twice(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12 requests 9 differ; those of 0 to 5 were answered: 0 and 3 twice without use, as often as they may be."""
    things = [*range(9), 4, 8, 0]
    model = Model(monkeypatch, lambda row: ("said", "stop"))
    answering = {"colors": writer("endpoint", "m", attempts=2)}
    Desk(Engines(WORKERS)).hold({"x": Talk(tmp_path, colors(range(6)), answering)})
    assert len(model.asked) == 8
    asked = [one(place) for place in things] if made else Requests(things, one)
    answers = Answers(tmp_path)
    plan = CallPlan(0, asked, answers, answering, lambda: HERE)
    assert len(plan) == plan.requests == 9 and plan.pending().tolist() == [6, 7, 8] and plan.calls == ["colors"]
    assert [plan.key(place) for place in range(12)] == [each.id for each in asked]
    assert np.flatnonzero(plan.done).tolist() == [1, 2, 4, 5] and plan.tries[:6].tolist() == [2, 1, 1, 2, 1, 1]
    share = plan.job().begin("w", 100, 60.0, lambda: None)
    block = share.block(Given(plan.pending(), plan.ids[6:9], plan.tries[6:9], plan.given(plan.pending())))
    assert [row["position"] for row in block.table.pending()] == [0, 1, 2]
    for row in block.table.pending():
        block.table.settle(
            row | {"completion": "said", "finish_reason": "stop", "failure": "", "error": "", "attempt": 1}
            | {"num_input_tokens": 1, "num_generated_tokens": 5}
        )  # fmt: skip
    assert [(end.place, end.tries, end.done, end.over) for end in block.ends()] == [
        (6, 1, False, False), (7, 1, True, True), (8, 1, True, True)
    ]  # fmt: skip
    assert block.tokens == 15 and not list((tmp_path / "answers").glob("part-w-*.parquet"))
    plan.done[7:9] = True
    plan.look()
    assert plan.pending().tolist() == [6, 7, 8], "what was told is not there: who told it has died"
    share.flush()
    plan.recover()
    plan.look(believed=True)
    assert (
        plan.pending().tolist() == [6] and plan.asked == {answering["colors"].engine()} and plan.problem(None) is None
    )
    assert list(outcome(asked, answers)) == [None, 1, 2, None, 4, 5, None, 7, 8, 4, 8, None]


@pytest.mark.real
@pytest.mark.parametrize("made", [True, False])
def test_values_come_in_order_and_what_is_there_twice_is_asked_once(
    made: bool, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second step asks what the first has asked, so that nothing is left to do."""
    monkeypatch.setattr(desk, "AT_SIZE", 5)
    things = [*range(90), *range(30)]
    with Engines(WORKERS) as engines:
        talk = Talk(tmp_path, colors(things, made), {"colors": writer("test_calls_at_size:engine", "yes", attempts=2)})
        found = Desk(engines).hold({"x": talk})["x"]
    values = [place if place % 3 else None for place in things]
    assert found == [*values, *filter(None, values)]
    rows = [row["id"] for row in read_rows(tmp_path / "answers")]
    assert len(rows) == 60 + 2 * 30 and len(set(rows)) == 90
    counts = Answers(tmp_path).counts()
    assert counts["answers"] == 120 and counts["rejected: colors: of three"] == 60


@pytest.mark.real
@pytest.mark.parametrize(
    ("says", "kind", "told"),
    [
        ("no", QualityGateError, "refused .* for example with: .*too long"),
        ("down", StageError, "no connection"),
        ("mute", StageError, r"no progress for 0.05 minutes .*: mute has answered nothing. What is written is safe"),
    ],
)
def test_a_step_that_nobody_answers_says_why(
    says: str, kind: type[MsmError], told: str, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the others, which somebody else answers, go on."""
    monkeypatch.setattr(desk, "AT_SIZE", 5)
    with Engines(WORKERS) as engines:
        talks = {
            name: Talk(
                tmp_path / name,
                colors(range(200)),
                {"colors": writer("test_calls_at_size:engine", how, attempts=1, no_progress_minutes=0.05)},
            )
            for name, how in {"x": says, "y": "yes"}.items()
        }
        results = Desk(engines).hold(talks)
    assert len(results["y"]) == 200 + 133 and results["y"][:4] == [None, 1, 2, None]
    with pytest.raises(kind, match=told):
        raise results["x"]


@pytest.mark.real
def test_an_error_of_one_stage_loses_no_answer_of_another(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are in the same pass, which ends at the error: what was answered is kept, and the same command goes on from there."""
    monkeypatch.setattr(desk, "AT_SIZE", 5)
    broken = tmp_path / "broken"

    def other(place: int) -> Asked:
        return Asked(Call(name="colors", prompt=COLORS, read=read_place), {"topic": f"other {place}"}, known=place)

    def others() -> Conversation[Any]:
        return list((yield Requests(range(200), other)))

    def ask() -> dict[str, Any]:
        with Engines(WORKERS) as engines:
            writers = {"colors": writer("test_calls_at_size:engine", str(broken), attempts=1)}
            talks = {
                "x": Talk(tmp_path / "x", colors(range(200)), writers),
                "y": Talk(tmp_path / "y", others(), writers),
            }
            return Desk(engines).hold(talks)

    broken.touch()
    with pytest.raises(StageError, match="raised by the engine"):
        raise ask()["y"]
    first = [row["id"] for row in read_rows(tmp_path / "x/answers")]
    assert first and not list(read_rows(tmp_path / "y/answers"))
    broken.unlink()
    whole = ask()
    assert len(whole["x"]) == 200 + 133 and whole["y"] == whole["x"][:200]
    ids = [row["id"] for row in read_rows(tmp_path / "x/answers")]
    assert set(first) <= set(ids) and len(ids) == len(set(ids)) == 200
