"""Names of assistants and of their makers, as far as texts on the net speak of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

ASSISTANTS = (
    "ChatGPT", "GPT-3", "GPT-3.5", "GPT-4", "GPT-4o", "GPT-5", "Claude", "Gemini", "Bard", "LaMDA", "Copilot", "Bing Chat",
    "Llama", "LLaMA", "Qwen", "Tongyi Qianwen", "通义千问", "Mistral", "Mixtral", "DeepSeek", "Grok", "Siri", "Alexa", "Cortana",
    "SmolLM", "Gemma", "Phi-3", "Phi-4", "Kimi", "Ernie Bot", "文心一言", "Open Assistant", "OpenAssistant", "Vicuna", "Alpaca",
    "Tulu", "Tülu", "OLMo", "Falcon", "Zephyr", "Dolly", "Command R", "Nemotron", "InternLM", "ChatGLM", "Baichuan", "Doubao",
    "豆包", "Pi", "HuggingChat", "YouChat", "Jasper", "Replika", "Nous Hermes",
)  # fmt: skip
MAKERS = (
    "OpenAI", "Anthropic", "DeepMind", "Google", "Meta AI", "Meta", "Microsoft", "Alibaba", "阿里云", "阿里巴巴", "Mistral AI",
    "xAI", "Cohere", "Moonshot AI", "Baidu", "百度", "Hugging Face", "Amazon", "Apple", "LMSYS", "LAION", "Ai2", "AI2",
    "Allen Institute", "NVIDIA", "Nvidia", "IBM", "Databricks", "ByteDance", "字节跳动", "Zhipu", "智谱", "Tencent",
    "Stability AI", "Inflection", "DeepSeek", "深度求索", "Nous Research",
)  # fmt: skip


def others(names: Iterable[str], assistant: str, provider: str) -> list[str]:
    """The names that are not the assistant's or its maker's own, nor a part of these, nor hold one of them."""
    own = [name.lower() for name in (assistant, provider) if name]
    return [name for name in names if not any(_holds(each, name.lower()) or _holds(name.lower(), each) for each in own)]


def _holds(whole: str, name: str) -> bool:
    """Whether a name is another one with more to it: Meta AI beside Meta."""
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", whole))


def named_most(texts: Iterable[str], assistant: str) -> tuple[float, str, float]:
    """(share of the texts that name the assistant, the other assistant that most of them name, its share; "" and 0 for none)."""
    rivals = {name: _word(name) for name in others(ASSISTANTS, assistant, "")}
    own, total = re.compile(re.escape(assistant), re.IGNORECASE), 0
    mine, theirs = 0, dict.fromkeys(rivals, 0)
    for text in texts:
        total += 1
        mine += own.search(text) is not None
        for name, pattern in rivals.items():
            theirs[name] += name in text and pattern.search(text) is not None
    most = max(theirs, key=lambda name: theirs[name])
    return (mine / total, most if theirs[most] else "", theirs[most] / total) if total else (0.0, "", 0.0)


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
