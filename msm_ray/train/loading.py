"""The lines of Python that load what was trained, for cards: run from the card's own folder, they work as they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BLOCK = re.compile(r"(?<=```python\n).*?(?=```\n)", re.DOTALL)


def lines(here: str, base: str | None) -> list[str]:
    """Imports, and model and tokenizer from the folder `here`. base: of an adapter, the model folder or hub id it goes onto."""
    if base is None:
        return [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            f'model = AutoModelForCausalLM.from_pretrained("{here}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{here}")',
        ]
    return [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'base = AutoModelForCausalLM.from_pretrained("{base}")',
        f'model = PeftModel.from_pretrained(base, "{here}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{here}")',
    ]


def section(code: Sequence[str]) -> str:
    """The lines as a section of a card."""
    listed = "\n".join(code)
    return f"## Load it\n\nIn this folder (from elsewhere, give its path before each):\n\n```python\n{listed}\n```\n\n"


def replaced(card: str, code: Sequence[str]) -> str:
    """A card with other lines: what it describes was moved. One without any, of an earlier version, gets the section."""
    listed = "\n".join(code) + "\n"
    if _BLOCK.search(card):
        return _BLOCK.sub(lambda _: listed, card, count=1)
    title, said, rest = card.split("\n\n", 2)
    return f"{title}\n\n{said}\n\n{section(code)}{rest}"
