"""Model folders as the hub had them before transformers 5 and tokenizers 0.20, in small: merges as strings, `rope_theta`,
`torch_dtype`, chat templates inside the tokenizer's configuration."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.pre_tokenizers import ByteLevel

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXTS = ["The cat sat on the mat 1234, it's fine. " * 9, "def f(x):\n    return x**2\n" * 9, "ünïcödé 中文字 🧀 " * 9]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\r\n{{ message['content'] }}{{ eos_token }}\r\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\r\n{% endif %}\r\n"
)
SHAPE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "hidden_act": "silu", "initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16",
    "transformers_version": "4.43.0.dev0", "tie_word_embeddings": False, "attention_dropout": 0.0,
}  # fmt: skip


def hub_llama(folder: Path) -> Path:
    """As meta-llama/Llama-3.1-8B: `tokenizer_class: PreTrainedTokenizerFast`, scaled rotary positions, one of two templates."""
    tokenizer = _byte_level(WORDS, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    scaling = {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }  # fmt: skip
    config = SHAPE | {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_theta": 500000.0, "rope_scaling": scaling,
        "rms_norm_eps": 1e-05, "max_position_embeddings": 131072, "mlp_bias": False, "pretraining_tp": 1,
    }  # fmt: skip
    settings = {
        "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": [{"name": "tool_use", "template": "{{ tools }}"}, {"name": "default", "template": TEMPLATE}],
    }  # fmt: skip
    return _write(folder, tokenizer, config, settings)


def hub_qwen(folder: Path) -> Path:
    """As Qwen/Qwen2.5-7B-Instruct: a tokenizer class of its own, `vocab.json` and `merges.txt` beside `tokenizer.json`."""
    tokenizer = _byte_level(WORDS.replace("{1,3}", ""), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    config = SHAPE | {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rope_theta": 1000000.0, "sliding_window": 131072,
        "max_window_layers": 28, "use_sliding_window": False, "rms_norm_eps": 1e-06, "max_position_embeddings": 32768,
    }  # fmt: skip
    settings = {
        "add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>", "errors": "replace",
        "pad_token": "<|endoftext|>", "tokenizer_class": "Qwen2Tokenizer", "unk_token": None, "chat_template": TEMPLATE,
    }  # fmt: skip
    return _write(folder, tokenizer, config, settings)


def _byte_level(words: str, special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(words), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(special)
    return tokenizer


def _write(folder: Path, tokenizer: Tokenizer, config: dict, settings: dict) -> Path:
    folder.mkdir()
    written = json.loads(tokenizer.to_str())
    merges = [" ".join(pair) for pair in written["model"]["merges"]]
    written["model"] |= {"merges": merges, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    (folder / "tokenizer.json").write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(written["model"]["vocab"], ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = config | {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    return folder
