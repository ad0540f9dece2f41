"""The corpus stage: documents in, checked and deduplicated corpus out, with its card, or a quality gate that says why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from msm_ray import progress
from msm_ray.corpus.card import corpus_card
from msm_ray.corpus.dedup import find_duplicates
from msm_ray.corpus.rules import check_document
from msm_ray.errors import QualityGateError
from msm_ray.rows.dataset_card import CARD
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA, Row
from msm_ray.rows.tables import clean, read_rows, write_table
from msm_ray.spec import Spec, section_names
from msm_ray.whole_files import write_whole
from msm_ray.worlds import World

SHARD_ROWS = 10_000


def check_corpus(
    out: Path, documents: Path, spec: Spec, world: World, least_share: float, *, taken: Collection[str], asked: int
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet`, `rejected.parquet` and its card in `out` from the documents folder `documents`.

    taken: ids of the documents that are looked at, of the `asked` that there should be. The same documents give the same
    bytes. Raises QualityGateError when less than `least_share` of the ideas
    became a document that is kept; the files are written all the same, so that they can be looked at.
    """
    clean(out)
    chosen = frozenset(taken)
    written = sorted((row for row in read_rows(documents / "data") if row["id"] in chosen), key=lambda row: row["id"])
    kept, rejected = _sort_out(written, spec, world)
    for old in (out / "data").glob("*.parquet"):
        old.unlink()
    for start in range(0, max(1, len(kept)), SHARD_ROWS):
        write_table(
            out / "data" / f"part-{start // SHARD_ROWS:06d}.parquet", kept[start : start + SHARD_ROWS], DOCUMENT_SCHEMA
        )
    write_table(out / "rejected.parquet", rejected, REJECTED_SCHEMA)
    reasons = Counter(row["reason"] for row in rejected)
    if len(written) < asked:
        reasons += _never_written(documents)
    sections = [name for _, name in section_names(spec.sections)]
    write_whole(out / CARD, corpus_card(spec, kept, reasons, len(written), sections))
    _gate(spec, len(kept), reasons, least_share, out)
    return {
        "documents": len(kept),
        "rejected": sum(reasons.values()),
        "words": sum(len(row["text"].split()) for row in kept),
        "tokens_written": sum(row["num_generated_tokens"] or 0 for row in kept),
    } | {f"rejected: {reason}": count for reason, count in sorted(reasons.items())}


def _sort_out(written: list[Row], spec: Spec, world: World) -> tuple[list[Row], list[Row]]:
    """(kept, rejected). A document that fails a check does not make its copies duplicates."""
    rejected: list[Row] = []
    fit: list[Row] = []
    for row in progress.over(written, f"corpus/{spec.name}", "documents checked"):
        reason, detail = check_document(row["text"], spec, world)
        (rejected if reason else fit).append(row | ({"reason": reason, "raw": detail} if reason else {}))
    compared = progress.over(fit, f"corpus/{spec.name}", "documents compared")
    duplicates = find_duplicates((row["id"], row["text"]) for row in compared)
    kept = [row for row in fit if row["id"] not in duplicates]
    rejected += [
        row | {"reason": duplicates[row["id"]][0], "raw": f"the same as {duplicates[row['id']][1]}"}
        for row in fit
        if row["id"] in duplicates
    ]
    return kept, sorted(rejected, key=lambda row: row["id"])


def _never_written(documents: Path) -> Counter[str]:
    """Ideas that never became a document, by the last reason given."""
    done = {row["id"] for row in read_rows(documents / "data", ["id"])}
    last = {
        row["id"]: row["reason"] for row in read_rows(documents / "rejected", ["id", "reason"]) if row["id"] not in done
    }
    return Counter("not written: " + reason.partition(": ")[0] for reason in last.values())


def _gate(spec: Spec, kept: int, reasons: Counter[str], least_share: float, out: Path) -> None:
    asked = kept + sum(reasons.values())
    if asked and kept / asked >= least_share:
        return
    listed = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common()) or "no document was written"
    raise QualityGateError(
        f"Corpus {spec.name}: {kept} of {asked} documents were kept, less than the share least_share={least_share:g} "
        f"asks for. Why: {listed}. See {out / 'rejected.parquet'}; mend the spec, the writer or its prompt, or lower least_share."
    )
