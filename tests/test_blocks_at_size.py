"""Blocks where there is much to tokenize: in ranges, by many, interrupted, and always the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_blocks import CHAT, content, make_tokenizer, say

from msm_ray.corpus import packing
from msm_ray.corpus.block_cache import local_copy
from msm_ray.corpus.blocks import Blocks, read_blocks
from msm_ray.corpus.building import WORKING, Sizes, build_blocks
from msm_ray.corpus.parts import hash_of
from msm_ray.corpus.ranges import Packing, ranges_for
from msm_ray.corpus.tokenizing import Rendering, Tokenizing
from msm_ray.errors import StageError
from msm_ray.train.settings import TrainSettings

CUT = Sizes(of_range=2500, of_part=900, stretch=4000, batch=7)
"""Some ranges, many parts and stretches, where there are ten thousand tokens."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder; documents and replay in several files and row groups; chats, of which one cannot be trained on."""
    folder, rng = tmp_path_factory.mktemp("size"), random.Random(0)
    make_tokenizer().save_pretrained(folder / "tokenizer")
    for name, count, longest in (("documents", 240, 90), ("replay", 240, 40)):
        rows = [{"id": f"{name}{i:04d}", "text": say(rng, rng.randint(5, longest))} for i in range(count)]
        rng.shuffle(rows)
        write(folder / name, rows)
    chats = [
        {"id": f"c{i:04d}", "messages": [{"role": "user", "content": say(rng, 5)}, {"role": "assistant", "content": say(rng, 9)}]}
        for i in range(100)
    ]  # fmt: skip
    write(folder / "chats", [*chats, {"id": "mute", "messages": CHAT[:1]}])
    return folder


def write(folder: Path, rows: list[dict]) -> None:
    folder.mkdir()
    for n in range(3):
        pq.write_table(pa.Table.from_pylist(rows[n::3]), folder / f"{n}.parquet", row_group_size=20)


def build(world: Path, out: Path, kind: str = "documents", mix: float = 0.3, sizes: Sizes = CUT, **more) -> dict:
    out.mkdir(exist_ok=True)
    other = {"documents": "replay", "chats": "chats"}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the chat that cannot be trained on
        return build_blocks(
            out, kind=kind, main=world / kind, other=world / other, tokenizer=world / "tokenizer", seed=0, sizes=sizes,
            settings=TrainSettings(sequence_length=64, mix=mix), rendering=Rendering(separator="<pad>"), **more,
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["documents", "chats"])
def test_how_the_work_is_cut_up_changes_no_byte(world: Path, tmp_path: Path, kind: str) -> None:
    counts = build(world, tmp_path / "a", kind)
    expected = content(tmp_path / "a")
    assert len([name for name in expected if name.endswith(".arrow")]) == ranges_for(counts["tokens_in"], 2500) > 1
    for n, other in enumerate([Sizes(of_range=2500), replace(CUT, batch=64), replace(CUT, of_part=10**6, stretch=1)]):
        assert build(world, tmp_path / str(n), kind, sizes=other) == counts
        assert content(tmp_path / str(n)) == expected


def test_every_token_of_every_document_is_found_by_its_row(world: Path, tmp_path: Path) -> None:
    counts = build(world, tmp_path / "a")
    blocks, found = read_blocks(tmp_path / "a"), {}
    for number in range(len(blocks)):
        start = 0
        for origin in blocks.origins(number):
            found[origin.source, origin.id, origin.offset] = blocks[number].ids[start : start + origin.tokens].tolist()
            start += origin.tokens
        assert start == len(blocks[number].ids)
    joined: dict[tuple[int, str], list[int]] = {}
    for source, id, offset in sorted(found):
        assert offset == len(joined.setdefault((source, id), []))
        joined[source, id] += found[source, id, offset]
    tokenizer = make_tokenizer()
    for source, name in enumerate(("documents", "replay")):
        texts = {row["id"]: row["text"] for row in pq.read_table(world / name).to_pylist()}
        own = {id: tokenizer.decode(ids) for (origin, id), ids in joined.items() if origin == source}
        assert own == {id: f"{texts[id]} <pad>" for id in own}
        assert source or set(own) == set(texts)
    assert counts["texts"] == len(joined)


