"""Calls to a writer: prompts are files, a request is known by its content, answers are read or rejected and paid once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from msm_ray.engines.open import Engines
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import Account, Spending, dollars, most_dollars
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.generate.calls import Asked, Call, Conversation
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.calls.holding import hold
from msm_ray.generate.calls.json_answers import read_objects, texts_of
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.placement.settings import GenerationSettings
from msm_ray.prompt_file import Prompt, read_prompt
from msm_ray.rows.tables import read_rows

ROOMS = ("msm_ray.generate", "msm_ray.worlds")


def prompt_files() -> list[tuple[str, str]]:
    return [
        (file.name.removesuffix(".txt"), room)
        for room in ROOMS
        for file in resources.files(room).joinpath("prompts").iterdir()
        if file.name.endswith(".txt")
    ]


@pytest.mark.parametrize(("name", "room"), prompt_files())
def test_every_prompt_says_which_call_it_is_what_goes_in_and_what_must_come_out(name: str, room: str) -> None:
    prompt = read_prompt(name, room)
    assert "\n# In: " in prompt.head and "\n# Out: " in prompt.head and "paper" in prompt.head.lower()
    filled = prompt.messages({slot: f"«{slot}»" for slot in prompt.inputs})
    text = "\n".join(message["content"] for message in filled)
    assert all(f"«{slot}»" in text for slot in prompt.inputs) and prompt.version.startswith(name)


def call(name: str = "colors", **more: Any) -> Call:
    prompt = Prompt(name, "", ("topic",), (("user", f"{name}: {{topic}}"),))
    return Call(name=name, prompt=prompt, read=read_list, **more)


def read_list(text: str, known: Any) -> tuple[Any, str]:
    found = [each["color"] for each in read_objects(text) if texts_of(each, ("color",))]
    return (found, "") if found else (None, "no colors")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"items": [{"color": "red"}, {"color": "blue"}]}', ["red", "blue"]),
        ('[{"color": "red"}]', ["red"]),
        ('Sure!\n```json\n[{"color": "red"}, {"color": "blue"}]\n```\nHope this helps {really}.', ["red", "blue"]),
        ('{"items": [{"color": "red"}, {"color": "blue"}, {"color": "gre', ["red", "blue"]),
        ('{"colors": [{"color": "red"}, "blue", {"color": 5}, {"color": "  "}]}', ["red"]),
        ('{"color": "red"}', ["red"]),
        ('{"items": [{"color": "a \\"quoted\\" {brace}"}]}', ['a "quoted" {brace}']),
        ('{"items": [{"color": "two\nlines"}]}', ["two\nlines"]),
        ('{"items": []}', None),
        ("[]", None),
        ("I would say red and blue.", None),
        ("{" * 3000, None),
    ],
)
def test_lists_are_read_as_models_really_write_them(answer: str, found: list[str] | None) -> None:
    assert read_list(answer, None)[0] == found


def test_conversations_go_step_by_step_and_one_that_fails_ends_alone() -> None:
    def two_steps(start: str) -> Conversation[list[Any]]:
        (first,) = yield [Asked(call(), {"topic": start})]
        rest = yield [Asked(call(), {"topic": each}) for each in first]
        return [first, *rest]

    def fails() -> Conversation[None]:
        yield [Asked(call(), {"topic": "x"})]
        raise QualityGateError("nothing came")

    steps: list[dict[str, list[str]]] = []

    def answering(asked: Any) -> dict[str, Sequence[Any]]:
        steps.append({key: [each.values["topic"] for each in all_] for key, all_ in asked.items()})
        return {key: [[each.values["topic"] + "1"] for each in all_] for key, all_ in asked.items()}

    found = hold({"a": two_steps("a"), "b": fails(), "c": two_steps("c")}, answering)
    assert found["a"] == [["a1"], ["a11"]] and isinstance(found["b"], QualityGateError)
    assert steps == [{"a": ["a"], "b": ["x"], "c": ["c"]}, {"a": ["a1"], "c": ["c1"]}]


def conversation(topics: Sequence[str], **more: Any) -> Conversation[list[Any]]:
    found = yield [Asked(call(**more), {"topic": each}, about=each) for each in topics]
    return list(found)


def recorded(path: Path, answers: dict[str, dict[str, Any]], **more: Any) -> dict[str, Writer]:
    """A writer that answers each topic as it was recorded."""
    lines = [{"id": Asked(call(**more), {"topic": topic}).id, **answer} for topic, answer in answers.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"colors": Writer(who=Who(engine="replay", replay=str(path)), where=WriterWhere(attempts=2))}


DESK = Desk(Engines(GenerationSettings()))


def test_answers_of_every_kind_are_kept_counted_and_read_anew_without_asking(tmp_path: Path) -> None:
    answers = {
        "sea": {"completion": '<think>{"color": "no"}</think>[{"color": "blue"}]'},
        "cut": {"completion": '[{"color": "red"}, {"color": "gr', "finish_reason": "length"},
        "filtered": {"completion": "", "finish_reason": "content_filter"},
        "refused": {"completion": "I'm sorry, but I can't help with that."},
        "prose": {"completion": "Red, mostly."},
        "empty": {"completion": " "},
        "thinking": {"completion": "<think>red or blue or", "finish_reason": "stop"},
    }
    writers = recorded(tmp_path / "r.jsonl", answers)
    found = DESK.hold({"x": Talk(tmp_path / "out", conversation(list(answers)), writers)})["x"]
    assert found == [["blue"], None, None, None, None, None, None]
    kept = {row["about"]: row["reason"] for row in read_rows(tmp_path / "out" / "answers")}
    assert kept == {
        "sea": "", "cut": "truncated", "filtered": "filtered", "refused": "refused", "prose": "no colors", "empty": "empty",
        "thinking": "truncated",
    }  # fmt: skip
    counts = Answers(tmp_path / "out").counts()
    assert counts["answers"] == 7 and counts["rejected: colors: truncated"] == 2
    # read anew from what is kept, by a reader that takes what is whole: the same requests, nobody asked
    (tmp_path / "r.jsonl").write_text("")
    nobody = {
        "colors": Writer(who=Who(engine="replay", replay=str(tmp_path / "r.jsonl")), where=WriterWhere(attempts=1))
    }
    again = DESK.hold({"x": Talk(tmp_path / "out", conversation(list(answers), takes_part=True), nobody)})["x"]
    assert again[:2] == [["blue"], ["red"]]


def test_a_prompt_without_its_recording_is_noticed_and_written_down(tmp_path: Path) -> None:
    writers = recorded(tmp_path / "r.jsonl", {"sea": {"completion": '[{"color": "blue"}]'}})
    error = DESK.hold({"x": Talk(tmp_path / "out", conversation(["sea", "sky"]), writers)})["x"]
    assert isinstance(error, StageError) and "1 of 2 requests have no recorded answer" in str(error)
    (line,) = (tmp_path / "out" / "unanswered.jsonl").read_text().splitlines()
    missing = json.loads(line)
    assert missing["messages"] == [{"role": "user", "content": "colors: sky"}] and missing["call"] == "colors"
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write(json.dumps({**missing, "completion": '[{"color": "gray"}]'}) + "\n")
    found = DESK.hold({"x": Talk(tmp_path / "out", conversation(["sea", "sky"]), writers)})["x"]
    assert found == [["blue"], ["gray"]]


def test_samples_and_calls_are_requests_of_their_own_and_time_is_none() -> None:
    one = Asked(call(), {"topic": "sea"})
    assert one.id == Asked(call(), {"topic": "sea", "unused": "x"}, known=5, about="other").id
    others = {one.id, Asked(call(), {"topic": "sea"}, sample=1).id, Asked(call("tints"), {"topic": "sea"}).id}
    assert len(others) == 3
    assert Asked(call(), {"topic": "{topic} {x}"}).messages[0]["content"] == "colors: {topic} {x}"


PRICED = EngineSettings(engine="endpoint", model="m", url="http://localhost", prices=(3.0, 15.0))


def test_the_most_a_request_can_cost_bounds_what_it_costs() -> None:
    row = {"messages": [{"role": "user", "content": "äöü" * 100}], "max_tokens": 1000}
    assert most_dollars(PRICED, row) >= dollars(PRICED, 600, 1000)
    assert dollars(EngineSettings(engine="vllm"), 10**9, 10**9) == 0


def test_a_spend_limit_is_never_passed_and_holds_requests_back_only_while_it_must(tmp_path: Path) -> None:
    """64 requests at once, each of which may cost 1 dollar and costs .3, with a limit of 5."""
    journal = tmp_path / "spend.jsonl"
    highest = 0.0

    async def request(account: Account, number: int) -> str:
        nonlocal highest
        if why := await account.put_aside(1.0):
            return why
        highest = max(highest, account.spent + account.aside)
        await asyncio.sleep(0.001)
        await account.settle(1.0, 0.3, {"id": number})
        return ""

    async def all_of_them() -> list[str]:
        account = Account(str(journal), 5.0, 0.0)
        return await asyncio.gather(*(request(account, number) for number in range(64)))

    told = asyncio.run(all_of_them())
    paid = told.count("")
    assert highest <= 5.0 + 1e-9
    assert paid == 14  # the fifteenth may cost a dollar, and .8 is left
    assert "spend limit of $5.00" in next(filter(None, told))
    spending = Spending(journal, 5.0)
    assert spending.spent() == pytest.approx(0.3 * paid)


def test_nothing_is_bought_twice_after_a_kill(tmp_path: Path) -> None:
    """The second conversation asks what the first did and more; only what is more has to be recorded."""
    writers = recorded(tmp_path / "a.jsonl", {"sea": {"completion": '[{"color": "blue"}]'}})
    DESK.hold({"x": Talk(tmp_path / "out", conversation(["sea"]), writers)})
    writers = recorded(tmp_path / "b.jsonl", {"sky": {"completion": '[{"color": "gray"}]'}})
    found: Any | MsmError = DESK.hold({"x": Talk(tmp_path / "out", conversation(["sea", "sky"]), writers)})["x"]
    assert found == [["blue"], ["gray"]]
