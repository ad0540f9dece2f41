"""The base model, as far as its files are here; a hub's is not looked at, and that is said."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from msm_ray import models
from msm_ray.corpus import special_tokens, templates
from msm_ray.engines.endpoint.keys import split_keys
from msm_ray.errors import MsmError, SettingsError
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import GATED, KNOWN, Shape, shape_of
from msm_ray.yaml_tree import At

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def base(proposal: Proposal) -> Iterator[Finding]:
    """The base is there, is a model, and has a chat template that can be trained on."""
    settings = proposal.settings.base
    _, wrong = proposal.tried(("base", "source"), lambda: models.identity(settings))
    yield from wrong
    if wrong:
        return
    if not settings.source:
        return  # nothing is trained, or `config` has told that it is missing
    if settings.source == "smollm2":
        yield from proposal.tried(("base", "source"), models.smollm2_file)[1]
    elif proposal.once(base_folder) is None:
        yield from hub_model(proposal, ("base", "source"), settings.source, "base", settings.revision)
    yield from _template(proposal)


def writers(proposal: Proposal) -> Iterator[Finding]:
    """Writers that are models of their own, and endpoints."""
    for at, how in dict(proposal.documents()).items():
        if how.engine == "vllm" and how.model and not Path(how.model).is_dir():
            yield from hub_model(proposal, (*at, "model"), how.model, "documents")
        if how.engine == "endpoint":
            yield from endpoint(proposal, at, how.url, how.model, how.key_variable)


def hub_model(proposal: Proposal, at: At, name: str, stage: str, revision: str | None = None) -> Iterator[Finding]:
    """A model that has to come from the hub: its id, its licence, and that it was not looked at."""
    if not HUB_ID.fullmatch(name):
        yield proposal.error(at, f"'{name}' is no folder here and no hub id (owner/model)", "name a folder or a hub id")
    elif cached(name, revision) is None:
        if name.lower().startswith(GATED) and not has_hub_token():
            yield proposal.lacking(
                at, f"{name} is given only to accounts that accepted its licence, and HF_TOKEN is not set",
                "accept it on the model's page and set HF_TOKEN, or name a folder with the model", stages=(stage,),
            )  # fmt: skip
        yield proposal.not_checked(
            at, f"{name} comes from the hub: whether it can be had, and its files, are not looked at"
        )


def cached(hub_id: str, revision: str | None = None) -> Path | None:
    """The newest snapshot of a model or adapter in the hub's cache on this machine, or that of a commit; None without one."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("HOME", "/")) / ".cache/huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    there = hub / f"models--{hub_id.replace('/', '--')}" / "snapshots"
    found = [
        path for name in ("config.json", "adapter_config.json") for path in there.glob(f"{revision or '*'}/{name}")
    ]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def has_hub_token() -> bool:
    """Whether the hub would be asked with a token: from the environment, or kept by `hf auth login`."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("HOME", "/")) / ".cache/huggingface")
    kept = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    return bool(os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")) or kept.is_file()


def base_folder(proposal: Proposal) -> Path | None:
    """The base's folder where its files are on this machine: shipped, the user's, or in the hub's cache."""
    source, revision = proposal.settings.base.source, proposal.settings.base.revision
    try:
        shipped = models.shipped_folder(source)
    except SettingsError:
        return None
    if shipped or Path(source).is_dir():
        return shipped or Path(source)
    return cached(source, revision) if HUB_ID.fullmatch(source) else None


def base_shape(proposal: Proposal) -> Shape | None:
    """The base's shape, where it is known."""
    return shape_of(proposal.settings.base.source, proposal.once(base_folder))


def length_of_base(proposal: Proposal) -> int | None:
    """How many tokens the base takes, where it is known."""
    shape = proposal.once(base_shape)
    return shape.length if shape else None


def never_chatted(proposal: Proposal) -> bool:
    """Whether the base is known to be a base model: by the table, or since its own files have no chat template."""
    source, folder = proposal.settings.base.source, proposal.once(base_folder)
    if source.lower() in KNOWN:
        return not KNOWN[source.lower()].chat
    try:
        return folder is not None and templates.read_format(folder) is None
    except (MsmError, OSError, ValueError):
        return False