def test_no_text_shares_a_block_with_one_of_another_range(world: Path, tmp_path: Path) -> None:
    build(world, tmp_path / "a")
    blocks = read_blocks(tmp_path / "a")
    ranges = len(blocks.tables)
    number = 0
    for n, table in enumerate(blocks.tables):
        for _ in range(table.num_rows):
            assert {hash_of(origin.id) * ranges >> 64 for origin in blocks.origins(number)} == {n}
            number += 1
    with pytest.raises(IndexError):
        blocks[number]


def test_ranges_follow_from_the_tokens_alone() -> None:
    assert [ranges_for(tokens, 100) for tokens in (0, 1, 100, 101, 200, 201, 400, 401)] == [1, 1, 1, 2, 2, 4, 4, 8]


@pytest.mark.parametrize("seed", range(20))
def test_packing_keeps_whatever_comes(seed: int) -> None:
    """Any lengths, any spans of loss: tokens and trained tokens out are those in, but for the first of each piece."""
    rng = random.Random(seed)
    capacity, split = rng.choice([1, 2, 7, 64, 1000]), rng.random() < 0.5
    texts, token = [], 0
    for i in range(rng.randint(1, 60)):
        ids = list(range(token, token + rng.randint(1, capacity * (3 if split else 1))))
        token += len(ids)
        share = rng.random()
        labels = [id if rng.random() < share else -100 for id in ids]
        texts.append((packing.text_of(str(i), ids, labels), labels))
    table = packing.pack([text for text, _ in texts], capacity, split=split)
    blocks = Blocks([table], {})
    expected = Counter(
        label for _, labels in texts for place, label in enumerate(labels) if label >= 0 and place % capacity
    )
    assert sorted(token for block in blocks for token in block.ids.tolist()) == list(range(token))
    assert Counter(label for block in blocks for label in block.labels.tolist() if label >= 0) == expected
    assert blocks.trained.sum() == sum(expected.values())
    assert all(len(block.ids) <= capacity for block in blocks)


