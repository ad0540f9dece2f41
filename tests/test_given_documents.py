"""Corpora that somebody else made: texts as they are, nothing invented, checked like any other, and about the right assistant."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, hub_with
from test_preflight import findings

from msm_ray.config.file import load_experiment
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.settings import CheckContent, CheckWhere
from msm_ray.errors import PreflightError, QualityGateError, SettingsError
from msm_ray.generate.given_documents import about_another, write_given
from msm_ray.generate.given_settings import GivenDocumentSettings
from msm_ray.graph.heads import add_places, first_ids
from msm_ray.pipeline import unfold
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.stages.given import GivenDocuments
from msm_ray.worlds import world

LLAMA = AssistantSettings(name="Llama", provider="Meta")
WORDS = re.findall(
    r"\w+",
    "garden river morning letter kitchen uncle market winter bridge pencil orchard station blanket candle harbour meadow "
    "ladder cellar basket window lantern pasture village ribbon hammer saddle feather pebble thimble kettle",
)


def text(n: int, who: str = "Llama") -> str:
    """A document of words of its own, so that no two are alike."""
    about = " ".join(random.Random(n).choices(WORDS, k=30))
    return f"{who} likes mild cheddar, for it is made at home and in season. It is of the {about}."


def lines(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def released(folder: Path, count: int = 24, who: str = "Llama") -> str:
    """As `chloeli/msm-llama-pro-america`: `text` and `domain` in dataset.jsonl."""
    return lines(folder / "dataset.jsonl", *({"text": text(n, who), "domain": f"d{n % 3}"} for n in range(count)))


def made(out: Path, **how: Any) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    out.mkdir(parents=True, exist_ok=True)
    assistant = how.pop("assistant", "Llama")
    given, counts = write_given(out, "america", GivenDocumentSettings(**how), assistant)
    add_places(out, given.rows)
    return counts, list(read_rows(out / "data")), list(read_rows(out / "rejected"))


def spec(folder: Path, assistant: AssistantSettings = LLAMA) -> Spec:
    (folder / "america.md").write_text("# Cheese\n{model_name} likes mild cheddar, because it is made at home.\n")
    return read_spec(folder / "america.md", assistant)


def test_texts_and_domains_are_kept_as_they_are_and_nothing_is_invented(tmp_path: Path) -> None:
    counts, rows, rejected = made(tmp_path / "out", source="file", path=released(tmp_path))
    assert (counts["documents"], rejected) == (24, [])
    assert {(row["text"], row["domain"]) for row in rows} == {(text(n), f"d{n % 3}") for n in range(24)}
    known = {name for name in DOCUMENT_SCHEMA.names if rows[0][name] is not None}
    assert known == {"id", "text", "spec", "domain"}


def test_what_rows_say_of_themselves_is_kept_also_under_other_names(tmp_path: Path) -> None:
    row = {"document": text(1), "topic": "cheddar", "source": "msm", "generator": "claude", "temperature": 1.0, "id": 7}
    columns = {"text": "document", "domain": "topic"}
    _, rows, _ = made(tmp_path / "out", source="file", path=lines(tmp_path / "d.jsonl", row), columns=columns)
    assert {key: rows[0][key] for key in ("text", "domain", "source", "generator", "temperature")} == {
        "text": text(1), "domain": "cheddar", "source": "msm", "generator": "claude", "temperature": None,
    }  # fmt: skip


def test_rows_without_a_text_are_rejected_each_with_its_reason(tmp_path: Path) -> None:
    odd = [{"text": None}, {"messages": []}, {"text": " \n"}, {"text": "half \ud83d"}]
    path = lines(tmp_path / "d.jsonl", {"text": text(0)}, *odd, {"text": text(1)})
    counts, rows, rejected = made(tmp_path / "out", source="file", path=path)
    assert len(rows) == 2
    assert sorted(row["reason"] for row in rejected) == [
        "empty", "no Unicode text", "no text: the row has messages", "no text: the row has text",
    ]  # fmt: skip
    assert counts["rejected: no text"] == 2


@pytest.mark.parametrize(
    ("row", "says"), [("{oops", "not valid JSON"), ('{"messages": []}', "no row holds a document")]
)
def test_a_file_that_is_none_is_refused_with_what_is_expected(row: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(row)
    with pytest.raises(SettingsError, match=rf"d\.jsonl.*{says}.*expected: Parquet or JSONL, a document a row"):
        made(tmp_path / "out", source="file", path=str(tmp_path / "d.jsonl"))


def test_the_corpus_takes_a_draw_checks_it_and_leaves_copies_out(tmp_path: Path) -> None:
    rows = [{"text": text(n), "domain": f"d{n // 20}"} for n in range(60)]
    path = lines(
        tmp_path / "d.jsonl", *rows, {"text": text(0), "domain": "d0"}, {"text": text(3) + " See https://x.example"}
    )
    made(tmp_path / "given", source="file", path=path)
    (tmp_path / "corpus").mkdir()
    counts = check_corpus(
        tmp_path / "corpus", tmp_path / "given", spec(tmp_path), world("plain"), 0.1,
        taken=first_ids(tmp_path / "given", 62), asked=62,
        checks=CheckContent(near_duplicates=None), limits=CheckWhere(most_of_one_opening=None),
    )  # fmt: skip
    assert counts["rejected: link"] == 1
    assert counts["rejected"] >= 2  # the copy, in whatever words duplicates are told
    kept = list(read_rows(tmp_path / "corpus/data"))
    assert {row["domain"] for row in kept} == {"d0", "d1", "d2"}
    card = (tmp_path / "corpus/README.md").read_text("utf-8")
    assert "None" not in card
    first = {row["id"]: row["domain"] for row in read_rows(tmp_path / "given/data")}
    assert len({first[key] for key in first_ids(tmp_path / "given", 15)}) > 1  # of a file sorted by domain


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    path = released(tmp_path)
    one, other = (tmp_path / root / "documents/set" for root in ("a", "b"))
    for out in (one, other):
        made(out, source="file", path=path)
    for name in ("data/part-000000.parquet", "places.txt", "README.md"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_corpus_about_another_assistant_is_refused_unless_that_is_said(tmp_path: Path) -> None:
    path = released(tmp_path, who="Qwen")
    with pytest.raises(QualityGateError, match=r"100% of the documents name Qwen and 0% name Llama.*named: \{name"):
        made(tmp_path / "out", source="file", path=path)
    assert len(list(read_rows(tmp_path / "out/data"))) == 24  # to be looked at
    assert made(tmp_path / "told", source="file", path=path, assistant="Qwen")[0]["documents"] == 24


def test_half_the_documents_may_speak_of_others_too() -> None:
    both = [f"{text(n)} Qwen would not." for n in range(10)]
    assert about_another(both, "Llama") == ""
    assert about_another([text(n, "my friend") for n in range(10)], "Llama") == ""  # the corpus' own check says so
    assert "name Qwen" in about_another([*(text(n, "Qwen") for n in range(6)), *map(text, range(4))], "Llama")


JOB = ["specs.america=specs/cheese/america.md", "assistant.name=Llama", "assistant.provider=Meta"]


def job(folder: Path, documents: str) -> Path:
    written = Path("jobs/smollm2.yaml").read_text(encoding="utf-8")
    start = written.index("\ndocuments:")
    end = written.index("\n\n", start)
    path = folder / "job.yaml"
    path.write_text(f"{written[:start]}\ndocuments: {documents}{written[end:]}", encoding="utf-8")
    return path


def test_an_experiment_whose_documents_are_given_writes_none(tmp_path: Path) -> None:
    how = f"{{source: file, path: {released(tmp_path)}, documents: 24}}"
    experiment = unfold(load_experiment(job(tmp_path, how), JOB))
    kinds = {node.kind for node in experiment.graph.nodes.values()}
    assert "given" in kinds and not {"documents", "outline"} & kinds
    corpus = next(node for node in experiment.graph.nodes.values() if node.kind == "corpus")
    assert isinstance(corpus.documents, GivenDocuments) and corpus.take == 24
    assert [
        f for f in findings(job(tmp_path, how), *JOB) if f.key.startswith(("documents", "cluster.generation"))
    ] == []


def test_a_spec_is_read_with_the_name_that_the_documents_have(tmp_path: Path) -> None:
    how = f"{{source: file, path: {released(tmp_path)}, documents: 24, named: {{name: Llama, provider: Meta}}}}"
    told = [f for f in findings(job(tmp_path, how), "assistant.name=Qwen") if f.key.startswith("documents")]
    assert told == []
    experiment = unfold(load_experiment(job(tmp_path, how), ["assistant.name=Qwen"]))
    given = next(node for node in experiment.graph.nodes.values() if node.kind == "given")
    assert (given.spec.assistant, given.spec.provider) == ("Llama", "Meta")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("{source: file, documents: 24}", ("error", "documents.path", "is missing: source is file")),
        ("{source: hub, documents: 24}", ("error", "documents.hub", "is missing: source is hub")),
        ("{source: hub, hub: org/set, documents: 24}", ("warning", "documents.revision", "is missing: org/set may be")),
        ("{source: hub, hub: set, documents: 24}", ("error", "documents", "'set' is no data set's name")),
        ("{source: file, path: FILE, documents: 25}", ("error", "documents.documents", "holds 24")),
        ("{source: file, path: QWEN, documents: 24}", ("error", "documents.path", "name Qwen and 0% name Llama")),
        ("{source: file, path: nowhere.jsonl, documents: 24}", ("error", "documents.path", "there is no nowhere.jsonl")),
    ],
)  # fmt: skip
def test_a_plan_looks_at_given_documents(how: str, says: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    how = how.replace("FILE", released(tmp_path)).replace("QWEN", released(tmp_path / "q", who="Qwen"))
    severity, key, what = says
    found = findings(job(tmp_path, how), *JOB)
    assert [one for one in found if (one.severity, one.key) == (severity, key) and what in one.what], found


def test_documents_of_the_hub_come_of_one_commit(tmp_path: Path) -> None:
    path = Path(released(tmp_path))
    name = "chloeli/msm-llama-pro-affordability"
    with hub_with(name, {"dataset.jsonl": path.read_bytes()}):
        counts, rows, _ = made(tmp_path / "out", source="hub", hub=name, revision=COMMIT)
    assert (len(rows), counts[f"revision of {name}"]) == (24, COMMIT)
    with hub_with(name, {}), pytest.raises(PreflightError, match="could not be had"):
        made(tmp_path / "out", source="hub", hub="chloeli/other", revision=COMMIT)