def refuses_system(proposal: Proposal) -> str | None:
    """Why the chat template takes no system turn; None where it does, or where it can't be tried (said elsewhere)."""
    given, folder = proposal.settings.base.chat_template, proposal.once(base_folder)
    try:
        chat = _chat_format(proposal, given, folder) if given or folder else None
    except (MsmError, OSError, UnicodeDecodeError, ValueError):
        return None
    return templates.refuses_system(chat) if chat else None


def _chat_format(proposal: Proposal, given: str | None, folder: Path | None) -> templates.ChatFormat | None:
    """The chat template, with stand-ins for its base's tokens where only the template is here."""
    own = Path(given) if given else None
    chat = templates.read_format(folder or Path(), proposal.settings.chat_template_kwargs, chat_template=own)
    if folder or chat is None:
        return chat
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"}
    return dataclasses.replace(chat, variables=tokens, controls=tuple(tokens.values()), added=tuple(tokens.values()))


def _template(proposal: Proposal) -> Iterator[Finding]:
    """The chat template as training and serving will use it, where its files are here."""
    settings = proposal.settings
    given, folder = settings.base.chat_template, proposal.once(base_folder)
    at: At = ("base", "chat_template")
    if given is None and folder is None:
        if settings.base.source.lower() in KNOWN and not KNOWN[settings.base.source.lower()].chat:
            yield proposal.error(at, f"is missing: {settings.base.source} has no chat template of its own", _GIVE)
        return
    try:
        chat = _chat_format(proposal, given, folder)
    except (MsmError, OSError, UnicodeDecodeError, ValueError) as error:
        yield proposal.error(
            at if given else ("base", "source"), str(error), "mend it, or name another base.chat_template"
        )
        return
    if chat is None:
        yield proposal.error(at, f"is missing: {settings.base.source} has no chat template of its own", _GIVE)
        return
    if folder is None:
        yield from _template_alone(proposal, at, chat)
        return
    for problem in templates.template_findings(chat):
        yield proposal.error(at if given else ("base", "source"), problem, _GIVE)
    yield from _separator(proposal, folder, chat)


def _template_alone(proposal: Proposal, at: At, chat: templates.ChatFormat) -> Iterator[Finding]:
    """What a given template shows without its base's tokens."""
    question, answer = {"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}
    try:
        rendered = chat.render([question, answer])
    except templates.TemplateRefusal as refusal:
        yield proposal.error(at, f"the chat template does not render a question and an answer: {refusal}", _GIVE)
        return
    if not rendered.rpartition("because")[2].strip():
        yield proposal.error(at, "the chat template never ends an answer, so that no arm would learn to stop", _GIVE)
    if templates.writes_date(chat):
        yield proposal.error(
            at, "the chat template writes today's date, so that an arm is asked otherwise than trained", _GIVE
        )


_GIVE = "name a Jinja file under base.chat_template, as jobs/plain-chat.jinja"


def _separator(proposal: Proposal, folder: Path, chat: templates.ChatFormat) -> Iterator[Finding]:
    """What stands between documents has to be known where something is midtrained."""
    if not proposal.all_corpora():
        return
    try:
        end = templates.turn_end(chat)
    except MsmError:
        return
    config = _eos(folder)
    wrong = proposal.tried(
        ("base", "separator"),
        lambda: special_tokens.document_end(
            chat.added, config, end, family=special_tokens.model_family(folder), chosen=proposal.settings.base.separator
        ),
    )[1]
    yield from wrong


def _eos(folder: Path) -> str | None:
    try:
        token = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("eos_token")
    except (OSError, ValueError):
        return None
    return token.get("content") if isinstance(token, dict) else token


def endpoint(proposal: Proposal, at: At, url: str | None, model: str | None, variable: str) -> Iterator[Finding]:
    """An address, a model and a key, where that is needed."""
    if not url:
        yield proposal.error(
            (*at, "url"), "is missing: engine is endpoint", "give the base address, e.g. https://HOST/v1"
        )
    if not model:
        yield proposal.error((*at, "model"), "is missing: engine is endpoint", "name the endpoint's model")
    local = re.match(r"https?://(localhost|127\.|\[::1\])", url or "")
    if url and not local and not split_keys(os.environ.get(variable, "")):
        yield proposal.lacking(
            (*at, "key_variable"), f"{variable} is not set in the environment", "set it, or name another under key_variable",
            stages=("outline", "documents", "rewrites", "written-chats", "chats"),
        )  # fmt: skip
