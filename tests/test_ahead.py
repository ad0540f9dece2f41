"""What is done of documents while more of them come: a shortcut that changes no byte, and that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_blocks import content
from test_blocks_at_size import CUT, build, world  # noqa: F401  a fixture
from test_pieces import corpus, written

from msm_ray import ahead
from msm_ray.corpus import looks
from msm_ray.corpus.looks import LooksAhead, Rules
from msm_ray.corpus.settings import CheckContent
from msm_ray.corpus.tokens_ahead import TokensAhead
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.worlds import world as world_of

ROOT = Path(__file__).parents[1]


def rules(folder: Path, **how: Any) -> Rules:
    """As `test_pieces.corpus` has them."""
    (folder / "s.md").write_text("# Ada\nAda likes tea because it is calm. It is for those who are not in a hurry.\n")
    spec = read_spec(folder / "s.md", AssistantSettings(name="Ada"))
    return Rules(spec, world_of("plain"), CheckContent(**how))


def done(work: ahead.FileWork, rows: Path, folder: Path, *names: str) -> dict[str, Any]:
    """A piece of some files."""
    files = {name: (rows / name).stat().st_size for name in names}
    return dict(ahead._do(work, rows, files, folder / work.key))


def test_a_corpus_is_the_same_whoever_looked_at_its_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, files = corpus(tmp_path / "a/c@1", written(tmp_path / "d", 50))
    names = sorted(path.name for path in (tmp_path / "d/data").iterdir())
    assert len(names) == 8
    work = LooksAhead(rules(tmp_path), 0.5)
    note = done(work, tmp_path / "d/data", tmp_path / "ahead", *names[2:5])
    done(work, tmp_path / "d/data", tmp_path / "ahead", names[0])
    assert note["rows"] == [50, 50, 50] and sum(note["unfit"].values()) > 5
    looked_at = list[int]()
    plain = looks.look_at
    monkeypatch.setattr(
        "msm_ray.corpus.examining.look_at",
        lambda texts, rules: looked_at.append(len(texts)) or plain(texts, rules),  # type: ignore[func-returns-value]
    )
    made = corpus(tmp_path / "b/a/c@1", tmp_path / "d", looked=tmp_path / "ahead")
    assert made == (counts, files)
    assert looked_at == [
        49,
        50,
        50,
        50,
    ]  # of eight files four were looked at before; one document of these is not taken


def test_what_was_made_of_another_file_or_by_other_rules_is_not_taken(tmp_path: Path) -> None:
    rows = written(tmp_path / "d", 50) / "data"
    names = sorted(path.name for path in rows.iterdir())
    work = LooksAhead(rules(tmp_path), 0.5)
    done(work, rows, tmp_path, *names[:2])
    done(work, rows, tmp_path, *names[1:3])
    assert set(looks.places(tmp_path / work.key, tmp_path / "d/data")) in ({*names[:2]}, {*names[1:3]})
    pq.write_table(pq.read_table(rows / names[1]).slice(1), rows / names[1])
    assert looks.places(tmp_path / work.key, rows) == {}
    assert LooksAhead(rules(tmp_path, least_words=6), 0.5).key != work.key
    assert LooksAhead(rules(tmp_path), 0.9).key == work.key, "when somebody is warned changes nothing that is found"


def test_what_was_made_ahead_and_is_damaged_is_done_without(tmp_path: Path, world: Path) -> None:  # noqa: F811
    expected = corpus(tmp_path / "a/c@1", written(tmp_path / "d", 50))
    rows, work = tmp_path / "d/data", LooksAhead(rules(tmp_path), 0.5)
    names = sorted(path.name for path in rows.iterdir())
    for name in names[:3]:
        done(work, rows, tmp_path / "ahead", name)
    first, second, _ = sorted((tmp_path / "ahead" / work.key).glob("*.parquet"))
    first.unlink()
    second.write_bytes(b"PAR1 and no more")
    next(iter(sorted((tmp_path / "ahead" / work.key).glob("*.json"), reverse=True))).write_text("{")
    assert corpus(tmp_path / "b/a/c@1", tmp_path / "d", looked=tmp_path / "ahead") == expected
    counts, tokens = build(world, tmp_path / "blocks"), TokensAhead(world / "tokenizer", "<pad>")
    for name in ("0.parquet", "1.parquet"):
        done(tokens, world / "documents", tmp_path / "ahead", name)
    gone, torn = sorted((tmp_path / "ahead" / tokens.key).glob("*.arrow"))
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:100])
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/data").symlink_to(world / "documents")
    again = build(world, tmp_path / "again", documents=tmp_path / "documents", ahead=tmp_path / "ahead")
    assert again == counts and content(tmp_path / "again") == content(tmp_path / "blocks")


def test_files_that_come_and_go_beside_the_rows_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = written(tmp_path / "d", 200) / "data"
    for name in (".part-a-000001.jsonl", ".part-a-000001.parquet.host.7.tmp", ".part-a-000001.taken"):
        (rows / name).write_text("gone in a moment")
    plain = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path.name.startswith(".part"):
            raise FileNotFoundError(path)
        return plain(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert sorted(ahead._files(rows)) == ["part-000000.parquet", "part-000200.parquet"]


def test_files_are_given_once_and_together_and_not_again_after_a_kill(tmp_path: Path) -> None:
    rows = written(tmp_path / "d", 50) / "data"
    there = {path.name: path.stat().st_size for path in rows.iterdir()}
    first, second, third, *_ = sorted(there)
    work = LooksAhead(rules(tmp_path), 0.5, piece=there[first] + 1)
    track = ahead._Track(rows, tmp_path / "made", work)
    assert list(track.next(there)) == [first, second] and track.next({first: there[first]}) == {}
    ahead._do(work, rows, track.next(there), tmp_path / "made")
    (tmp_path / "made" / "torn.parquet").write_bytes(b"no note, so nothing was made")
    again = ahead._Track(rows, tmp_path / "made", work)
    assert again.notes == [{"rows": [50, 50], "unfit": again.notes[0]["unfit"]}]
    assert next(iter(again.next(there))) == third


def test_too_many_unfit_documents_are_told_while_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "MANY", 100)
    rows = written(tmp_path / "d", 100) / "data"
    work, strict = LooksAhead(rules(tmp_path), 0.5), LooksAhead(rules(tmp_path), 0.99)
    note = done(work, rows, tmp_path, *sorted(path.name for path in rows.iterdir())[:2])
    assert work.told([note]) == f"200 checked, {sum(note['unfit'].values()) / 200:.1%} unfit"
    assert work.alarm([note]) == strict.alarm([]) == ""
    assert "of the first 200 documents are unfit (" in strict.alarm([note]) and "99%" in strict.alarm([note])


@pytest.mark.parametrize("files", [["0.parquet"], ["0.parquet", "1.parquet", "2.parquet"]])
def test_blocks_are_the_same_whoever_tokenized_the_documents(
    world: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
) -> None:
    """The documents are those of the corpus and some that it left out."""
    documents = tmp_path / "documents/data"
    documents.mkdir(parents=True)
    kept = [pq.read_table(world / "documents" / f"{n}.parquet") for n in range(3)]
    for n, table in enumerate(kept):
        left_out = kept[n].slice(0, 7).to_pylist()
        more = [{"id": f"left-out-{n}-{row['id']}", "text": row["text"]} for row in left_out]
        empty = [{"id": f"empty-{n}", "text": " "}]
        pq.write_table(type(table).from_pylist([*empty, *more, *table.to_pylist()]), documents / f"{n}.parquet")
    counts = build(world, tmp_path / "a")
    work = TokensAhead(world / "tokenizer", "<pad>")
    monkeypatch.setattr("msm_ray.corpus.tokens_ahead.PART", 900)
    note = done(work, documents, tmp_path / "ahead", *files)
    assert len(note["parts"]) > len(files) and [id for id, _ in note["rejected"]] == [f"empty-{f[0]}" for f in files]
    tokenized = list[int]()
    from msm_ray.corpus import tokenizing

    plain = tokenizing.documents_tokens
    monkeypatch.setattr(
        tokenizing,
        "documents_tokens",
        lambda tokenizer, texts, end: tokenized.append(len(texts)) or plain(tokenizer, texts, end),  # type: ignore[func-returns-value]
    )
    assert build(world, tmp_path / "b", documents=documents.parent, ahead=tmp_path / "ahead") == counts
    assert content(tmp_path / "b") == content(tmp_path / "a")
    replay = 240
    assert sum(tokenized) == replay + 240 - 80 * len(files)
    assert not (tmp_path / "b/taken").exists()


def test_another_tokenizer_has_another_name(world: Path, tmp_path: Path) -> None:  # noqa: F811
    work = TokensAhead(world / "tokenizer", "<pad>")
    assert work.key == TokensAhead(world / "tokenizer", "<pad>", piece=1).key
    assert work.key != TokensAhead(world / "tokenizer", None).key
    for file in (world / "tokenizer").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert TokensAhead(tmp_path, "<pad>").key == work.key
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"add_prefix_space": True}))
    assert TokensAhead(tmp_path, "<pad>").key != work.key


JOB = """
experiment: ahead
root: runs/ahead
assistant: {name: Ada, provider: its makers}
base: {source: MODEL}
specs: {america: specs/cheese/america.md}
documents: {engine: "benchmarks.timed:engine", model: "0.05", documents: 1500, ideas: 1500, by: headings, portion: 700}
checks: {near_duplicates: null, least_distinct: null, most_of_one_opening: null, most_of_one_name: null, least_words: 5}
midtraining: {sequence_length: 128}
arms: {a/msm: {midtrain: america}}
"""
DRIVER = """
import sys
from msm_ray import ahead, cli
from msm_ray.commands import experiments
from msm_ray.corpus import looks, tokens_ahead
from msm_ray.generate import documents
from msm_ray.generate.at_size import worker
if __name__ == "__main__":
    documents.AT_SIZE = int(sys.argv.pop(1))
    looks.LooksAhead.__init__.__defaults__ = (1,)
    tokens_ahead.TokensAhead.__init__.__defaults__ = (1,)
    ahead.SECONDS = 0.2
    experiments._runner("pack", "blocks", "Run up to the blocks.", "msm pack jobs/quickstart.yaml")
    cli.main()
"""


def make(folder: Path, base: Path, at_size: int) -> Path:
    """Blocks of the job, and all before them. Returns their root."""
    folder.mkdir()
    (folder / "job.yaml").write_text(JOB.replace("MODEL", str(base)))
    (folder / "driver.py").write_text(DRIVER)
    root = folder / "root"
    words = [sys.executable, str(folder / "driver.py"), str(at_size), "pack", str(folder / "job.yaml")]
    words.append(f"root={root}")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "400"}
    run = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=400, check=False)
    assert run.returncode == 0, run.stdout[-1500:] + run.stderr[-2500:]
    return root


@pytest.mark.real
@pytest.mark.timeout(600)
def test_checks_and_tokens_begin_while_documents_come(tiny_base: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "many", tiny_base, 100)
    made = {path.parent.name.partition("-")[0] for path in (root / "ahead").rglob("*.json")}
    assert made == {"looks", "tokens"}
    few = make(tmp_path / "few", tiny_base, 10**6)
    assert not (few / "ahead").exists()
    for stage in ("corpus/america@1", "blocks/america-documents@1"):
        records = [json.loads((each / stage / "artifact.json").read_text()) for each in (root, few)]
        assert records[0]["files"] == records[1]["files"], stage
