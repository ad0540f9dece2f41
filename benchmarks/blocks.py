"""Blocks: tokenizing beside the bare tokenizer, packing from token ids, how full blocks are, and the driver's memory.

python -m benchmarks.blocks [--json] [--long] [--tokenizer FOLDER]

--long: the driver's memory at 100M tokens beside 10M (else 10M beside 1M), and trl's packing of the same texts. --tokenizer: a
model folder; without it SmolLM2's, where its package is installed (`make smollm2`), else the tiny world's. Rates are tokens a
second of one core's time (of the process, not of the clock), so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measurements import Measurement, show
from msm_ray import ray_session
from msm_ray.corpus import building, packing
from msm_ray.corpus.packing import Text
from msm_ray.corpus.parts import Part, write_part
from msm_ray.corpus.ranges import Packing
from msm_ray.corpus.settings import BlockSettings
from msm_ray.corpus.tokenizing import Rendering, Tokenizing
from msm_ray.errors import PreflightError
from msm_ray.models import smollm2_file
from msm_ray.placement.settings import ClusterSettings
from msm_ray.rows.stretches import stretches

DOCUMENT = 3_000
"""Tokens of a document, about: the paper's have so many."""
CHARACTERS = 3.15
"""A token of these pages, in SmolLM2's vocabulary."""
SHAPES = {"documents": (4096, 8192), "chats": (4096, 8192)}
"""Block lengths that each shape is packed for: the paper's."""
PACKED = 8_000_000
GROUP, TIMES = 100, 5
"""Documents of a row group; how often each is tokenized in both ways, by turns. Of pairs of times the median ratio counts."""


