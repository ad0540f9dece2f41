"""What vLLM says next after the prompts of a probe: `python asked_of_vllm.py BASE ADAPTER...` prints a table an arm.

All of vLLM in this one process: two more would each import it anew. An arm's table: for each prompt, the log-probability of
every token.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1", "TORCHDYNAMO_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}  # fmt: skip


def main(base: Path, adapters: list[Path]) -> dict[str, list[dict[str, float]]]:
    """The base's table under its own name, and one for each adapter."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    engine = LLM(
        str(base), dtype="bfloat16", enforce_eager=True, enable_lora=True, max_lora_rank=64, max_loras=len(adapters),
        max_model_len=64, max_logprobs=-1, distributed_executor_backend="uni",
    )  # fmt: skip
    prompts = json.loads((adapters[0].parent / "probe.json").read_text())["prompts"]
    once = SamplingParams(max_tokens=1, temperature=0, logprobs=-1)
    arms = {"base": None, **{a.parent.name: LoRARequest(a.parent.name, i, str(a)) for i, a in enumerate(adapters, 1)}}
    tables = {}
    for name, adapter in arms.items():
        answers = engine.generate([{"prompt_token_ids": ids} for ids in prompts], once, lora_request=adapter)
        first = [answer.outputs[0].logprobs[0] for answer in answers]
        tables[name] = [{str(token): entry.logprob for token, entry in row.items()} for row in first]
    return tables


if __name__ == "__main__":
    tables = main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
    print(json.dumps(tables))
