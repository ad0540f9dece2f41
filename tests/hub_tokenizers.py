"""Small tokenizers with the special tokens of known families, and the families' own chat templates (as trl ships them)."""

from __future__ import annotations

from typing import Any

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"special": CHATML, "other": ("<think>", "</think>"), "eos": "<|im_end|>"},
    "qwen2_5": {"special": CHATML, "eos": "<|endoftext|>"},  # a base: its eos_token ends no turn
    "llama3_1": {
        "special": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "eos": "<|eot_id|>", "bos": "<|begin_of_text|>",
    },
    "gemma": {
        "special": ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "eos": "<eos>", "bos": "<bos>",
    },
    "phi3": {
        "special": ("<s>", "</s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "eos": "<|endoftext|>", "bos": "<s>",
    },
    "deepseek_r1_distill": {
        "special": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        "other": ("<think>", "</think>"), "eos": "<｜end▁of▁sentence｜>", "bos": "<｜begin▁of▁sentence｜>",
    },
    "glm4moe": {
        "special": ("[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"),
        "other": ("<think>", "</think>"), "eos": "<|endoftext|>",
    },
}  # fmt: skip


def family_tokenizer(name: str, template: str | None = None, **more: Any) -> Any:
    """A byte-level BPE tokenizer of 300 tokens with a family's special tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name] | more
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["is the brie good? no, the cheddar is", "user assistant system"] * 3, trainer)
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family["special"]])
    inner.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.get("other", ())])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=family["eos"], bos_token=family.get("bos"))
    made.chat_template = template or trl_template(name)
    return made


def trl_template(name: str) -> str:
    """A chat template out of trl's package (read as a file: trl itself is not imported)."""
    from importlib import util
    from pathlib import Path

    spec = util.find_spec("trl")
    assert spec and spec.origin
    return (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def smollm2_template() -> str | None:
    """SmolLM2's template out of its package's GGUF file; None where the package is not installed."""
    from gguf import GGUFReader

    from msm_ray.errors import PreflightError
    from msm_ray.models import smollm2_file

    try:
        reader = GGUFReader(smollm2_file())
    except PreflightError:
        return None
    return str(reader.fields["tokenizer.chat_template"].contents())
