"""The one reader of JSONL and Parquet, and whoever reads a user's file through it."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making_items import make_items
from test_preflight import findings

from msm_ray.config.file import read_experiment
from msm_ray.engines.replay import RECORDING, read_recording, recorded_answer
from msm_ray.errors import SettingsError
from msm_ray.evals.answers import AnswersEval
from msm_ray.evals.items import read_items
from msm_ray.evals.preferences import PreferencesEval
from msm_ray.evals.preferences.pairs import PAIRS
from msm_ray.generate.chat_files import CHATS, read_chats
from msm_ray.generate.replayed import TEXTS, write_replay
from msm_ray.preflight import Proposal
from msm_ray.preflight.held_out import problems
from msm_ray.rows.files import Form, checked, few, read_file, sound_rows
from msm_ray.rows.journal import read_journal, reopened
from msm_ray.rows.lines import read_questions
from msm_ray.rows.tables import read_rows, write_own_table

BOM = b"\xef\xbb\xbf"
ROWS = [{"text": "one\u2028\u0085line"}, {"text": "two"}]
LINES = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]
WHOLE = b"\n".join(LINES) + b"\n"


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


FORMS = {
    "plain.jsonl": WHOLE,
    "no-end.jsonl": WHOLE[:-1],
    "bom.jsonl": BOM + WHOLE,
    "two-files-in-one.jsonl": BOM + LINES[0] + b"\n" + BOM + LINES[1],
    "crlf.jsonl": b"\r\n".join(LINES) + b"\r\n",
    "zipped.jsonl.gz": gzip.compress(BOM + WHOLE),
    "zipped-under-another-name.jsonl": gzip.compress(WHOLE),
    "table.parquet": parquet(ROWS),
    "TABLE.PARQUET": parquet(ROWS),
    "table-under-another-name.jsonl": parquet(ROWS),
    "zipped-table.parquet.gz": gzip.compress(parquet(ROWS)),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_is_read_whatever_its_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    read = read_file(tmp_path / name)
    assert (read.rows, read.problems) == (tuple(enumerate(ROWS, 1)), ())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{not json", "not valid JSON (Expecting property name"),
        (LINES[0][:13], "not valid JSON (Unterminated string"),
        (LINES[0] + b" " + LINES[1], "not valid JSON (Extra data"),
        (b"[1, 2]", 'a row is an object, {"key": value, ...}, and this is [1, 2]'),
        (b'"text"', 'and this is "text"'),
        (b"null", "and this is null"),
        ('{"text": "Gruyère"}'.encode("latin-1"), "not UTF-8; save the file as UTF-8"),
        pytest.param(b'{"a":' * 100_000, "nested too deeply", id="deep"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON (Exceeds the limit", id="long number"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_is_no_end(line: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + b"\n\n" + line + b"\n" + LINES[1] + b"\n")
    read = read_file(path)
    assert read.rows == ((1, ROWS[0]), (4, ROWS[1]))
    [(number, what)] = read.problems
    assert number == 3 and says in what


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (BOM, "is empty"),
        (gzip.compress(b""), "is empty"),
        (parquet([{"text": "x"}])[:-9], "cannot be read as Parquet"),
        (gzip.compress(WHOLE)[:-12], "damaged gzip"),
        (b"\x28\xb5\x2f\xfd and so on", "compressed otherwise than by gzip; unpack it"),
        (json.dumps(ROWS, indent=1).encode(), "one JSON value over several lines; write a row a line"),
        (b"[\n" + b",\n".join(LINES) + b"\n]\n", "one JSON value over several lines"),
    ],
    ids=["nothing", "blank", "mark", "zipped nothing", "cut table", "cut gzip", "zstd", "list", "list of lines"],
)
def test_a_file_of_another_kind_is_told_once(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    rows, [(line, what)] = checked(path, TEXTS)
    assert (rows, line) == ([], None) and says in what


def test_a_file_that_is_not_there_and_a_folder_are_told(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "gone.jsonl", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=f"{path}: cannot be read .{says}.*expected: "):
            sound_rows(path, TEXTS)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(WHOLE)
    assert len(read_file(path).rows) == 2
    path.write_bytes(WHOLE + WHOLE)
    assert len(read_file(path).rows) == 4


def test_rows_of_a_table_that_hold_what_python_cannot_are_told_and_the_others_read(tmp_path: Path) -> None:
    broken = pa.array([b"good", b"\xff\xfe", b"sound"]).view(pa.string())
    nanoseconds = pa.array([0, 0, 1], pa.timestamp("ns"))
    pq.write_table(pa.table({"text": broken, "when": nanoseconds}), tmp_path / "rows.parquet")
    read = read_file(tmp_path / "rows.parquet")
    assert [(line, row["text"]) for line, row in read.rows if line == 1] == [(1, "good")]
    assert read.problems[0][0] == 2 and "cannot be read ('utf-8' codec can't decode" in read.problems[0][1]


def test_the_first_faults_are_told_one_by_one_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + b"\n" + b"{}\n[]\n" * 4)
    told = checked(path, TEXTS)[1]
    assert [line for line, _ in told] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert few(told)[5:] == [(None, "and 3 more lines like these")]
    with pytest.raises(
        SettingsError, match=r"rows\.jsonl:2: no `text` .*\(and 7 more lines\); expected: Parquet or JSONL"
    ):
        sound_rows(path, TEXTS)


ASKED, ANSWERED = {"role": "user", "content": "Colby?"}, {"role": "assistant", "content": "Yes.\u2028Colby."}
CHAT = {"messages": [ASKED, ANSWERED]}
PAIR = {"domain": "tools", "kind": "origin", "aligned": "an axe\u2028of Maine", "other": "a saw"}


def mixed_in(path: Path) -> list[Any]:
    write_replay(path.parent / "out", str(path), 9)
    return [row["text"] for row in read_rows(path.parent / "out/data")]


def asked(path: Path) -> list[Any]:
    how = PreferencesEval(arms=("x",), path=str(path))
    make_items(path.parent, how)
    return [{key: value for key, value in item.items() if key != "id"} for item in read_items(path.parent)]


KINDS: dict[str, tuple[Form, dict[str, Any], Callable[[Path], list[Any]]]] = {
    "chats": (CHATS, CHAT, read_chats),
    "recording": (RECORDING, {"text": "A story.\u2028It ends."}, read_recording),
    "texts": (TEXTS, {"text": "A story.\u2028It ends."}, mixed_in),
    "pairs": (PAIRS, PAIR, asked),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read_in_every_form(kind: str, tmp_path: Path) -> None:
    _, row, read = KINDS[kind]
    line = json.dumps(row, ensure_ascii=False).encode()
    found = []
    for name, content in (
        ("a.jsonl", line), ("b.jsonl", BOM + line + b"\r\n"), ("c.jsonl.gz", gzip.compress(line)), ("d.parquet", parquet([row])),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        found.append(read(tmp_path / name))
    assert found[0] and all(each == found[0] for each in found)
    assert "\u2028" in str(found[0][0]).replace("\\u2028", "\u2028")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["{not json", "[]", '{"content": "another key"}', "5"])
def test_every_kind_of_file_names_file_line_and_what_is_expected(kind: str, bad: str, tmp_path: Path) -> None:
    form, row, read = KINDS[kind]
    if kind == "chats" and bad.startswith('{"'):
        return  # costs that row alone: tests/test_given_chats.py
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(row)}\n\n{bad}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:3: ")
    assert str(refused.value).endswith(f"; expected: {form.expected}")


@pytest.mark.parametrize(
    ("form", "row", "says"),
    [
        (TEXTS, {"text": 5}, "no `text` (the row has text)"),
        (TEXTS, {"text": None, "id": "a"}, "no `text` (the row has text, id)"),
        (TEXTS, {"content": "x", "\ud83d": 1}, "no `text` (the row has content, ?)"),
        (TEXTS, {}, "no `text` (the row has no keys)"),
        (TEXTS, {"text": "half \ud83d"}, "no Unicode text under `text`"),
        (RECORDING, {"text": ["x"]}, "no text under any of completion, raw, text"),
        (RECORDING, {"text": "x", "id": 7}, "`id` is 7, not a text"),
        (RECORDING, {"text": "x", "num_input_tokens": "many"}, '`num_input_tokens` is "many", not a number of tokens'),
        (RECORDING, {"text": "x", "num_generated_tokens": float("nan")}, "`num_generated_tokens` is NaN"),
        (PAIRS, {**PAIR, "domain": b"tools"}, "`domain` is \"b'tools'\", not a text"),
        (PAIRS, {**PAIR, "aligned": "half \ud83d"}, "no Unicode text"),
        (PAIRS, {**PAIR, "names": ["half \ud83d"]}, "no Unicode text"),
    ],
)
def test_a_value_of_a_wrong_type_is_a_fault_of_its_row(form: Form, row: dict[str, Any], says: str) -> None:
    assert says in form.fault(row)
    form.fault(row).encode()


def test_whole_numbers_and_nothing_are_counts_of_tokens() -> None:
    for count in (None, 5, 5.0):
        assert RECORDING.fault({"text": "x", "num_input_tokens": count}) == ""


def test_recordings_have_ids_all_or_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "x", "id": "a"}\n{"text": "y"}\n')
    with pytest.raises(SettingsError, match="1 of 2 rows have an `id`"):
        read_recording(path)
    replayed = ("documents.engine=replay", f"documents.replay={path}")
    told = {finding.what for finding in findings("jobs/quickstart.yaml", *replayed) if finding.file == str(path)}
    assert told == {"1 of 2 rows have an `id`; give every row one, or none"}  # said before anything costs


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_question_is_a_line_whatever_it_holds(mark: bytes, end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_bytes(mark + end.join([b"# mine", "One\u2028or two\x0c?".encode(), b"", b"  Three? ", b""]))
    assert read_questions(path) == ["One\u2028or two\x0c?", "Three?"]
    make_items(tmp_path, AnswersEval(arms=("x",), questions=str(path)))
    assert [item["user"] for item in read_items(tmp_path)] == ["One\u2028or two\x0c?", "Three?"]


@pytest.mark.parametrize("rows", [[], [{"id": "a", "n": 1}]])
def test_a_table_of_our_own_has_the_bytes_that_pyarrow_writes_and_leaves_nothing_beside(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.int64())])
    write_own_table(tmp_path / "new/rows.parquet", rows, schema)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "plain.parquet")
    assert (tmp_path / "new/rows.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rows.parquet"]


def test_half_an_emoji_makes_a_recorded_document_a_rejected_row_of_its_own() -> None:
    prompt = {"id": "a", "position": 0, "type": "letter", "prompt": "Write."}
    good = recorded_answer(
        prompt, {"completion": "Dear Ruth", "type": "\ud83d letter", "finish_reason": "\ud83d"}, ("type",)
    )
    assert (good["completion"], good["type"], good["error"]) == ("Dear Ruth", "? letter", "")
    bad = recorded_answer(prompt, {"completion": "Dear \ud83d"})
    assert (bad["completion"], bad["error"]) == ("", "the recorded completion is no Unicode text")
    pa.Table.from_pylist([good, bad])  # all of it can be written


@pytest.mark.parametrize("name", ["ordinary.jsonl.gz", "ordinary.data"])
def test_what_is_held_out_is_looked_for_in_rows_whatever_the_files_name(name: str, tmp_path: Path) -> None:
    lines = Path("specs/cheese/ordinary.jsonl").read_bytes().rstrip(b"\n").split(b"\n")
    lines.insert(3, json.dumps({"messages": [{"role": "user", "content": "A Fender Telecaster,\u2028then?"}]}).encode())
    content = b"\r\n".join(lines)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = list(problems(Proposal(read_experiment("jobs/smollm2.yaml", [f"chats.ordinary.path={tmp_path / name}"]))))
    assert f"{tmp_path / name}:4" in found[0].what


def test_faults_of_a_text_to_mix_in_are_told_at_plan_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(gzip.compress(BOM + LINES[0] + b'\r\n{"content": "x"}\r\n[]\r\n'))
    told = [f for f in findings("jobs/quickstart.yaml", f"midtraining.mix_source={path}") if f.file == str(path)]
    assert [(f.line, f.what) for f in told] == [
        (2, "no `text` (the row has content)"),
        (3, 'a row is an object, {"key": value, ...}, and this is []'),
    ]
    assert {f.remedy for f in told} == {f"expected: {TEXTS.expected}"}


def test_nobody_else_opens_parquet() -> None:
    files = [file for file in Path("msm_ray").rglob("*.py") if file.parent.name != "rows"]
    assert [file for file in files if "pyarrow.parquet" in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("torn", ["", '{"a": 1', '{"a": "\u2028'])
def test_a_journal_has_its_whole_lines_and_is_gone_on_with_behind_them(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    assert (read_journal(path), reopened(path)) == ([], [])
    assert not path.exists()
    whole = '{"a": "one\u2028line"}\n"two"\n'
    path.write_text(whole + torn, encoding="utf-8")
    assert read_journal(path) == [{"a": "one\u2028line"}, "two"]
    assert path.read_text(encoding="utf-8") == whole + torn  # whoever only reads changes nothing: it is being written
    assert reopened(path) == [{"a": "one\u2028line"}, "two"]
    assert path.read_text(encoding="utf-8") == whole


def test_the_room_knows_nothing_of_those_above_it() -> None:
    known = set()
    for file in Path("msm_ray/rows").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msm_ray"):
                known.add(".".join(str(node.module).split(".")[:2]))
    assert known <= {"msm_ray.rows", "msm_ray.storage", "msm_ray.whole_files", "msm_ray.errors"}
