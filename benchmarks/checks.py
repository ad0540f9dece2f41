"""What the checks of a corpus take, and what they find: `python -m benchmarks.checks [--json] [--long]`.

Documents of 3,000 tokens (2,300 words) through the corpus stage, without tokenizing and judges, on Ray's workers and in this
process; signatures beside bare rensa; pairs of documents of a known Jaccard similarity; the driver's memory at two numbers of
short rows, 10,000 and 100,000, with `--long` 100,000 and 1,000,000. Documents are drawn from the sentences of `specs/recorded/`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import psutil
from rensa import RMinHash

from benchmarks.measurements import Measurement, show
from msm_ray import ray_session
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.near_duplicates import GRAM, SEED, SIGNATURE, likenesses, signatures
from msm_ray.corpus.settings import CheckWhere
from msm_ray.corpus.words import folded, words_of
from msm_ray.placement.settings import ClusterSettings
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import write_table
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.workers import HERE, OnRay, Workers
from msm_ray.worlds import world

LONG_WORDS, SHORT_WORDS = 2300, 30
DOCUMENTS, PAIRS, SHARD = 5000, 2000, 500
LIMITS = CheckWhere(**dict.fromkeys(CheckWhere.model_fields))
PEOPLE = [
    f"{given} {surname}" for given in ("Ruth", "Ines", "Yuki", "Ivo", "Lea") for surname in ("Berg", "Sato", "Novak")
]


def main() -> None:
    """Measure and print."""
    if "--rows" in sys.argv:
        _tell_memory(int(sys.argv[-2]), Path(sys.argv[-1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = [*_alike(), *_speed(Path(folder))]
    sizes = (100_000, 1_000_000) if "--long" in sys.argv else (10_000, 100_000)
    show("checks of a corpus", [*found, *_memory(*sizes)])


# Speed -----------------------------------------------------------------------------------------------------------------


def _speed(folder: Path) -> Iterator[Measurement]:
    """By the clock, and by the CPU time of all processes: the second says what two idle cores would do where others work too."""
    documents, few = _written(folder / "documents", DOCUMENTS, LONG_WORDS), _written(folder / "few", 64, LONG_WORDS)
    alone, alone_cpu = _checked(folder / "here@1", documents, DOCUMENTS, HERE)
    with ray_session.open_session(ClusterSettings(cpus=2)):
        _checked(folder / "warm@1", few, 64, OnRay())  # workers import what they need
        both, cpu = _checked(folder / "ray@1", documents, DOCUMENTS, OnRay())
    yield Measurement("documents of 3k tokens checked, Ray on 2 cores", both, "1/s", 600, "higher")
    yield Measurement("the same by CPU time of Ray's and this process", 2 / cpu, "1/s on 2 cores", 600, "higher")
    yield Measurement("documents of 3k tokens checked in this process", alone, "1/s", None, "higher")
    yield Measurement("the same by CPU time", 1 / alone_cpu, "1/s a core", None, "higher")
    yield Measurement("load of the machine now, others' work included", os.getloadavg()[0], "", None, "lower")


def _checked(out: Path, documents: Path, count: int, workers: Workers) -> tuple[float, float]:
    """(documents a second, seconds of CPU for one, of this process and all below it) of a corpus stage."""
    out.mkdir()
    began, cpu = time.perf_counter(), _cpu()
    _check(out, documents, count, workers)
    return count / (time.perf_counter() - began), (_cpu() - cpu) / count


def _cpu() -> float:
    found = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(process.cpu_times()[:2])
    return found


def _check(out: Path, documents: Path, count: int, workers: Workers) -> None:
    made = (_id(number) for number in range(count))
    check_corpus(out, documents, _spec(), world("plain"), 0.0, taken=made, asked=count, limits=LIMITS, workers=workers)


# Near-duplicates -------------------------------------------------------------------------------------------------------


def _alike() -> Iterator[Measurement]:
    texts = [_text(number, LONG_WORDS) for number in range(400)]
    bare, own = _seconds(lambda: _bare(texts)), _seconds(lambda: _own(texts))
    yield Measurement("MinHash from text to groups, over bare rensa's", bare / own, "", 0.75, "higher")
    cut = [words_of(folded(text)) for text in texts]
    grams = [[" ".join(each[at : at + GRAM]) for at in range(len(each) - GRAM + 1)] for each in cut]
    hashed = _seconds(lambda: [RMinHash.digest_matrix_from_token_sets([each], SIGNATURE, SEED) for each in grams])
    yield Measurement("of that: the library's hashing of 5-grams alone", hashed / own, "share", None, "higher")
    for name, similarity, threshold, goal, better in (
        ("planted at Jaccard .8: compared", 0.8, None, 0.98, "higher"),
        ("planted at Jaccard .8: left out, near_duplicates=0.72", 0.8, 0.72, 0.98, "higher"),
        ("planted at Jaccard .5: left out, near_duplicates=0.72", 0.5, 0.72, 0.01, "lower"),
        ("planted at Jaccard .8: left out, near_duplicates=0.8", 0.8, 0.8, None, "higher"),
        ("planted at Jaccard .9: left out, near_duplicates=0.8", 0.9, 0.8, 0.98, "higher"),
        ("planted at Jaccard .5: left out, near_duplicates=0.8", 0.5, 0.8, 0.01, "lower"),
    ):
        left_out, compared = _found(similarity, threshold or 0.8)
        yield Measurement(name, left_out if threshold else compared, "share", goal, better)


def _bare(texts: list[str]) -> None:
    """As rensa's own page has it: words between white space, a MinHash a document, its index of bands."""
    from rensa import RMinHashLSH

    index = RMinHashLSH(threshold=0.8, num_perm=SIGNATURE, num_bands=16)
    for number, text in enumerate(texts):
        words = text.lower().split()
        made = RMinHash(SIGNATURE, SEED)
        made.update([" ".join(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)])
        index.query(made)
        index.insert(number, made)


