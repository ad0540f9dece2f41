"""Verdicts on kept answers: deterministic for judges by rules, and made again from the same answers at any time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as arrow

from msm_ray.config import AgenticEval, AnswersEval, EvalSettings
from msm_ray.evals.answer_file import Answer, read_answers
from msm_ray.evals.items import read_items
from msm_ray.evals.judges import Judgement, judge_action, judge_preference
from msm_ray.evals.reading import read_answer
from msm_ray.rows.tables import write_own_table
from msm_ray.stats import Verdict

FILE = "verdicts.parquet"
SCHEMA = arrow.schema(
    [(name, arrow.string()) for name in ("arm", "eval", "condition", "cluster", "sample")]
    + [("epoch", arrow.int32()), ("answer", arrow.string()), ("verdict", arrow.bool_()), ("status", arrow.string()),
       ("reason", arrow.string()), ("order", arrow.string()), ("question", arrow.string()), ("unit", arrow.string()),
       ("judge", arrow.string())]
)  # fmt: skip

Rollout = tuple[dict[str, Any], int, Answer | None]


def write_verdicts(out: Path, rollouts: Path, items: Path, how: EvalSettings) -> dict[str, int]:
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
    found = _judge(out, asked, how)
    rows = [_row(job, *rollout, judgement) for rollout, judgement in zip(asked, found, strict=True)]
    write_own_table(out / FILE, rows, SCHEMA)
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
        row["arm"], row["eval"], row["condition"], row["cluster"], row["seed"], row["sample"], row["verdict"],
        status=row["status"], unit=row.get("unit"),
    )  # fmt: skip


def _judge(out: Path, asked: Sequence[Rollout], how: EvalSettings) -> list[Judgement]:
    read = [read_answer(answer, how) for _, _, answer in asked]
    if isinstance(how, AgenticEval) and how.judge == "model":
        from msm_ray.evals.model_judge import judge_by_model

        texts = [
            (item, epoch, text) for (item, epoch, _), text in zip(asked, read, strict=True) if isinstance(text, str)
        ]
        found = iter(judge_by_model(out, texts, str(how.judge_model)))
        return [next(found) if isinstance(text, str) else text for text in read]
    return [
        _by_rules(item, text, how) if isinstance(text, str) else text
        for (item, *_), text in zip(asked, read, strict=True)
    ]


def _by_rules(item: dict[str, Any], text: str, how: EvalSettings) -> Judgement:
    if isinstance(how, AnswersEval):
        return Judgement(None, "ok", "not scored")
    if isinstance(how, AgenticEval):
        return judge_action(item, text)
    return judge_preference(item, text, how.aligned_words)


def _row(
    job: Mapping[str, Any], item: dict[str, Any], epoch: int, answer: Answer | None, found: Judgement
) -> dict[str, Any]:
    return {
        "arm": job["arm"], "eval": job["eval"], "condition": item["condition"], "cluster": item["cluster"], "sample": item["id"],
        "epoch": epoch, "answer": answer.text if answer else None, "verdict": found.verdict, "status": found.status,
        "reason": found.reason, "order": item.get("order"), "question": item["user"], "unit": item.get("unit") or item["id"],
        "judge": found.judge,
    }  # fmt: skip
