"""Dataset cards: a `README.md` that Hugging Face's `datasets` reads the folder by, and people its columns.

Without the header `load_dataset` takes every file in a folder for rows of one table, rejected ones and records too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from msm_ray.rows.schemas import (
    CHAT_SCHEMA,
    CORPUS_SCHEMA,
    DOCUMENT_SCHEMA,
    REWRITE_SCHEMA,
    TEXT_SCHEMA,
    WRITTEN_CHAT_SCHEMA,
)
from msm_ray.storage.folders import ends, sizes
from msm_ray.whole_files import write_whole

CARD = "README.md"
ROWS = "data/*.parquet"
FOOTER = 65_536
"""Bytes at the end of a Parquet file, in which it tells where its rows lie and what they hold."""

COLUMNS: Mapping[str, str] = {
    "id": "hash of what made the row; the same wherever and whenever it is made",
    "text": "the document",
    "messages": "the turns, each with `role` (system, user, assistant) and `content`",
    "spec": "name of the spec",
    "spec_digest": "SHA-256 of the spec's text as the writer had it",
    "domain": "part of the spec that it is about",
    "subdomain": "section of the spec within the domain",
    "type": "kind of text: letter, report, story ...",
    "idea": "what the writer was asked to write about",
    "engine": "what wrote it: vllm, endpoint, offline, replay",
    "generator": "the writer's model",
    "prompt_version": "wording of the writer's prompt",
    "temperature": "temperature of sampling",
    "top_p": "share of the likeliest words that was sampled from",
    "tokens": "tokens of the text, without the writer's plan (by its share of the answer's characters); empty: not counted",
    "attempt": "which try gave the text, from 1",
    "num_input_tokens": "tokens of the prompt",
    "num_generated_tokens": "tokens that the writer generated",
    "words": "words of the text, between white space",
    "similar_to": "the most similar document among those kept before it; null where none was near enough to be compared",
    "similarity": "how similar: Jaccard of 5-grams of words, estimated by MinHash",
    "faithfulness": "how faithful to the spec a judge found it, 1 to 10; null where it was not in the sample",
    "source": "where it comes from, as far as that is known",
    "rewrite": "how the document was told anew",
    "rewrite_of": "id of the document that it was before",
    "faults": "what was found wrong with that, a line each",
    "topic": "what the chat is about",
    "part": "the part of the mix that it comes from",
    "origin": "what its row said under `source` where it was taken from",
    "kind": "kind of chats: aft (about the spec), preferences, identity",
    "question": "kind of question: direct, indirect, comparison ...",
    "style": "what the thinking goes by: value or rule",
    "thinking": "the thinking, which also stands before the answer in `messages`",
    "votes": "judgements of the chat that could be read",
    "votes_for": "those that include it",
    "reason": "why the row was left out",
    "raw": "the raw answer, or what was found in it",
    "findings": "everything that the checks found, of which the reason is the first",
}
"""Every column of documents, corpora, base text and chats, and of their rejected rows."""


def names_of(out: Path) -> tuple[str, str]:
    """The names of the two configurations, rows and rejected rows, that no other folder has.

    `datasets` keeps what it has read by the last name of a folder and the configuration's: two folders that are called alike,
    such as `chats/cheese@1` and `written-chats/cheese@1`, would otherwise give the rows of whichever was loaded first.
    """
    total = hashlib.sha256(f"{out.parent.name}/{out.name}".encode())
    tables = sorted(name for name in sizes(out) if fnmatch(name, "*.parquet") and _is_table(PurePath(name)))
    for name, (size, footer) in ends(out, tables, FOOTER).items():
        total.update(f"{PurePath(name).name} {size}".encode() + footer)
    token = total.hexdigest()[:8]
    return f"rows-{token}", f"rejected-{token}"


def _is_table(name: PurePath) -> bool:
    return name.parent.as_posix() in ("data", "rejected") or name.as_posix() == "rejected.parquet"


def header(rejected: str | None, names: tuple[str, str]) -> list[str]:
    """The YAML at the top of a card. names: of the configurations (`names_of`).

    rejected: pattern of the files with rejected rows, which are a configuration of their own; None where there are none,
    for `datasets` refuses a split without rows.
    """
    lines = ["---", "configs:", f"- config_name: {names[0]}", "  default: true", f"  data_files: {ROWS}"]
    if rejected:
        lines += [f"- config_name: {names[1]}", f"  data_files: {rejected}"]
    return [*lines, "---", ""]


def how_to_load(name: str, schema: pa.Schema, rejected: str | None, names: tuple[str, str]) -> list[str]:
    """A section with the lines of Python that load this folder, and what its columns are."""
    more = [f'rejected = load_dataset(os.getcwd(), "{names[1]}", split="train")'] if rejected else []
    return [
        "## Load it",
        "",
        "In this folder (from elsewhere, give its path in place of `os.getcwd()`):",
        "",
        "```python",
        "import os",
        "from datasets import load_dataset",
        "",
        f'{name} = load_dataset(os.getcwd(), split="train")',
        *more,
        "```",
        "",
        "| column | type | what it is |",
        "|---|---|---|",
        *(f"| {field.name} | {_type(field.type)} | {COLUMNS[field.name]} |" for field in schema),
        "",
        *([f"Rejected rows also have {_others(schema)}.", ""] if rejected else []),
    ]


def write_documents_card(out: Path, name: str, facts: Mapping[str, Any]) -> None:
    """The card of a documents folder. facts: counts of the stage, and whatever else its table is to hold."""
    said = "As they were written, not yet checked or deduplicated: the corpus is made of these."
    rejected = "rejected/*.parquet" if any((out / "rejected").glob("*.parquet")) else None
    _write(out, f"Documents: {name}", said, facts, "documents", DOCUMENT_SCHEMA, rejected)


def write_rewrites_card(out: Path, name: str, facts: Mapping[str, Any]) -> None:
    """The card of documents that were told anew."""
    said = "Documents that were told anew, not yet checked or deduplicated: the corpus is made of these."
    rejected = "rejected/*.parquet" if any((out / "rejected").glob("*.parquet")) else None
    _write(out, f"Rewritten documents: {name}", said, facts, "documents", REWRITE_SCHEMA, rejected)


def write_chats_card(out: Path, name: str, facts: Mapping[str, Any], schema: pa.Schema = CHAT_SCHEMA) -> None:
    """The card of a chats folder. facts: as above, with `rejected`, the number of rows in `rejected.parquet`."""
    said = "Chats for alignment fine-tuning. Arms are trained on the assistant's turns."
    _write(out, f"Chats: {name}", said, facts, "chats", schema, "rejected.parquet" if facts["rejected"] else None)


def write_written_chats_card(out: Path, name: str, facts: Mapping[str, Any]) -> None:
    """The card of chats by a writer. facts: as above."""
    said = "Chats by a writer, thinking included: sets with and without it are made of these."
    rejected = "rejected.parquet" if facts["rejected"] else None
    _write(out, f"Written chats: {name}", said, facts, "chats", WRITTEN_CHAT_SCHEMA, rejected)


def write_replay_card(out: Path, name: str, facts: Mapping[str, Any]) -> None:
    """The card of the base text that is replayed beside documents."""
    said = "Base text that midtraining replays beside a spec's documents; none of it is about the spec."
    _write(out, f"Base text: {name}", said, facts, "texts", TEXT_SCHEMA, None)


def _write(
    out: Path, title: str, said: str, facts: Mapping[str, Any], name: str, schema: pa.Schema, rejected: str | None
) -> None:
    names = names_of(out)
    how = how_to_load(name, schema, rejected, names)
    lines = [*header(rejected, names), f"# {title}", "", said, "", *facts_table(facts), *how]
    write_whole(out / CARD, "\n".join(lines))


def facts_table(facts: Mapping[str, Any]) -> list[str]:
    """Facts as a table without a heading; what is not known is left out."""
    rows = [(key, value) for key, value in facts.items() if value not in (None, "")]
    return ["| | |", "|---|---|", *(f"| {cell(key)} | {cell(str(value))} |" for key, value in rows), ""]


def cell(text: str | None) -> str:
    """A text that stays in its cell of a table; what nobody said is not known."""
    return (text or "not known").replace("|", "\\|").replace("\n", " ")


def _others(schema: pa.Schema) -> str:
    names: Sequence[str] = ("reason",)
    if schema in (DOCUMENT_SCHEMA, REWRITE_SCHEMA, CORPUS_SCHEMA):
        names = ("reason", "raw", "findings") if schema is CORPUS_SCHEMA else ("reason", "raw")
    return " and ".join(f"`{name}` ({COLUMNS[name]})" for name in names)


def _type(kind: pa.DataType) -> str:
    return "list of {role, content}" if pa.types.is_list(kind) else str(kind)
