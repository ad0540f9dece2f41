"""Verdicts on kept answers: deterministic for judges by rules, and made again from the same answers at any time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as arrow

from msm_ray.evals.answer_file import Answer, read_answers
from msm_ray.evals.items import read_items
from msm_ray.evals.judgement import Judgement
from msm_ray.evals.protocol import Judging, Rollout
from msm_ray.rows.tables import write_own_table
from msm_ray.stats import Verdict

FILE = "verdicts.parquet"
SCHEMA = arrow.schema(
    [(name, arrow.string()) for name in ("arm", "eval", "condition", "cluster", "sample")]
    + [("epoch", arrow.int32()), ("answer", arrow.string()), ("verdict", arrow.bool_()), ("status", arrow.string()),
       ("reason", arrow.string()), ("order", arrow.string()), ("question", arrow.string()), ("unit", arrow.string()),
       ("judge", arrow.string())]
)  # fmt: skip


SHARE = arrow.field("share", arrow.float64())
"""The verdict as a number from 0 to 1, a column only where some rollout has one; `verdict` then says if it is half or more."""


def write_verdicts(out: Path, rollouts: Path, items: Path, how: Judging) -> dict[str, int]:
    """Judge every rollout that was asked, answered or not, into `verdicts.parquet`, one row each in the items' order.

    rollouts, items: the folders of those stages. A rollout without an answer has status "error" and no verdict; it stays
    among the asked. Returns rows and how many of each status. Judging by a model resumes from `judgements.jsonl` in `out`, and
    raises `QualityGateError` where it gives too little that can be used.
    """
    job = json.loads((rollouts / "job.json").read_text(encoding="utf-8"))
    answers = read_answers(rollouts)
    asked: list[Rollout] = [
        (item, epoch, answers.get((item["id"], epoch)))
        for item in read_items(items)
        for epoch in range(1, item["epochs"] + 1)
    ]
    found = how.judge(out, asked)
    rows = [_row(job, *rollout, judgement) for rollout, judgement in zip(asked, found, strict=True)]
    shares = any(row["share"] is not None for row in rows)
    write_own_table(out / FILE, rows, SCHEMA.append(SHARE) if shares else SCHEMA)
    statuses = [judgement.status for judgement in found]
    return {
        "rows": len(rows),
        "clear": statuses.count("ok"),
        "unclear": statuses.count("unclear"),
        "cut off": statuses.count("cut off"),
        "unusable": statuses.count("unusable"),
        "failed": statuses.count("error"),
    }


def as_verdict(row: Mapping[str, Any]) -> Verdict:
    """A row of `verdicts.parquet` with its training seed, as the statistics take it."""
    return Verdict(
        row["arm"], row["eval"], row["condition"], row["cluster"], row["seed"], row["sample"],
        row["verdict"] if row.get("share") is None else row["share"],
        status=row["status"], unit=row.get("unit"),
    )  # fmt: skip


def _row(
    job: Mapping[str, Any], item: dict[str, Any], epoch: int, answer: Answer | None, found: Judgement
) -> dict[str, Any]:
    return {
        "arm": job["arm"], "eval": job["eval"], "condition": item["condition"], "cluster": item["cluster"], "sample": item["id"],
        "epoch": epoch, "answer": answer.text if answer else None, "verdict": found.verdict, "status": found.status,
        "reason": found.reason, "order": item.get("order"), "question": item["user"], "unit": item.get("unit") or item["id"],
        "judge": found.judge, "share": found.share,
    }  # fmt: skip
