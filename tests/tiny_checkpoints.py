"""Random tiny Qwen3 checkpoints, adapters of them, and a word-level tokenizer: what serving can be tested on in seconds."""

from __future__ import annotations

from pathlib import Path

WORDS = 1000
JSON_WORDS = ['{"answer":', '"w7"}', '"w8"}']
"""What a word-level vocabulary needs for an answer in JSON."""
TEMPLATE = (
    "<bos>{% if style is defined %}{{ ' system ' + style + ' <end>' }}{% endif %}"
    "{% for message in messages %}{{ ' ' + message['role'] + ' ' + message['content'] + ' <end>' }}{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)


def tiny_tokenizer(folder: Path, template: str = TEMPLATE) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<bos>", "<end>", "system", "user", "assistant", *JSON_WORDS]
    vocabulary = {word: i for i, word in enumerate(words + [f"w{i}" for i in range(WORDS - len(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", unk_token="<unk>")
    fast.chat_template = template
    fast.save_pretrained(folder)


def tiny_checkpoint(folder: Path, seed: int, *, tied: bool = False, layers: int = 2, template: str = TEMPLATE) -> Path:
    """A random Qwen3 of 0.2M parameters; weights large enough that two seeds answer differently."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer(folder, template)
    return folder


def tiny_adapter(folder: Path, base: Path, seed: int, *, zero: bool = False, rank: int = 8) -> Path:
    """A random LoRA adapter of `base`; zero: one that changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.zero_() if zero else parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    tiny_tokenizer(folder)
    return folder
