"""What a chat template does, found by rendering it: where a turn ends, what it refuses, whether it writes the date.

Everything here works on files with jinja2 alone, so that a plan can say it before anything is started. Training and serving
render by the tokenizer's own method (`corpus/tokens.py`), which gives the same text.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from msm_ray.corpus.special_tokens import CONFIG, control_in, first_token, read_json, read_special_tokens
from msm_ray.errors import SettingsError

Messages = Sequence[Mapping[str, Any]]
Render = Callable[[Messages, bool], str]
"""(messages, whether the prompt for an answer is added) -> text."""

FILE = "chat_template.jinja"
SWITCHES = ("enable_thinking", "thinking")
"""How templates call the switch for reasoning (Qwen3 and SmolLM3; DeepSeek V3.1 and Granite)."""

QUESTION, ANSWER = "zqxjkv question", "zqxjkv answer"
"""Turns to try a template on, with words that stand in none."""


class TemplateRefusal(ValueError):
    """The template does not render these turns; the message is the template's own."""


@dataclass(frozen=True)
class ChatFormat:
    """A template with what it is rendered with.

    text: the Jinja source. variables: bos_token and so on. options: the experiment's `chat_template_kwargs` with the switch
    for reasoning. controls: the tokenizer's special tokens; added: those and its other added tokens. renderer: another way to
    render than jinja2 alone.
    """

    text: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    renderer: Render | None = None

    def render(self, messages: Messages, prompt: bool = False) -> str:
        """The chat as text; prompt: with what asks for an answer. Raises TemplateRefusal."""
        try:
            if self.renderer:
                return self.renderer(messages, prompt)
            known = {**self.variables, **self.options, "messages": list(messages), "add_generation_prompt": prompt}
            return _compiled(self.text).render(**known)
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError, LookupError) as error:
            raise TemplateRefusal(str(error) or type(error).__name__) from None


def read_format(
    folder: Path, options: Mapping[str, Any] | None = None, *, chat_template: Path | None = None
) -> ChatFormat | None:
    """The chat format of a model folder, from its files; None where its tokenizer has no template.

    chat_template: a file that takes the place of the folder's own. Raises SettingsError, naming the file, for a template
    that is no Jinja.
    """
    where = chat_template or (folder / FILE if (folder / FILE).is_file() else folder / CONFIG)
    text = where.read_text(encoding="utf-8") if where.name != CONFIG else named_template(read_json(where))
    if text is None:
        return None
    check_syntax(text, where)
    variables, controls, added = read_special_tokens(folder)
    return ChatFormat(text, variables, dict(options or {}), controls, added)


def named_template(config: Mapping[str, Any]) -> str | None:
    """The template in a tokenizer's configuration; of several named ones (Command R, Hermes) the one called default."""
    template = config.get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    return template.get("default") if isinstance(template, dict) else template


def check_syntax(text: str, where: Path) -> None:
    """Raise SettingsError with file and line where a template is no Jinja."""
    try:
        _compiled(text)
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"{where}, line {error.lineno}: no chat template: {error.message}") from None


def turn_end(chat: ChatFormat) -> str:
    """The token that ends an answer: what a model has to learn to say, and a server to stop at.

    It need not be the tokenizer's eos_token (Gemma, bases of Qwen); where answers have no end of their own, it is what opens
    the next turn (GLM). Raises SettingsError where there is none.
    """
    try:
        text = chat.render([_user(QUESTION), _assistant(ANSWER)])
    except TemplateRefusal as refusal:
        raise SettingsError(f"the chat template does not render a question and an answer: {refusal}") from None
    if ANSWER not in text:
        raise SettingsError(f"the chat template does not render what the assistant says: {text[-200:]!r}")
    after = text.rpartition(ANSWER)[2]
    found = first_token(after, chat.added) or _opens_next_turn(chat)
    if found is None:
        raise SettingsError(
            "the chat template ends an answer with no special token, so a model would not learn to stop: after it stands "
            f"{after!r}"
        )
    return found


def _opens_next_turn(chat: ChatFormat) -> str | None:
    try:
        text = chat.render([_user(QUESTION), _assistant(ANSWER), _user("zqxjkv more")])
    except TemplateRefusal:
        return None
    return first_token(text.rpartition(ANSWER)[2].partition("zqxjkv more")[0], chat.added)


def refuses_system(chat: ChatFormat) -> str | None:
    """Why the template refuses a system turn (its own words), or None."""
    try:
        text = chat.render([{"role": "system", "content": QUESTION}, _user("hello")], True)
    except TemplateRefusal as refusal:
        return str(refusal)
    return None if QUESTION in text else "it leaves the system turn out"


def writes_date(chat: ChatFormat) -> bool:
    """Whether the rendered text depends on the day: training and serving on different days would differ."""
    days = [datetime.datetime(2001, 2, 3), datetime.datetime(2012, 11, 10)]
    known = {**chat.variables, **chat.options, "messages": [_user("hello")], "add_generation_prompt": True}
    try:
        first, second = (_compiled(chat.text).render(**known, strftime_now=day.strftime) for day in days)
    except jinja2.TemplateError:
        return False
    return first != second


def template_findings(chat: ChatFormat) -> list[str]:
    """What is wrong with a template for any training or asking, in words; `refuses_system` is asked for separately."""
    findings = []
    try:
        turn_end(chat)
    except SettingsError as error:
        findings.append(str(error))
    if not findings and not prompts_as_it_renders(chat):
        findings.append("the chat template prompts for an answer otherwise than it renders one")
    if writes_date(chat):
        findings.append(
            "the chat template writes today's date, so that an arm is asked otherwise than it was trained; give the "
            'template a fixed one, e.g. `chat_template_kwargs: {date_string: "26 Jul 2024"}`, or another `base.chat_template`'
        )
    return findings


def prompts_as_it_renders(chat: ChatFormat) -> bool:
    """Whether an answered chat begins with the prompt that serving sends for the answer."""
    prompt = chat.render([_user(QUESTION)], True)
    return opens_reasoning(prompt) or chat.render([_user(QUESTION), _assistant(ANSWER)]).startswith(prompt)


def opens_reasoning(prompt: str) -> bool:
    """Whether a prompt ends inside a block of reasoning, as DeepSeek R1's does."""
    return re.search(r"<think>\s*$", prompt) is not None


def thinking_switch(text: str) -> str | None:
    """What the template calls its switch for reasoning; None where it has none."""
    used = jinja2.meta.find_undeclared_variables(_environment().parse(text))
    return next((name for name in SWITCHES if name in used), None)


def chat_options(text: str, shared: Mapping[str, Any], thinking: bool | None) -> dict[str, Any]:
    """What a set of chats (and so the arms trained on it) is rendered with: the experiment's kwargs and its own `thinking`.

    thinking: None where the set does not say, so that the experiment's value holds. Without a switch in the template there
    is nothing to set: reasoning is plain text then.
    """
    switch = thinking_switch(text) if thinking is not None else None
    return {**shared, **({switch: thinking} if switch else {})}


def unaskable(chat: ChatFormat, messages: Messages) -> str | None:
    """Why these turns cannot be asked (control tokens in them, or the template refuses them), or None."""
    if forged := control_in(messages, chat.controls):
        return forged
    try:
        chat.render(messages, True)
    except TemplateRefusal as refusal:
        return f"the chat template refuses it: {refusal}"
    return None


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what the assistant says; it renders as its body."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache
def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


@lru_cache
def _compiled(text: str) -> jinja2.Template:
    return _environment().from_string(text)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
