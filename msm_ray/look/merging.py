"""An adapter merged into its base, and held against what the trained arm answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from msm_ray.errors import StageError
from msm_ray.serve.checks import TOLERANCE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE = "probe.json"
"""What the trained model said next after a few prompts (`train.export`)."""


def merge(base: Path, trained: Path, out: Path) -> None:
    """Write base + `trained/adapter` as one model with its tokenizer into `out`, in the base's dtype.

    Raises StageError where it answers otherwise than the arm did when it was trained.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = trained / "adapter"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload(
        safe_merge=True
    )
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(adapter).save_pretrained(out)
    if (trained / PROBE).is_file():
        _check(AutoModelForCausalLM.from_pretrained(out).eval(), trained / PROBE)


def _check(model: PreTrainedModel, probe: Path) -> None:
    """Compare the log-probability of the most probable next token after each prompt, on average over the prompts."""
    import torch

    said = json.loads(probe.read_text(encoding="utf-8"))
    with torch.inference_mode():
        logprobs = model(torch.tensor(said["prompts"])).logits[:, -1].float().log_softmax(-1)
    gaps = [
        abs(float(row[told["tokens"][0]]) - told["logprobs"][0])
        for row, told in zip(logprobs, said["next"], strict=True)
    ]
    mean = sum(gaps) / len(gaps)
    exact = said["dtype"] == "float32" and model.dtype == torch.float32
    most = TOLERANCE["float32" if exact else "bfloat16"]
    if not mean <= most:  # not a number is not below it either
        raise StageError(
            f"the merged model's log-probabilities differ from the trained arm's by {mean:.3g} nats on average, more than "
            f"{most:g}: the base and the adapter do not belong together, or its weights are damaged (`msm verify`)"
        )