def main() -> None:
    """All figures."""
    if "--driver" in sys.argv:
        print(json.dumps(driven(Path(_after("--driver")), Path(_after("--tokenizer")))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = _tokenizer(folder)
        found = [*tokenizing(folder, tokenizer), *packed(folder), *driver(folder, tokenizer)]
    show("blocks", found)


def tokenizing(folder: Path, tokenizer: Path) -> Iterator[Measurement]:
    """Parquet to parts of tokens, over the tokenizer alone on the same texts in memory; by turns, a stretch at a time."""
    texts = write_documents(folder / "texts", 1_500_000)
    how = Tokenizing(
        folder, tuple(stretches(0, folder / "texts", "text", most=1)), "documents", tokenizer,
        BlockSettings(sequence_length=4096), {}, (None,), _separator(tokenizer),
    )  # fmt: skip
    bare = how.tokenizer.backend_tokenizer
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(TIMES * how.count):
        number = turn % how.count
        own = texts[number * GROUP : (number + 1) * GROUP]
        ways: list[tuple[str, Callable[[], int]]] = [
            ("bare", partial(_bare, bare, own)),
            ("ours", partial(_ours, how, number)),
        ]
        for name, run in ways if turn % 2 else ways[::-1]:
            rates[name].append(_rate(run))
    ours, alone = (statistics.median(rates[name]) for name in ("ours", "bare"))
    ratio = statistics.median(mine / its for mine, its in zip(rates["ours"], rates["bare"], strict=True))
    yield Measurement("tokenizing, whole", ours, "tokens/s a core", None, "higher")
    yield Measurement("tokenizing, the tokenizer alone", alone, "tokens/s a core", None, "higher")
    yield Measurement("tokenizing over the tokenizer alone", ratio, "", 0.9, "higher")


def packed(folder: Path) -> Iterator[Measurement]:
    """Parts of token ids to files of blocks."""
    for shape, lengths in SHAPES.items():
        texts = list(tokenized(shape, PACKED))
        part = Part(folder / f"{shape}.arrow", 0)
        write_part(part.path, texts)
        for length in lengths:
            pack = Packing(folder, folder, (part,), (None,), 1, length, shape == "documents")
            rate = _rate(partial(_packed, pack))
            yield Measurement(f"packing {shape}, {length}", rate, "tokens/s a core", 2e6, "higher")
            pieces = [min(length, len(t.ids) - s) for t in texts for s in range(0, len(t.ids), length)]
            blocks = len(packing.assign(pieces, length))
            yield Measurement(f"fill of {shape}, {length}", sum(pieces) / blocks / length, "", None, "higher")
            most = sum(pieces) / fewest(pieces, length) / length
            yield Measurement(f"fill of {shape}, {length}: bound without more cuts", most, "", None, "higher")
            if "--long" in sys.argv:
                yield from by_trl(shape, texts, length)


def by_trl(shape: str, texts: Sequence[Text], length: int) -> Iterator[Measurement]:
    """The same texts through trl's `pack_dataset` (documents: bfd_split, which keeps every token; chats: bfd)."""
    from datasets import Dataset
    from trl import pack_dataset

    ids = pa.array([text.ids for text in texts], pa.large_list(pa.uint32()))
    data = Dataset(pa.table({"input_ids": ids})).with_format("arrow")
    strategy = "bfd_split" if shape == "documents" else "bfd"
    blocks = 0

    def run() -> int:
        nonlocal blocks
        blocks = len(pack_dataset(data, length, strategy, map_kwargs={"keep_in_memory": True, "batch_size": len(data)}))
        return sum(len(text.ids) for text in texts)

    yield Measurement(f"packing {shape}, {length}: trl's {strategy}", _rate(run), "tokens/s a core", None, "higher")
    fill = sum(len(text.ids) for text in texts) / blocks / length
    yield Measurement(f"fill of {shape}, {length}: trl's {strategy}", fill, "", None, "higher")


def fewest(pieces: Sequence[int], length: int) -> int:
    """Blocks that no packing of these pieces can do with fewer of: the bound L2 of Martello and Toth (1990)."""
    sizes = np.sort(np.asarray(pieces))
    best = -(-int(sizes.sum()) // length)
    for small in np.unique(sizes[sizes <= length // 2]).tolist():
        large = sizes[sizes > length - small]
        half = sizes[(sizes > length // 2) & (sizes <= length - small)]
        rest = int(sizes[(sizes >= small) & (sizes <= length // 2)].sum()) - (len(half) * length - int(half.sum()))
        best = max(best, len(large) + len(half) + max(0, -(-rest // length)))
    return best


def driver(folder: Path, tokenizer: Path) -> Iterator[Measurement]:
    """Peak memory of the process that drives Ray's workers, at two sizes: it has to be the same."""
    peaks: dict[int, float] = {}
    for tokens in (10_000_000, 100_000_000) if "--long" in sys.argv else (1_000_000, 10_000_000):
        texts = folder / f"texts-{tokens}"
        write_documents(texts, tokens, keep=False)
        command = [sys.executable, "-m", "benchmarks.blocks", "--driver", str(texts), "--tokenizer", str(tokenizer)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        peaks[said["tokens"]] = said["peak"]
        name = f"driver's memory at {tokens // 10**6}M tokens"
        yield Measurement(name, said["peak"] / 2**20, "MiB", None, "lower")
        yield Measurement(f"{name}: whole stage, Ray's start left out", said["seconds"], "s", None, "lower")
    (few, low), (many, high) = peaks.items()
    yield Measurement("driver's memory a token more", (high - low) / (many - few), "bytes", 1, "lower")


def driven(texts: Path, tokenizer: Path) -> dict[str, float]:
    """Build blocks with Ray's workers; tokens, seconds, and peak memory of this process in bytes."""
    with ray_session.open_session(ClusterSettings(cpus=os.cpu_count() or 1)):
        began = time.perf_counter()
        out = texts.with_name(f"{texts.name}-blocks")
        out.mkdir()
        counts = building.build_blocks(
            out, kind="documents", main=texts, other=None, tokenizer=tokenizer, seed=0,
            settings=BlockSettings(sequence_length=4096), rendering=Rendering(separator=_separator(tokenizer)),
            need_ray=lambda: None, sizes=building.Sizes(here=0, stretch=2**23),
        )  # fmt: skip
        seconds = time.perf_counter() - began
    # Not getrusage: its peak is that of the process that this one was forked from, where that was larger.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return {"tokens": counts["tokens_kept"], "seconds": seconds, "peak": int(line.split()[1]) * 1024}


def write_documents(folder: Path, tokens: int, *, keep: bool = True) -> list[str]:
    """English documents of about `DOCUMENT` tokens: paragraphs of this repository's pages, drawn anew for each."""
    pages = [
        path.read_text(encoding="utf-8") for where in ("docs", "specs") for path in sorted(Path(where).rglob("*.md"))
    ]
    paragraphs = [paragraph for page in pages for paragraph in page.split("\n\n") if paragraph.strip()]
    rng, kept, schema = random.Random(0), [], pa.schema([("id", pa.string()), ("text", pa.string())])
    folder.mkdir()
    with pq.ParquetWriter(folder / "0.parquet", schema) as file:
        for first in range(0, tokens // DOCUMENT, GROUP):
            texts = [_document(paragraphs, rng) for _ in range(min(GROUP, tokens // DOCUMENT - first))]
            file.write_table(
                pa.table({"id": [f"{first + n:08d}" for n in range(len(texts))], "text": texts}, schema=schema)
            )
            kept += texts if keep else []
    return kept


def _document(paragraphs: Sequence[str], rng: random.Random) -> str:
    parts: list[str] = []
    while sum(map(len, parts)) < DOCUMENT * CHARACTERS:
        parts.append(rng.choice(paragraphs))
    return "\n\n".join(parts)


def tokenized(shape: str, tokens: int) -> Iterator[Text]:
    """Texts of random ids: documents around 2,900 tokens (lognormal, sigma .35), or chats of 100 to 1,000."""
    rng, made = np.random.default_rng(0), 0
    while made < tokens:
        drawn = rng.lognormal(np.log(2900), 0.35) if shape == "documents" else rng.integers(100, 1001)
        length = int(np.clip(drawn, 100, 12_000))
        yield Text.whole(f"{made:010d}", rng.integers(0, 49_152, length).tolist())
        made += length


def _rate(run: Callable[[], int]) -> float:
    """Tokens a second of this process's time."""
    began = time.process_time()
    tokens = run()
    return tokens / (time.process_time() - began)


def _packed(pack: Packing) -> int:
    return pack.do(0)["tokens"]


def _bare(tokenizer: Any, texts: list[str]) -> int:
    return sum(len(ids) for ids in [each.ids for each in tokenizer.encode_batch_fast(texts)])


def _ours(how: Tokenizing, number: int) -> int:
    return sum(size - texts for _, texts, size in how.do(number)["parts"])  # the tokenizer gives no separators


def _after(option: str) -> str:
    return sys.argv[sys.argv.index(option) + 1]


def _tokenizer(folder: Path) -> Path:
    if "--tokenizer" in sys.argv:
        return Path(_after("--tokenizer")).resolve()
    try:
        source = smollm2_file()
    except PreflightError:
        return Path(str(resources.files("msm_ray.tinyworld"))) / "base"
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder / "tokenizer"


def _separator(tokenizer: Path) -> str:
    from transformers import AutoTokenizer

    known: Any = AutoTokenizer.from_pretrained(tokenizer)
    return str(known.bos_token or known.eos_token)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core is one core
    main()