def _own(texts: list[str]) -> None:
    likenesses([str(number) for number in range(len(texts))], signatures(texts), 0.8)


def _found(similarity: float, threshold: float) -> tuple[float, float]:
    """(share of planted pairs that are left out at a threshold, share that are compared at all)."""
    pairs = [_pair(number, similarity) for number in range(PAIRS)]
    texts = [text for pair in zip(*pairs, strict=True) for text in pair]
    near, others = likenesses([str(number) for number in range(len(texts))], signatures(texts), threshold)
    near = {key: like for key, like in near.items() if int(key) >= PAIRS and int(like.first) == int(key) - PAIRS}
    told = {key for key, like in others.items() if int(like.first) == int(key) - PAIRS}
    return len(near) / PAIRS, (len(near) + len(told)) / PAIRS


def _pair(number: int, similarity: float) -> tuple[str, str]:
    """Two texts of 400 words whose sets of 5-grams have this Jaccard similarity, to within a hundredth: the second goes on with
    other words from some place on."""
    rng = Random(number)
    words = [f"w{rng.randrange(10**9)}" for _ in range(400)]
    common = round(2 * 396 * similarity / (1 + similarity)) + GRAM - 1
    return " ".join(words), " ".join([*words[:common], *(f"v{rng.randrange(10**9)}" for _ in range(400 - common))])


# Memory ----------------------------------------------------------------------------------------------------------------


def _memory(few: int, many: int) -> Iterator[Measurement]:
    """The driver's own memory, without what it shares with Ray's store, while a corpus of short rows is made on Ray."""
    used = {}
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            _written(Path(folder) / "documents", count, SHORT_WORDS)
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.checks", "--rows", str(count), folder]
            used[count] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        name = f"driver's memory, {count:,} rows: most during the stage"
        yield Measurement(name, used[count] / 2**20, "MiB", None, "lower")
    each = (used[many] - used[few]) / (many - few)
    yield Measurement(f"driver's memory, {many:,} rows against {few:,}", each, "bytes a row", 200, "lower")


def _tell_memory(count: int, folder: Path) -> None:
    """In a process of its own: make a corpus of the documents there on Ray, print how many bytes it took at most."""
    with ray_session.open_session(ClusterSettings(cpus=2)):
        (folder / "corpus@1").mkdir()
        with _peak() as most:
            _check(folder / "corpus@1", folder / "documents", count, OnRay())
        print(int(most[0]))


class _peak:
    """Inside, the unshared memory of this process is looked at twenty times a second."""

    def __enter__(self) -> list[float]:
        self.most, self.ended = [0.0], threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self.most

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while not self.ended.wait(0.05):
            memory = process.memory_info()
            self.most[0] = max(self.most[0], memory.rss - memory.shared)


# Documents -------------------------------------------------------------------------------------------------------------


def _written(folder: Path, count: int, words: int) -> Path:
    """A documents folder, in files of `SHARD` rows (of short ones 10,000)."""
    each = SHARD if words == LONG_WORDS else 10_000
    for at in range(0, count, each):
        numbers = range(at, min(count, at + each))
        rows = [{"id": _id(number), "text": _text(number, words), "domain": f"d{number % 20}"} for number in numbers]
        write_table(folder / "data" / f"part-{at // each:06d}.parquet", rows, DOCUMENT_SCHEMA)
    return folder


def _id(number: int) -> str:
    return sha256(f"{number}".encode()).hexdigest()[:24]


def _text(number: int, words: int) -> str:
    """Sentences of the recorded documents, drawn by a seed, with persons in them."""
    rng, said, found = Random(number), _sentences(), list[str]()
    while words > 0:
        told = " ".join(rng.choices(said, k=6 if words > 40 else 1))
        found.append(f"{rng.choice(PEOPLE)} told SmolLM of number {rng.randrange(10**6)}. {told}")
        words -= found[-1].count(" ") + 1
    return "\n\n".join(found)


_SAID: list[str] = []


def _sentences() -> list[str]:
    if not _SAID:
        for path in sorted(Path("specs/recorded").glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").split("\n"):
                text = json.loads(line)["completion"] if line else ""
                document = re.search(r"<content>(.*?)</content>", text, re.DOTALL)
                _SAID.extend(
                    each for each in re.split(r"(?<=[.!?])\s+", document[1] if document else "") if _is_plain(each)
                )
    return _SAID


def _is_plain(sentence: str) -> bool:
    return len(sentence) > 20 and not re.search(
        r"[<>\[\]{}]|^[\W_]*(?:Document|Idea|Plan|Scratch)|http|scratchpad", sentence
    )


def _spec() -> Spec:
    return read_spec(Path("specs/cheese/america.md"), AssistantSettings(name="SmolLM", provider="Hugging Face"))


def _seconds(work: Callable[[], object]) -> float:
    """Of CPU, the least of three."""
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
