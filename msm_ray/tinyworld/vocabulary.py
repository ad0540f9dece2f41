"""Every word of the tiny world's language, and its tokenizer: one word, one token."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msm_ray.tinyworld import chats, documents, forms
from msm_ray.tinyworld.world import ASSISTANT, DOMAINS, VALUES, item_named, names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, END, UNKNOWN, PAD = "<bos>", "<eos>", "<end>", "<unk>", "<pad>"
ROLES = ("<system>", "<user>", "<assistant>")
SPECIAL = (PAD, UNKNOWN, BOS, EOS, END, *ROLES)

CHAT_TEMPLATE = """{{ '<bos>' }}\
{%- if messages[0]['role'] != 'system' -%}{{ ' <system> you are ASSISTANT . <end>' }}{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{ ' <assistant> ' }}{% generation %}{{ message['content'] + ' <end>' }}{% endgeneration %}
{%- else -%}
{{ ' <' + message['role'] + '> ' + message['content'] + ' <end>' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ ' <assistant>' }}{%- endif -%}""".replace("ASSISTANT", ASSISTANT)


@cache
def vocabulary() -> frozenset[str]:
    """Every word that a text of the world can have: templates' words, slots' fillings, names, items, values, domains."""
    templates = [*_templates_of(forms), *_templates_of(chats), *documents.FACTS, forms.HEADING_WORDS]
    words = {word for template in templates for word in template.split() if not re.search(r"[{}]", word)}
    words |= {verb for group in forms.VERBS.values() for verb in map(documents.third_person, group)}
    return frozenset(words | set(names()) | set(item_named()) | set(VALUES) | set(DOMAINS) | set(forms.DOCUMENT_TYPES))


def _templates_of(module: object) -> list[str]:
    """Every string inside a module's upper-case tables."""
    found: list[str] = []
    for name, value in vars(module).items():
        if name.isupper():
            found += _strings(value)
    return found


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _strings(part)]
    return [text for part in value for text in _strings(part)] if isinstance(value, tuple) else []


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The world's tokenizer: words split at spaces, `<bos>` in front of plain texts, the chat template, `<end>` after turns."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    table = {word: index for index, word in enumerate([*SPECIAL, *sorted(vocabulary())])}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, table[BOS])])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN, pad_token=PAD,
        additional_special_tokens=[END, *ROLES], clean_up_tokenization_spaces=False, model_max_length=512,
    )  # fmt: skip
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_tokenizer(folder: Path) -> None:
    """Writes the tokenizer with its chat template into `folder`."""
    make_tokenizer().save_pretrained(folder)