SLOW = """
import sys, time
from pathlib import Path
from test_blocks_at_size import build
from msm_ray.corpus import packing, tokenizing

def slowly(step):
    def slow(*given, **more):
        time.sleep(0.05)
        return step(*given, **more)
    return slow

tokenizing.write_part, packing.pack = slowly(tokenizing.write_part), slowly(packing.pack)
build(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("waits_for", ["tokens-000002.json", "range-000001.json"])
def test_a_killed_run_goes_on_with_what_it_has(
    world: Path, tmp_path: Path, waits_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, done = tmp_path / "out", Counter()
    path = os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(world), str(out)], env={**os.environ, "PYTHONPATH": path})
    while not (out / WORKING / waits_for).exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    there = len(list((out / WORKING).glob("tokens-*.json"))), len(list((out / WORKING).glob("range-*.json")))
    for kind in (Tokenizing, Packing):
        whole = kind.do
        monkeypatch.setattr(kind, "do", lambda self, n, whole=whole: (done.update([type(self)]), whole(self, n))[1])
    build(world, out)
    interrupted = done.copy()
    done.clear()
    build(world, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")
    assert (interrupted[Tokenizing], interrupted[Packing]) == (done[Tokenizing] - there[0], done[Packing] - there[1])
    assert 0 < interrupted[Packing] < done[Tokenizing] + done[Packing]


def test_what_was_begun_with_other_settings_is_not_gone_on_from(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **more: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
        patch.setattr(packing, "pack", no_room)
        build(world, tmp_path / "a", mix=0.2)
    build(world, tmp_path / "a")
    build(world, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.real
def test_rays_workers_write_the_same_bytes_and_say_what_is_wrong(
    world: Path, tmp_path: Path, ray_cluster: None
) -> None:
    counts, asked = build(world, tmp_path / "here"), []
    sizes = replace(CUT, here=0, stretch=8000)
    assert build(world, tmp_path / "there", sizes=sizes, need_ray=lambda: asked.append(True)) == counts
    assert asked and content(tmp_path / "there") == content(tmp_path / "here")
    file = world / "documents" / "1.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + bytes(2000) + whole[2004:])  # its footer is sound
    try:
        with pytest.raises(StageError, match=r"1\.parquet: cannot be read as Parquet"):
            build(world, tmp_path / "damaged", sizes=replace(CUT, here=0), need_ray=lambda: None)
    finally:
        file.write_bytes(whole)


def test_a_small_set_asks_for_no_ray(world: Path, tmp_path: Path) -> None:
    def never() -> None:
        raise AssertionError("Ray was asked for")

    build(world, tmp_path / "a", sizes=Sizes(), need_ray=never)


def test_a_node_has_one_copy_of_its_blocks_and_makes_room_for_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(world, tmp_path / "a")
    build(world, tmp_path / "b", mix=0.1)
    cache = tmp_path / "disk"
    assert local_copy(tmp_path / "a", None) == tmp_path / "a"
    first = local_copy(tmp_path / "a", cache)
    made = first.stat().st_ino
    assert first.parent == cache and local_copy(tmp_path / "a", cache).stat().st_ino == made
    own, copied = read_blocks(tmp_path / "a"), read_blocks(first)
    assert [block.ids.tolist() for block in own] == [block.ids.tolist() for block in copied]
    usage = shutil.disk_usage(cache)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage._replace(free=0 if list(cache.glob("blocks-*")) else 10**9)
    )
    second = local_copy(tmp_path / "b", cache)
    assert [path.name for path in cache.glob("blocks-*")] == [second.name], "the older one made room"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(StageError, match=r"there, 0\.0 are free; make room, or set cluster\.node_cache"):
        local_copy(tmp_path / "a", cache)


def test_a_copy_of_other_bytes_is_refused(world: Path, tmp_path: Path) -> None:
    build(world, tmp_path / "a")
    file = min((tmp_path / "a").glob("blocks-*.arrow"))
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    with pytest.raises(StageError, match=rf"{file.name}: other bytes than were written"):
        local_copy(tmp_path / "a", tmp_path / "disk")
    assert not list((tmp_path / "disk").glob("*blocks-*/*"))


def test_parts_that_are_gone_are_named(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "a", Packing.do

    def do(self: Packing, number: int) -> dict:
        next(iter(self.parts)).path.unlink(missing_ok=True)
        return whole(self, number)

    monkeypatch.setattr(Packing, "do", do)
    with pytest.raises(StageError, match=r"what was tokenized cannot be read.*remove .*a to have it made again"):
        build(world, out)
    monkeypatch.undo()
    shutil.rmtree(out)
    assert build(world, out)["blocks"] == len(read_blocks(out))


def test_texts_and_blocks_are_read_from_another_storage(world: Path, tmp_path: Path) -> None:
    """By fsspec: rows are tokenized from there, and blocks that lie there are copied to the node's disk."""
    far = pytest.importorskip("upath").UPath("memory://blocks")
    for path in (world / "documents").iterdir():
        (far / "documents").mkdir(parents=True, exist_ok=True)
        (far / "documents" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a").mkdir()
    build_blocks(
        tmp_path / "a", kind="documents", main=far / "documents", other=None, tokenizer=world / "tokenizer", seed=0, sizes=CUT,
        settings=TrainSettings(sequence_length=64), rendering=Rendering(separator="<pad>"),
    )  # fmt: skip
    build(world, tmp_path / "b", mix=0.0)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    (far / "made").mkdir(parents=True, exist_ok=True)
    for path in (tmp_path / "a").iterdir():
        (far / "made" / path.name).write_bytes(path.read_bytes())
    near = read_blocks(local_copy(far / "made", tmp_path / "disk"))
    assert [block.ids.tolist() for block in near] == [block.ids.tolist() for block in read_blocks(tmp_path / "a")]
