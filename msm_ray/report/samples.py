"""What a page shows of the texts themselves, drawn by a fixed seed and not picked: documents, masks, transcripts, answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msm_ray.corpus.blocks import read_blocks, sample_texts
from msm_ray.graph.artifacts import Artifact
from msm_ray.report.results import Results
from msm_ray.report.subject import Subject
from msm_ray.rows.tables import read_data

DOCUMENTS, MASKED = 10, 2
Spans = list[tuple[str, bool]]


def corpora(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Per corpus: counts, what was dropped and why, and some documents."""
    found = []
    for artifact in (a for a in artifacts.values() if a.stage == "corpus"):
        rows = sorted(read_data(artifact.folder / "data", ["id", "text", "type"]), key=lambda r: r["id"])
        sample = random.Random(0).sample(rows, min(DOCUMENTS, len(rows)))
        found.append({"name": artifact.name, "counts": artifact.counts, "documents": sample})
    return found


def masks(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Per set of blocks: some of its texts as runs of text and whether their tokens carry loss, and how many do."""
    bases = [a.folder / "model/tokenizer.json" for a in artifacts.values() if a.stage == "base"]
    there = [file for file in bases if file.is_file()]
    if not there:
        return []
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(there[-1]))
    return [_masked(a, tokenizer) for a in artifacts.values() if a.stage == "blocks"]


def _masked(artifact: Artifact, tokenizer: Any) -> dict[str, Any]:
    blocks = read_blocks(artifact.folder)
    drawn = sample_texts(blocks, MASKED, random.Random(0))
    texts: list[Spans] = [
        [(tokenizer.decode(ids, skip_special_tokens=False), trained) for ids, trained in spans] for _, spans in drawn
    ]
    return {
        "name": artifact.name, "texts": texts, "trained": blocks.facts["trained_tokens"], "tokens": blocks.facts["tokens_kept"],
    }  # fmt: skip


def transcripts(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """Per eval and arm: one rollout of each condition."""
    return [
        {"eval": name, "arm": arm, "rows": list(_one_of_each_condition(name, arm, rows))}
        for name, rows in results.rows.items()
        if subject.evals[name].scored
        for arm in dict.fromkeys(row["arm"] for row in rows)
    ]


def _one_of_each_condition(name: str, arm: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    own = [row for row in rows if row["arm"] == arm]
    for condition in sorted({row["condition"] for row in own}):
        yield random.Random(f"{name} {arm} {condition}").choice([row for row in own if row["condition"] == condition])


def answers(subject: Subject, results: Results) -> list[dict[str, Any]]:
    """Per open-question eval: the questions, and what each arm answered (first seed)."""
    shown: list[dict[str, Any]] = []
    for name, how in subject.evals.items():
        if not how.scored:
            rows = [r for r in results.rows[name] if r["seed"] == 0]
            arms = list(dict.fromkeys(r["arm"] for r in rows))
            questions = dict.fromkeys(r["condition"] for r in rows)
            table = {q: {r["arm"]: r["answer"] for r in rows if r["condition"] == q} for q in questions}
            shown.append({"name": name, "arms": arms, "table": table})
    return shown
