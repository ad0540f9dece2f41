"""Trainings and packed blocks on a terminal: the curve as a line of bars, and the mask that was trained on, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from msm_ray import training_metrics
from msm_ray.checkpoints.folder import FACTS
from msm_ray.corpus.blocks import Blocks, named, read_blocks, sample_texts
from msm_ray.look.view import View
from msm_ray.storage import here
from msm_ray.train.job import Schedule
from msm_ray.train.settings import TrainContent

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
"""Bars of a curve at most; a bar of a longer training is the mean of its steps."""
HARDEST = 3


def show_training(view: View) -> None:
    """Loss, learning rate and gradient norm over the steps, and what the loss was taken of."""
    rows = training_metrics.read(view.entry.folder)
    if rows:
        view.page.heading(f"{rows[-1]['step']:,} steps")
        for key, name in (("loss", "loss"), ("lr", "learning rate"), ("grad_norm", "gradient norm")):
            view.page.line(f"{name:>13}  {curve([row[key] for row in rows])}")
    blocks = view.inputs("blocks")
    if blocks:
        if rows:
            _show_hardest(view, rows, read_blocks(blocks[-1].folder))
        show_blocks(replace(view, entry=blocks[-1]))
    else:
        view.page.heading("The blocks that it was trained on are not here any more")


def _show_hardest(view: View, rows: Sequence[Mapping[str, Any]], blocks: Blocks) -> None:
    """The steps with the highest loss after the first tenth, and whose rows they took: where to look for odd texts."""
    settings = view.entry.artifact.record["settings"]
    how = TrainContent(**{name: settings[name] for name in TrainContent.model_fields})
    schedule = Schedule(how, len(blocks), settings["seed"])
    hardest = sorted(rows[len(rows) // 10 :], key=lambda row: -row["loss"])[:HARDEST]
    view.page.heading("Steps with the highest loss after the first tenth")
    for row in hardest:
        took = named(blocks.rows_of(schedule.batch(row["step"] - 1)))
        view.page.line(f"step {row['step']:,}, loss {row['loss']:.3f}: {took}")


def show_given(view: View) -> None:
    """What was found in a checkpoint that somebody else trained, and how it is asked."""
    facts = json.loads((view.entry.folder / FACTS).read_text(encoding="utf-8"))
    view.page.facts("what was given", facts)


def curve(values: Sequence[float]) -> str:
    """`0.789 ▇▅▃▁ 0.649`: first and last value, and between them bars from the smallest to the largest."""
    size = max(1, -(-len(values) // WIDTH))
    means = [sum(part) / len(part) for part in (values[i : i + size] for i in range(0, len(values), size))]
    low, span = min(means), max(means) - min(means)
    bars = "".join(BARS[min(int((mean - low) / span * len(BARS)), len(BARS) - 1) if span else 0] for mean in means)
    return f"{values[0]:.3g} {bars} {values[-1]:.3g}"


def show_blocks(view: View) -> None:
    """Texts as a training sees them, the template's parts too, and which of their tokens carry loss."""
    blocks = read_blocks(here(view.entry.folder))
    trained, kept = blocks.facts["trained_tokens"], blocks.facts["tokens_kept"]
    view.page.heading(f"What is trained on ({view.entry.label}): {trained:,} of {kept:,} tokens, marked with +")
    files = [base.folder / "model/tokenizer.json" for base in view.inputs("base")]
    if not any(file.is_file() for file in files):
        view.page.line("the base, whose tokenizer spells the tokens, is not here any more")
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(files[-1].read_text(encoding="utf-8"))
    for number, spans in sample_texts(blocks, view.count, view.rng):
        view.page.line(f"block {number} of {named(blocks.rows_of([number]))}", "dim")
        view.page.spans((tokenizer.decode(ids, skip_special_tokens=False), marked) for ids, marked in spans)
