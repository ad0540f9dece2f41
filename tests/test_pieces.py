"""A corpus is the same, however its documents are cut into pieces and whoever looks at them: this process or Ray's workers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from msm_ray import workers
from msm_ray.corpus import checks, deciding, gathering, sorting_out
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.dedup import EXACT, find_duplicates
from msm_ray.corpus.exchange import BANDS, DIGESTS, Share, band_hashes, duplicates, groups, links, shares
from msm_ray.corpus.near_duplicates import bands_for, compare, likenesses, signatures
from msm_ray.corpus.settings import CheckContent, CheckWhere
from msm_ray.corpus.words import LETTERS, PLAIN_WORD, WORD, folded, loose, words_of
from msm_ray.errors import StageError
from msm_ray.generate.faithfulness import Faithful, sample
from msm_ray.graph.heads import add_places, each_first_id, first_ids
from msm_ray.rows.pieces import pieces, rows_with
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.workers import WORTH_RAY, Here, OnRay, Workers, workers_for
from msm_ray.worlds import world

WORDS = [f"{a}{b}" for a in ("tea", "cup", "pot", "rain", "lamp") for b in ("er", "ing", "s", "ful", "less")] + [
    "the"
] * 6
FAULTS = ["See https://tea.example.", "Ask ChatGPT.", "Dear [Your Name],", "OpenAI and Claude met.", "TODO: the end"]
ALL = CheckWhere(**dict.fromkeys(CheckWhere.model_fields))


def documents(count: int = 400) -> list[str]:
    """Sound ones, faulty ones, copies, copies in capitals, and near-duplicates of what came before, in chains too."""
    rng, texts = Random(5), list[str]()
    for number in range(count):
        said = " ".join(rng.choices(WORDS, k=rng.randint(60, 90)))
        text = f"Ruth Berg told Ada of {said}."
        if texts and number % 3 == 0:
            words = rng.choice(texts[-20:]).split()
            for _ in range(rng.randint(0, 3)):
                words[rng.randrange(len(words))] = f"new{rng.randrange(10**6)}"
            text = " ".join(words)
        text = text.upper() if number % 11 == 0 else f"{text} {rng.choice(FAULTS)}" if number % 13 == 0 else text
        texts.append(text)
    return texts


def rows() -> list[dict[str, Any]]:
    rng, found = Random(6), []
    for number, text in enumerate(documents()):
        key = sha256(f"{number}".encode()).hexdigest()[:24]
        more = {"domain": f"d{number % 5}", "subdomain": rng.choice([None, "tea"]), "type": rng.choice(["memo", None])}
        found.append(
            {"id": key, "text": text, "num_generated_tokens": rng.choice([None, 9]), "spec_digest": "x"} | more
        )
    return found


def written(folder: Path, each: int, backwards: bool = False) -> Path:
    """The documents, so many a file."""
    made = rows()[::-1] if backwards else rows()
    for at in range(0, len(made), each):
        write_table(folder / "data" / f"part-{at:06d}.parquet", made[at : at + each], DOCUMENT_SCHEMA)
    refused = [{"id": f"r{n}", "reason": "refused: no"} for n in range(4)]
    write_table(folder / "rejected" / "part-0.parquet", refused, REJECTED_SCHEMA)
    return folder


def corpus(
    out: Path, documents: Path, who: Workers = workers.HERE, looked: Path | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Its record and its files. A few of the documents are judged, and the last two are not taken."""
    out.mkdir(parents=True, exist_ok=True)
    (out.parent / "s.md").write_text(
        "# Ada\nAda likes tea because it is calm. It is for those who are not in a hurry.\n"
    )
    spec = read_spec(out.parent / "s.md", AssistantSettings(name="Ada"))
    ids = sorted(row["id"] for row in rows())[:-2]
    judged = {key: Faithful(3 + number % 6, "wrong") for number, key in enumerate(ids[::9])}
    counts = check_corpus(
        out, documents, spec, world("plain"), 0.0, taken=iter(ids), asked=404, limits=ALL, judged=judged, workers=who,
        looked=looked,
    )  # fmt: skip
    return counts, {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets how small everything is cut: bytes of a piece, files of a look, documents compared by one, parts, writers."""

    def cut(piece: int, files: int, compared: int, parts: int, writers: int) -> None:
        monkeypatch.setattr(gathering, "_piece", lambda size: piece)
        monkeypatch.setattr(gathering, "FILES", files)
        monkeypatch.setattr(checks, "COMPARED", compared)
        monkeypatch.setattr(checks, "parts_for", lambda rows: parts)
        monkeypatch.setattr(checks, "MOST_WRITERS", writers)
        monkeypatch.setattr(checks, "LEAST_SENT", 1)

    for module in (checks, sorting_out):
        monkeypatch.setattr(module, "SHARD_ROWS", 40)
    return cut


def test_bytes_do_not_depend_on_files_pieces_batches_or_parts(
    tmp_path: Path, cut_small: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, files = corpus(tmp_path / "a/c@1", written(tmp_path / "d", 500))
    assert sum(name.startswith("data/") for name in files) > 3 and counts["rejected: near-duplicate"] > 20
    assert (
        min(counts[f"rejected: {name}"] for name in ("exact duplicate", "unfaithful", "link", "another assistant")) > 0
    )
    assert (
        counts["rejected: duplicate but for case or punctuation"] > 0 and counts["rejected: not written: refused"] == 4
    )
    written(tmp_path / "e", 70, backwards=True)
    written(tmp_path / "f", 1)
    for number, (folder, cut) in enumerate(
        [("e", (1000, 2, 5, 3, 2)), ("f", (3000, 64, 1, 7, 1)), ("e", (9000, 1, 50, 1, 9)), ("d", (500, 1, 2, 2, 3))]
    ):
        cut_small(*cut)
        monkeypatch.setattr("msm_ray.corpus.looks.BATCH", 1 + 4 * number)
        assert corpus(tmp_path / f"b{number}/a/c@1", tmp_path / folder) == (counts, files)


def test_what_a_killed_run_left_behind_is_in_no_corpus(tmp_path: Path) -> None:
    made = corpus(tmp_path / "c@1", written(tmp_path / "d", 100))
    for name in (".part-000000.parquet.tmp", "part-000009.parquet"):
        shutil.copy(tmp_path / "c@1/data/part-000000.parquet", tmp_path / "c@1/data" / name)
    assert corpus(tmp_path / "c@1", tmp_path / "d") == made


@pytest.mark.parametrize("damage", [b"PAR1 and no more", b""])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    written(tmp_path / "d", 100)
    (tmp_path / "d/data/part-000100.parquet").write_bytes(damage)
    with pytest.raises(StageError, match=r"part-000100\.parquet: cannot be read as Parquet"):
        corpus(tmp_path / "c@1", tmp_path / "d")


def test_a_file_without_texts_is_named(tmp_path: Path) -> None:
    written(tmp_path / "d", 100)
    write_table(tmp_path / "d/data/part-000100.parquet", rows()[:1], DOCUMENT_SCHEMA.remove(1))
    with pytest.raises(StageError, match=r"part-000100\.parquet: .*text.*make it again"):
        corpus(tmp_path / "c@1", tmp_path / "d")


@pytest.mark.real
def test_rays_workers_make_the_same_bytes_and_tell_of_a_damaged_file(
    ray_cluster: None, tmp_path: Path, cut_small: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)  # as `root=runs/mine` is
    made = corpus(tmp_path / "c@1", written(tmp_path / "d", 70))
    cut_small(4000, 2, 20, 3, 2)
    shutil.rmtree(tmp_path / "c@1/data")
    here = Path(tmp_path.name)
    assert corpus(here / "c@1", here / "d", OnRay()) == made
    file = tmp_path / "d/data/part-000070.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:40] + b"\0" * (len(whole) - 2000) + whole[len(whole) - 1960 :])  # its footer is sound
    with pytest.raises(StageError, match=r"part-000070\.parquet: cannot be read as Parquet"):
        corpus(tmp_path / "c@1", tmp_path / "d", OnRay())


@pytest.mark.real
def test_a_piece_of_a_worker_that_dies_is_looked_at_by_another(ray_cluster: None, tmp_path: Path) -> None:
    assert OnRay().get([OnRay().call(die_once, tmp_path / "died")]) == ["done"]


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return "done"


def test_ray_starts_for_many_documents_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(workers, "_is_up", lambda: bool(asked))
    monkeypatch.setattr(workers, "_has_room", lambda: True)
    assert isinstance(workers_for(WORTH_RAY - 1, lambda: asked.append(1)), Here) and not asked
    assert isinstance(workers_for(WORTH_RAY, lambda: asked.append(1)), OnRay) and asked
    assert isinstance(workers_for(WORTH_RAY // 4, lambda: None), OnRay), "it runs already"
    monkeypatch.setattr(workers, "_has_room", lambda: False)
    assert isinstance(workers_for(WORTH_RAY, lambda: None), Here), "an engine holds every CPU"


def exchanged(texts: list[str], threshold: float, parts: int, most: int) -> list[NDArray[Any]]:
    """What is found in texts that come in two pieces."""
    signed, ranks = signatures(texts), np.arange(len(texts))
    given = []
    for place in (slice(None, None, 2), slice(1, None, 2)):
        given.append(
            shares(np.empty(0, DIGESTS), band_hashes(signed[place], ranks[place], bands_for(threshold)), parts)
        )
    linked = [links(np.zeros(0, np.int64), *share) for share in zip(*given, strict=True)]
    pieced = [(ranks[place], signed[place]) for place in (slice(1, None, 2), slice(None, None, 2))]
    return [compare(each, threshold, *pieced) for each in groups(np.concatenate(linked), most)]


@pytest.mark.parametrize(("threshold", "parts", "most"), [(0.8, 1, 1000), (0.8, 4, 3), (0.5, 3, 1), (0.95, 2, 10)])
def test_groups_of_an_exchange_are_resolved_as_all_documents_one_after_the_other(
    threshold: float, parts: int, most: int
) -> None:
    texts = documents(300)
    found = np.concatenate(exchanged(texts, threshold, parts, most))
    near, others = likenesses([str(n) for n in range(300)], signatures(texts), threshold)
    assert len(near) > 10
    for expected, is_near in ((near, True), (others, False)):
        told = {str(each["rank"]): str(each["first"]) for each in found if each["near"] == is_near}
        assert told == {key: like.first for key, like in expected.items()}


def test_nothing_in_common_is_no_group() -> None:
    assert exchanged(["tea for two and two for tea", "rain on a window all the night long"], 0.8, 2, 5) == []
    assert links(np.zeros(0, np.int64), Share(np.empty(0, DIGESTS), np.empty(0, BANDS))).shape == (0, 2)


def test_duplicates_of_an_exchange_are_those_of_all_documents_one_after_the_other() -> None:
    texts = documents(300) + ["Tea!", "tea", "tea", "Tea!"]
    expected = find_duplicates([(str(n), text) for n, text in enumerate(texts)])
    table = np.empty(len(texts), DIGESTS)
    for rank, text in enumerate(texts):
        table[rank] = (hash(loose(folded(text))) % 2**64, 1, hash(text) % 2**64, rank)
    given = [shares(table[place], np.empty(0, BANDS), 3) for place in (slice(1, None, 2), slice(None, None, 2))]
    found = [duplicates(*share) for share in zip(*given, strict=True)]
    told = {
        str(rank): (bool(exact), str(first))
        for each in found
        for rank, first, exact in zip(*map(np.ndarray.tolist, each), strict=True)
    }
    assert told == {key: (reason == EXACT, first) for key, (reason, first) in expected.items()}


ODD = "abzWXkſıİßΣς'’“”—…_#0123٣½²Ⅷ①ñéカ漢字ｆｕ\u00a0\u2028\n \t.,:/()[]{}<>|-*@"


def test_words_are_those_of_the_patterns() -> None:
    rng = Random(1)
    for _ in range(3000):
        said = folded("".join(rng.choices(ODD, k=rng.randint(0, 60))))
        plain = len(said.encode()) < 1.02 * len(said)
        assert words_of(said) == (PLAIN_WORD if plain else WORD).findall(said)
        assert loose(said).decode() == " ".join(LETTERS.findall(re.sub(r"\d+", " # ", said)))


def test_pieces_have_every_row_once_in_order() -> None:
    files = [(Path(f"{n}"), rows, rows * 10) for n, rows in enumerate([3, 0, 50, 1, 1, 1, 9])]
    cut = pieces(files, 100)
    parts = [part for piece in cut for part in piece]
    assert [(str(p.path), row) for p in parts for row in range(p.start, p.stop)] == [
        (str(path), row) for path, count, _ in files for row in range(count)
    ]
    assert all(sum(map(len, piece)) <= 10 for piece in cut) and len(cut) < 12
    assert pieces([], 100) == []


def test_rows_with_ids_come_in_the_order_of_the_ids(tmp_path: Path) -> None:
    written(tmp_path / "d", 70)
    ids = [row["id"] for row in rows()][5:300:40][::-1]
    found = rows_with(tmp_path / "d/data", [*ids, "nobody"])
    there = {row["id"]: row for row in read_rows(tmp_path / "d/data")}
    assert found == [there[key] for key in ids]


def test_a_sample_is_drawn_by_hashes_and_a_larger_one_holds_it(tmp_path: Path) -> None:
    ids = [row["id"] for row in rows()]
    few, more = sample(iter(ids), 5), sample(reversed(ids), 20)
    assert more[:5] == few and len(set(more)) == 20 and few != sorted(few) and sample(ids[:3], 9) != []
    add_places(tmp_path, rows())
    assert list(each_first_id(tmp_path, 7)) == first_ids(tmp_path, 7) == ids[:7]
    assert list(each_first_id(tmp_path / "nothing", 7)) == []


def test_parts_begin_where_so_many_rows_are_full() -> None:
    ranks = np.array([3, 4, 7, 9, 12])
    assert deciding.starts(ranks, 2).tolist() == [0, 7, 12] and deciding.starts(ranks[:0], 2).tolist() == [0]
    assert list(deciding.places_of(25, 10)) == list(range(0, 20, 2)) and list(deciding.places_of(3, 10)) == [0, 1, 2]


def test_near_duplicates_are_not_looked_for_where_nobody_asks(tmp_path: Path) -> None:
    (tmp_path / "s.md").write_text("# Ada\nAda likes tea because it is calm. It is for those who are not in a hurry.\n")
    spec = read_spec(tmp_path / "s.md", AssistantSettings(name="Ada"))
    written(tmp_path / "d", 100)
    counts = check_corpus(
        tmp_path / "c@1", tmp_path / "d", spec, world("plain"), 0.0, taken=[row["id"] for row in rows()], asked=400,
        checks=CheckContent(near_duplicates=None), limits=ALL,
    )  # fmt: skip
    assert counts.get("rejected: near-duplicate", 0) == 0
    assert {row["similar_to"] for row in read_rows(tmp_path / "c@1/data")} == {None}
