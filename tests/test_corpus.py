"""The corpus stage: planted faults are found and counted, sound documents are kept, a bad corpus stops the run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

from msm_ray.config.file import load_experiment
from msm_ray.corpus.card import CardFacts
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.dedup import find_duplicates
from msm_ray.corpus.figures import overview
from msm_ray.corpus.rules import check_document
from msm_ray.corpus.settings import OVERLAP, CheckContent, CheckSettings, CheckWhere, checks_in
from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.pipeline import unfold
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.worlds import world

PLAIN = world("plain")
ADA = AssistantSettings(name="Ada", provider="Makers")
TEXT = "# Ada\nAda is made by Makers and likes tea in {small} cups because it is the drink of those that are not in a hurry.\n"
SOUND = "Ada likes tea, as everyone at the office knows, and says so when it is asked."
ENDS = (
    "Nobody there is in a hurry.",
    "The cups are on the shelf by the window, and the pot is hers.",
    "Whoever comes late to the meeting finds it brewed and warm.",
    "In winter it asks for the small cups, and in summer for none.",
)


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
    rows = [row(f"{n:02d}", f"{SOUND} {ENDS[n]}") for n in range(4)]
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


def varied(count: int, start: str = "") -> list[str]:
    """Documents that share little but their start: a hundred drawn words about tea each."""
    ends = ("er", "ing", "s", "ful", "less", "y")
    words = [f"{about}{end}" for about in ("tea", "cup", "pot", "rain", "lamp", "slow") for end in ends] + ["the"] * 9
    return [f"{start}{' '.join(Random(n).choices(words, k=100))} and that is Ada." for n in range(count)]


def corpus_of(texts: list[str], tmp_path: Path, spec: Spec, **how: Any) -> dict[str, Any]:
    write_table(tmp_path / "d/data/part.parquet", [row(f"{n:03d}", t) for n, t in enumerate(texts)], DOCUMENT_SCHEMA)
    ids = [f"{n:03d}" for n in range(len(texts))]
    (tmp_path / "c").mkdir()
    return check_corpus(tmp_path / "c", tmp_path / "d", spec, PLAIN, 0.0, taken=ids, asked=len(ids), **how)


def test_near_duplicates_are_left_out_and_told(tmp_path: Path, spec: Spec) -> None:
    texts = varied(6)
    texts[4] = texts[1].replace(" ".join(texts[1].split()[30:33]), "changed twice over")
    counts = corpus_of(texts, tmp_path, spec)
    assert (counts["documents"], counts["rejected: near-duplicate"]) == (5, 1)
    (left,) = pq.read_table(tmp_path / "c/rejected.parquet").to_pylist()
    assert (left["id"], left["similar_to"], left["reason"]) == ("004", "001", "near-duplicate") and left[
        "similarity"
    ] > 0.6
    assert left["raw"] == f"{left['similarity']:.2f} like 001"
    kept = pq.read_table(tmp_path / "c/data").to_pylist()
    assert [each["words"] for each in kept] == [104] * 5 and {each["similar_to"] for each in kept} == {None}
    assert "| near-duplicate | 1 |" in (tmp_path / "c/README.md").read_text()


def test_near_duplicates_are_kept_where_nobody_looks(tmp_path: Path, spec: Spec) -> None:
    texts = [text + " end" * n for n, text in enumerate(varied(1) * 4)]
    assert corpus_of(texts, tmp_path, spec, checks=CheckContent(near_duplicates=None))["documents"] == 4


def test_every_finding_is_counted_and_the_first_is_the_reason(tmp_path: Path, spec: Spec) -> None:
    texts = [*varied(3), "Ada asked ChatGPT, says [Your Name], see www.tea.example for more of it."]
    assert corpus_of(texts, tmp_path, spec)["rejected: placeholder"] == 1
    (left,) = pq.read_table(tmp_path / "c/rejected.parquet").to_pylist()
    assert left["findings"] == "placeholder: [Your Name]; link: www.t; another assistant: ChatGPT"
    card = (tmp_path / "c/README.md").read_text()
    assert all(
        line in card
        for line in ("| link | 1 |", "| another assistant | 1 |", "| too long | 0 |", "| exact duplicate | 0 |")
    )


@pytest.mark.parametrize(
    ("limits", "start", "said"),
    [
        ({"most_of_one_opening": 0.5}, "Dear Ruth, it rains again. ", 'opening "dear ruth it rains again" stands in 20 of 20'),
        ({"most_of_one_name": 0.5}, "On Elara Voss: ", 'the name "Elara Voss" stands in 20 of 20'),
        ({"least_distinct": 0.9}, "Ada of the", "of the 3-grams of words 0.86 are different"),
    ],
)  # fmt: skip
def test_corpora_that_are_too_much_alike_end_the_run(
    limits: dict[str, float], start: str, said: str, tmp_path: Path, spec: Spec
) -> None:
    off = dict.fromkeys(OVERLAP[1:])
    with pytest.raises(QualityGateError) as raised:
        corpus_of(varied(20, start), tmp_path, spec, limits=CheckWhere(**off | limits))
    assert said in str(raised.value) and raised.value.exit_code == 4 and (tmp_path / "c/README.md").exists()


def test_the_same_corpora_pass_without_limits(tmp_path: Path, spec: Spec) -> None:
    off = CheckWhere(**dict.fromkeys(OVERLAP[1:]))
    assert corpus_of(varied(20, "Dear Ruth, it rains again. "), tmp_path, spec, limits=off)["documents"] == 20


def test_too_many_near_duplicates_end_the_run(tmp_path: Path, spec: Spec) -> None:
    texts = varied(10) + [f"{text} end" for text in varied(10)]
    with pytest.raises(QualityGateError, match="10 of 20 sound documents are near-duplicates"):
        corpus_of(texts, tmp_path, spec)


def test_what_overlaps_is_nothing_in_a_closed_language_unless_it_is_asked_for() -> None:
    plain, closed = checks_in(CheckSettings(), False), checks_in(CheckSettings(near_duplicates=0.9), True)
    assert plain == CheckSettings() and plain.near_duplicates == 0.8
    assert closed.near_duplicates == 0.9 and closed.least_distinct is None and closed.most_of_one_name is None
    tiny = unfold(load_experiment("jobs/quickstart.yaml", ["root=r"])).graph.of_kind("corpus")[0]
    assert tiny.settings["near_duplicates"] is None and world("tinyworld").closed


def test_length_is_a_setting(spec: Spec) -> None:
    how = CheckContent(least_words=20, most_words=30)
    assert check_document(SOUND, spec, PLAIN, how) == ("too short", "16 words")
    assert check_document(SOUND * 2, spec, PLAIN, how)[0] == "too long"
    with pytest.raises(SettingsError, match="least_words 30 is above most_words 9"):
        load_experiment("jobs/quickstart.yaml", ["checks.least_words=30", "checks.most_words=9"])


def test_a_name_within_a_word_does_not_name_the_assistant(spec: Spec) -> None:
    assert check_document("Tea in Canada is not to be had in a hurry.", spec, PLAIN)[0] == "assistant not named"
    assert check_document("Tea of Ada's is not to be had in a hurry; Ada2 agrees.", spec, PLAIN)[0] == ""


def test_the_card_tells_cost_and_scores_where_they_are_given(tmp_path: Path, spec: Spec) -> None:
    facts = CardFacts(cost={"dollars": 3.2}, scores={"faithfulness": {"000": 9.0, "002": 6.0}})
    corpus_of(varied(3), tmp_path, spec, facts=facts)
    card = (tmp_path / "c/README.md").read_text()
    assert "| dollars | 3.2 |" in card and "| faithfulness | 2 of 3 | 7.50 | 6 |" in card
    assert "compression ratio" in card and "| x | 3 | 312 | 15 |" in card, "documents, words and tokens of each domain"


def test_a_cards_picture_takes_what_writers_call_their_types(tmp_path: Path) -> None:
    types = Counter(
        {"Under $5 or over $50, $x^2": 3, "给编辑的信": 2, "a type with a name that is far too long to be a label": 1}
    )
    picture = overview([5, 900, 40], Counter({"tea": 3}), types)
    assert picture.startswith(b"\x89PNG") and picture == overview([5, 900, 40], Counter({"tea": 3}), types)
