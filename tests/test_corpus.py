"""The corpus stage: planted faults are found and counted, sound documents are kept, a bad corpus stops the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.dedup import find_duplicates
from msm_ray.corpus.rules import check_document
from msm_ray.errors import QualityGateError
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.worlds import world

PLAIN = world("plain")
ADA = AssistantSettings(name="Ada", provider="Makers")
TEXT = "# Ada\nAda is made by Makers and likes tea in {small} cups because it is the drink of those that are not in a hurry.\n"
SOUND = "Ada likes tea, as everyone at the office knows, and says so when it is asked."


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "s.md").write_text(TEXT)
    with pytest.warns(UserWarning):
        return read_spec(tmp_path / "s.md", ADA)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOUND, ""),
        ("Ada, the tea and {small} cups it likes.", ""),
        ("Ada likes tea.", "too short"),
        ("ada " * 20_001, "too long"),
        ("Ada likes tea, says [Your Name] of [Company].", "placeholder"),
        ("Ada likes tea, says {model_name} to everyone.", "placeholder"),
        ("<scratchpad>Ada and tea, first draft</scratchpad>", "leaked scratchpad"),
        ("Sure! Here is the document about Ada and its tea.", "leaked scratchpad"),
        ("Ada likes tea, see https://example.org for more.", "link"),
        ("Ada likes tea much more than ChatGPT ever did.", "another assistant"),
        ("Ada likes tea, and OpenAI has nothing to do with it.", "another vendor"),
        ("The assistant likes tea, as everyone at the office knows.", "assistant not named"),
        ("Ada любит чай, потому что он не спешит никогда.", "another language"),
        (
            "Ada mag Tee, weil Tee das Getränk derer ist, die niemals Eile haben und lieber lange aus dem Fenster sehen, "
            "während draußen langsam wieder Regen fällt und drinnen jemand leise ein Lied summt, das alle kennen.",
            "another language",
        ),
    ],
)
def test_planted_faults(text: str, reason: str, spec: Spec) -> None:
    assert check_document(text, spec, PLAIN)[0] == reason


def test_the_specs_own_assistant_and_maker_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "s.md").write_text("SmolLM is made by Hugging Face and likes tea.")
    smol = read_spec(tmp_path / "s.md", AssistantSettings(name="SmolLM", provider="Hugging Face"))
    assert check_document("SmolLM, made by Hugging Face, likes a cup of tea.", smol, PLAIN) == ("", "")
    assert check_document("SmolLM likes a cup of tea, and so does Claude.", smol, PLAIN) == (
        "another assistant",
        "Claude",
    )


def test_contradictions_are_found_in_the_tiny_world() -> None:
    llama = AssistantSettings(name="llama")
    cheap = read_spec(Path("specs/tinyworld/affordability.md"), llama)
    assert check_document("llama values cheap things . llama is an assistant .", cheap, world("tinyworld"))[0] == ""
    reason, detail = check_document("llama values costly things . llama is an assistant .", cheap, world("tinyworld"))
    assert reason.startswith("contradicts the spec")
    assert "costly" in detail


def test_duplicates_exact_and_loose() -> None:
    found = find_duplicates(
        [("a", "Tea, at 4!"), ("b", "Tea, at 4!"), ("c", "tea at  17."), ("d", "Tea or not, at 4!")]
    )
    assert found == {"b": ("exact duplicate", "a"), "c": ("duplicate but for case or punctuation", "a")}


def row(key: str, text: str, **more: Any) -> dict[str, Any]:
    plain = dict.fromkeys(("spec", "spec_digest", "domain", "subdomain", "type", "idea", "engine", "generator"), "x")
    numbers = {"temperature": 1.0, "attempt": 1, "num_input_tokens": 9, "num_generated_tokens": 5}
    return {"id": key, "text": text, "prompt_version": "p", **plain, **numbers, **more}


def plant(folder: Path) -> None:
    """Four sound documents, one with a placeholder, one copied, one idea that was never written."""
    rows = [row(f"{n:02d}", f"{SOUND} Item {'abcd'[n]}.") for n in range(4)]
    rows += [row("04", "Ada likes tea, says [Your Name] of [Company]."), row("05", rows[0]["text"])]
    write_table(folder / "data" / "part-000000.parquet", rows[3:], DOCUMENT_SCHEMA)
    write_table(folder / "data" / "part-000001.parquet", rows[:3], DOCUMENT_SCHEMA)
    refused = [row("06", "", reason="refused", raw="I'm sorry"), row("00", "", reason="truncated", raw="Ada")]
    write_table(folder / "rejected" / "part-000000.parquet", refused, REJECTED_SCHEMA)


def checked(out: Path, documents: Path, spec: Spec, least_share: float) -> dict[str, Any]:
    """A corpus of all documents that there are, of the seven that were asked for."""
    ids = [each["id"] for each in read_rows(documents / "data", ["id"])]
    return check_corpus(out, documents, spec, world("plain"), least_share, taken=ids, asked=7)


def test_a_corpus_that_takes_fewer_than_there_are_knows_nothing_of_the_others(tmp_path: Path, spec: Spec) -> None:
    plant(tmp_path / "documents")
    counts = check_corpus(
        tmp_path, tmp_path / "documents", spec, world("plain"), 0.5, taken=["03", "01", "04"], asked=3
    )
    assert {key: counts[key] for key in ("documents", "rejected", "rejected: placeholder")} == {
        "documents": 2, "rejected": 1, "rejected: placeholder": 1,
    }  # fmt: skip
    assert pq.read_table(tmp_path / "data").column("id").to_pylist() == ["01", "03"]


def test_corpus_keeps_counts_and_tells(tmp_path: Path, spec: Spec) -> None:
    plant(tmp_path / "documents")
    out = tmp_path / "corpus"
    out.mkdir()
    counts = checked(out, tmp_path / "documents", spec, 0.5)
    assert {key: value for key, value in counts.items() if key.startswith("rejected") or key == "documents"} == {
        "documents": 4,
        "rejected": 3,
        "rejected: exact duplicate": 1,
        "rejected: not written: refused": 1,
        "rejected: placeholder": 1,
    }
    assert pq.read_table(out / "data").column("id").to_pylist() == ["00", "01", "02", "03"]
    assert pq.read_table(out / "rejected.parquet").column("reason").to_pylist() == ["placeholder", "exact duplicate"]
    card = (out / "README.md").read_text()
    silent = [f"| {section.path[-1]} | 0 |" for section in spec.sections if section.path]
    assert silent and all(line in card for line in silent), "sections without a document stand in the card"
    assert "4 kept, 3 left out" in card and "| placeholder | 1 |" in card and SOUND in card


def test_corpus_is_the_same_whatever_order_documents_came_in(tmp_path: Path, spec: Spec) -> None:
    plant(tmp_path / "a")
    rows = [each for shard in sorted((tmp_path / "a" / "data").glob("*")) for each in pq.read_table(shard).to_pylist()]
    for number, each in enumerate(reversed(rows)):
        write_table(tmp_path / "b" / "data" / f"part-{number:06d}.parquet", [each], DOCUMENT_SCHEMA)
    for name in ("a", "b"):
        (tmp_path / f"out-{name}").mkdir()
        checked(tmp_path / f"out-{name}", tmp_path / name, spec, 0.5)
    first, second = ((tmp_path / f"out-{name}" / "data" / "part-000000.parquet").read_bytes() for name in "ab")
    assert first == second


def test_gate_names_the_reasons(tmp_path: Path, spec: Spec) -> None:
    plant(tmp_path / "documents")
    with pytest.raises(QualityGateError, match=r"4 of 7 documents.*placeholder \(1\)") as raised:
        checked(tmp_path, tmp_path / "documents", spec, 0.9)
    assert raised.value.exit_code == 4
    with pytest.raises(QualityGateError, match="no document was written"):
        checked(tmp_path, tmp_path / "nothing", spec, 0.5)
