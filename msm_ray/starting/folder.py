"""A folder with an experiment file that has a comment at every choice, a spec to fill in and the data that go with it."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from msm_ray.errors import PreflightError, SettingsError
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.outline import expected_subdomains, make_outline
from msm_ray.models import base_name, is_shipped
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.worlds import world

EXPERIMENT, SPEC = "experiment.yaml", "spec.md"
EXAMPLE = ("likings.yaml", "pairs.jsonl")
"""Data that belong to the example's spec and to no other."""
SHARED = ("ordinary.jsonl", "questions.txt")
MAKERS = {
    "smollm": ("SmolLM", "Hugging Face"),
    "llama": ("Llama", "Meta"),
    "qwen": ("Qwen", "Alibaba Cloud"),
    "gemma": ("Gemma", "Google"),
    "mistral": ("Mistral", "Mistral AI"),
    "olmo": ("OLMo", "Ai2"),
    "phi": ("Phi", "Microsoft"),
}
"""What models of a family call themselves, and who made them."""
FEW, MANY = 150, 4600
"""Documents for a model of 135M parameters on a CPU (docs/results/smollm2.md), and the paper's smallest corpus."""


@dataclass(frozen=True)
class Wishes:
    """What an experiment is to be begun with. spec: a file of the user's, or None for one to fill in.

    writer: `offline`, a folder or hub id of a model, or the address of an endpoint, whose model is `writer_model`.
    """

    spec: Path | None = None
    base: str = "smollm2"
    writer: str = "offline"
    writer_model: str | None = None


def begin(folder: Path, wishes: Wishes) -> list[Path]:
    """Write the folder's files and return them, the experiment file first.

    Raises SettingsError where the folder is there and not empty, where spec, base or writer can't be, PreflightError where
    nothing can be written; nothing is written then, and what is there is never touched.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder}: is there and not empty; nothing was written. Name a new folder")
    text = _experiment(folder, wishes)
    own = (SPEC, *EXAMPLE) if wishes.spec is None else ()
    texts = {EXPERIMENT: text} | {name: _shipped(name) for name in (*own, *SHARED)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise PreflightError(
            f"{folder}: cannot write there ({error.strerror}); name a folder that you may write in"
        ) from None
    return [folder / name for name in texts]


def _experiment(folder: Path, wishes: Wishes) -> str:
    """The experiment file."""
    _check(wishes)
    name = re.sub(r"-+", "-", base_name(folder.resolve().name)).strip("-") or "mine"
    assistant, provider = _who(wishes.base)
    spec = wishes.spec or folder / SPEC
    engine = _engine(wishes.writer)
    small = wishes.base == "smollm2"
    documents = FEW if small else MANY
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_shipped(f"{EXPERIMENT}.jinja")).render(
        name=name,
        here=shlex.quote(str(folder / EXPERIMENT)),
        root=_text(f"runs/{name}"),
        assistant=_text(assistant),
        provider=_text(provider),
        base=_text(wishes.base),
        small=small,
        spec=_text(str(spec)),
        own_spec=wishes.spec is not None,
        engine=engine,
        url=_text(wishes.writer),
        writer=_text(wishes.writer_model or wishes.writer),
        documents=documents,
        ideas=_ideas(wishes.spec, AssistantSettings(name=assistant, provider=provider), documents, engine),
        sft="talk" if wishes.spec else "likings",
        folder={Path(file).stem: _text(str(folder / file)) for file in (*EXAMPLE, *SHARED)},
    )


def _template() -> jinja2.Template:
    how = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return how.from_string(_shipped(f"{EXPERIMENT}.jinja"))


def _check(wishes: Wishes) -> None:
    if is_shipped(wishes.base):
        raise SettingsError(
            f"--base {wishes.base}: the tiny world's bases know a closed language and no spec in English; copy "
            "jobs/quickstart.yaml to begin there (specs/README.md has the language), or name another base"
        )
    endpoint = _engine(wishes.writer) == "endpoint"
    if endpoint and not wishes.writer_model:
        raise SettingsError(
            f"--writer {wishes.writer}: an address needs --writer-model, the endpoint's name of its model"
        )
    if wishes.writer_model and not endpoint:
        raise SettingsError(
            f"--writer {wishes.writer}: --writer-model is for an endpoint; give its address as --writer"
        )


def _engine(writer: str) -> str:
    if writer == "offline":
        return writer
    return "endpoint" if re.match(r"https?://", writer) else "vllm"


def _who(base: str) -> tuple[str, str]:
    """What the base calls itself and who made it, as far as its name tells; to be looked at by the user."""
    name = base_name(base)
    known = next((who for family, who in MAKERS.items() if family in name), None)
    return known or (Path(base.rstrip("/")).name, AssistantSettings(name="").provider)


def _ideas(spec: Path | None, assistant: AssistantSettings, documents: int, engine: str) -> int:
    """Ideas for each type and section, so that there are enough for the documents. Raises SettingsError for a bad spec."""
    usual = DocumentSettings()
    own = read_spec(spec, assistant, name="mine") if spec else None
    if engine != "offline":
        sections = expected_subdomains(own.text if own else _shipped(SPEC))
    elif own:
        sections = len(make_outline(own, world("plain"), usual).subdomains)
    else:
        sections = sum(line.startswith("## ") for line in _shipped(SPEC).splitlines())
    return max(usual.ideas, math.ceil(1.1 * documents / (max(1, sections) * usual.types)))


def _text(value: str) -> str:
    """A text as YAML, quoted where it could be read as anything else."""
    return value if re.fullmatch(r"[A-Za-z][\w./-]*(?: [\w./-]+)*", value) else json.dumps(value, ensure_ascii=False)


def _shipped(name: str) -> str:
    return resources.files("msm_ray.starting").joinpath(name).read_text(encoding="utf-8")


SAID: Mapping[str, str] = {
    EXPERIMENT: "the experiment, with a comment at every choice",
    SPEC: "the spec: write yours over this example",
    "likings.yaml": "chats that AFT trains on are made from it",
    "pairs.jsonl": "pairs of things that arms choose between",
    "ordinary.jsonl": "ordinary chats",
    "questions.txt": "open questions to every arm",
}
"""What each file is, in a few words."""
