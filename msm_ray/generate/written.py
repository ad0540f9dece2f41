"""What a folder of documents holds: counted by columns, file by file, and each document's digest, in the outline's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_outcomes import ENGINE_FAILED
from msm_ray.generate.document_rows import job_ids
from msm_ray.graph.heads import row_digest
from msm_ray.rows.ids import ID, Order, packed_array, unpacked
from msm_ray.rows.tables import read_table, read_table_rows

Counts = dict[str, int | float | str]

MANY_FILES = 64
"""From so many files on, Ray's workers read them."""
DIGEST = np.dtype("S32")
TOKENS = ["num_input_tokens", "num_generated_tokens"]


def document_counts(job: DocumentJob) -> Counts:
    """Documents, ideas without one and why, tokens read and written."""
    ids, tokens, read, written = [np.zeros(0, ID)], 0, 0, 0
    for path in _files(job, "data"):
        table = read_table(path, ["id", "tokens", *TOKENS])
        ids.append(packed_array(table["id"].to_pylist()))
        tokens += pc.sum(table["tokens"]).as_py() or 0
        read, written = (
            was + (pc.sum(table[name]).as_py() or 0) for was, name in zip((read, written), TOKENS, strict=True)
        )
    done = Order(np.unique(np.concatenate(ids)))
    answers, last = 0, dict[bytes, tuple[int, str]]()
    for path in _files(job, "rejected"):
        table = read_table(path, ["id", "attempt", "reason", *TOKENS])
        answers += len(table)
        read, written = (
            was + (pc.sum(table[name]).as_py() or 0) for was, name in zip((read, written), TOKENS, strict=True)
        )
        keys = packed_array(table["id"].to_pylist())
        attempts, reasons = table["attempt"].to_pylist(), table["reason"].to_pylist()
        _, accepted = done.find(keys)
        for place in np.flatnonzero(~accepted).tolist():
            told = (attempts[place] or 0, reasons[place])
            last[keys[place]] = max(last.get(keys[place], told), told)
    counted = Counter(_short(reason) for _, reason in last.values())
    found: Counts = {
        "documents": len(done.ids),
        "rejected": len(last),
        "answers_rejected": answers,
        "tokens_read": read,
        "tokens_written": written,
        **({"target_tokens_reached": 1} if job.target_tokens and tokens >= job.target_tokens else {}),
    }
    return found | {f"rejected: {reason}": count for reason, count in sorted(counted.items())}


def accepted_digests(job: DocumentJob) -> Iterator[tuple[str, str]]:
    """(id, digest) of each document in the order of its outline: sections in turn."""
    ids = job_ids(job)
    order = Order(ids)
    digests, there = np.zeros(len(ids), DIGEST), np.zeros(len(ids), bool)
    for keys, found in _digests(_files(job, "data")):
        at, ours = order.find(keys)
        digests[at[ours]], there[at[ours]] = found[ours], True
    for place in np.flatnonzero(there).tolist():
        yield unpacked(ids[place]), bytes(digests[place]).ljust(DIGEST.itemsize, b"\0").hex()


def _digests(files: list[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and digests of the rows of each file; read by Ray's workers where there are many and Ray is up."""
    if len(files) < MANY_FILES:
        yield from map(_file_digests, files)
        return
    import ray

    if not ray.is_initialized():
        yield from map(_file_digests, files)
        return
    task = ray.remote(_file_digests)
    for first in range(0, len(files), MANY_FILES):
        yield from ray.get([task.remote(path) for path in files[first : first + MANY_FILES]])


def _file_digests(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = read_table_rows(path)
    return packed_array(row["id"] for row in rows), np.array([bytes.fromhex(row_digest(row)) for row in rows], DIGEST)


def _files(job: DocumentJob, folder: str) -> list[Path]:
    return sorted((job.out / folder).glob("*.parquet"))


def _short(reason: str) -> str:
    return "engine" if reason.startswith(ENGINE_FAILED) else reason
