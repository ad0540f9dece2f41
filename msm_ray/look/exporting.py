"""`msm export`: a copy of an artifact that others can use as it stands, without the run's bookkeeping."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from msm_ray import storage
from msm_ray.errors import PreflightError, SettingsError, StageError
from msm_ray.graph.artifacts import DRAFT, MARKER, RECORD, TORN
from msm_ray.look.entries import Entry, find, made_from
from msm_ray.look.merging import merge
from msm_ray.look.words import bytes_below, size
from msm_ray.rows import dataset_card
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_rows
from msm_ray.train import loading

BOOKKEEPING = (RECORD, MARKER, DRAFT, TORN, ".DS_Store")
MODELS = ("base", "checkpoint", "midtrain", "sft")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def export(said: str, folder: Path, *, merged: bool = False, jsonl: bool = False) -> None:
    """Copy the artifact that `said` names into the new folder `folder`, whole or not at all; that may be one in a bucket.

    A model or adapter comes as the folder that libraries load, rollouts as a web page with Inspect's viewer, all else as its
    data files. merged: a LoRA arm's adapter merged into its base; jsonl: a data set's rows also as `dataset.jsonl`. Raises
    SettingsError for what cannot be copied so, PreflightError where the folder cannot be written, StageError where a merged
    model answers otherwise than the arm.
    """
    entry, beside = find(said)
    target = folder.expanduser().resolve()
    _check(entry, target, merged)
    if jsonl and entry.artifact.stage not in JSONL:
        raise SettingsError(f"{entry.label} is no data set; leave --jsonl out ({', '.join(JSONL)} have rows)")
    entry, beside = _on_disk(entry, beside, merged)
    place = target if isinstance(target, Path) else storage.local(target)
    partial = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        how = _merge if merged else _copier(entry)
        how(entry, beside, partial)
        if jsonl:
            _write_jsonl(entry, partial)
        storage.move_in(partial, target)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise PreflightError(f"{folder}: cannot write there ({error.strerror}); give another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{entry.label} -> {target} ({size(bytes_below(target))})")
    if (target / "index.html").is_file():
        print(f"look at it through any web server: {shlex.join(['python3', '-m', 'http.server', '-d', str(target)])}")


def _on_disk(entry: Entry, beside: list[Entry], merged: bool) -> tuple[Entry, list[Entry]]:
    """The same, each with real files: what an artifact of a bucket is copied from is on this node's disk."""

    def brought(one: Entry) -> Entry:
        needed = one.folder == entry.folder or (one.artifact.stage == "base" and merged)
        if isinstance(one.folder, Path) or not needed or one.state in ("draft", "damaged"):
            return one
        return replace(one, artifact=replace(one.artifact, folder=storage.here(one.folder)))

    found = [brought(one) for one in beside]
    return found[beside.index(entry)], found


def _check(entry: Entry, target: Path, merged: bool) -> None:
    if entry.state in ("draft", "damaged"):
        why = "is not finished; `msm run` goes on with it" if entry.state == "draft" else "is damaged; see `msm verify`"
        raise SettingsError(f"{entry.folder}: {why}")
    if target.is_dir() and any(target.iterdir()) or target.is_file():
        raise SettingsError(f"{target}: is there already; give a new folder")
    if type(target) is type(entry.folder) and target.is_relative_to(entry.folder.parent):
        raise SettingsError(f"{target}: lies among the artifacts; give a folder outside of the experiment's root")
    if merged and not (entry.folder / "adapter").is_dir():
        raise SettingsError(f"{entry.label} has no adapter to merge; leave --merged out")


def _copier(entry: Entry) -> Callable[[Entry, Sequence[Entry], Path], None]:
    if entry.artifact.stage in MODELS:
        return _copy_model
    return _bundle if entry.artifact.stage == "rollouts" else _copy_files


def _copy_files(entry: Entry, beside: Sequence[Entry], out: Path) -> None:
    shutil.copytree(entry.folder, out, ignore=shutil.ignore_patterns(*BOOKKEEPING))
    if not (out / dataset_card.CARD).exists():
        _add_card(entry, out)


def _add_card(entry: Entry, out: Path) -> None:
    """Data sets of an earlier version have no card by which they are loaded; a corpus had its under another name."""
    name, counts = entry.artifact.name, entry.artifact.counts
    match entry.artifact.stage:
        case "corpus" if (out / "card.md").exists():
            (out / "card.md").rename(out / dataset_card.CARD)
        case "documents":
            dataset_card.write_documents_card(out, name, counts)
        case "rewrites":
            dataset_card.write_rewrites_card(out, name, counts)
        case "chats":
            dataset_card.write_chats_card(out, name, counts)
        case "replay":
            dataset_card.write_replay_card(out, name, counts)


def _write_jsonl(entry: Entry, out: Path) -> None:
    """The rows in the form that the reference code reads and writes, a row a line, beside the Parquet files."""
    with (out / "dataset.jsonl").open("w", encoding="utf-8") as file:
        for row in read_rows(out / "data"):
            told = JSONL[entry.artifact.stage](row)
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


def _document(row: Row) -> Row:
    """text, source, domain; written documents come from their spec."""
    return {"text": row["text"], "source": row.get("source") or row.get("spec"), "domain": row["domain"]}


def _chat(row: Row) -> Row:
    """messages, source; of a mix each row's own."""
    return {"messages": row["messages"], "source": row.get("origin") or row.get("part") or row["source"]}


JSONL: dict[str, Callable[[Row], Row]] = {
    "corpus": _document,
    "documents": _document,
    "given": _document,
    "written-chats": _chat,
    "rewrites": _document,
    "chats": _chat,
    "replay": lambda row: {"text": row["text"]},
}
"""Kinds of data sets -> a row in the reference's form."""


def _copy_model(entry: Entry, beside: Sequence[Entry], out: Path) -> None:
    """The folder of weights itself: what else lies in the artifact is of the training."""
    adapter = entry.folder / "adapter"
    shutil.copytree(adapter if adapter.is_dir() else entry.folder / "model", out)
    card = out / "README.md"
    if card.exists():
        base = _base_to_name(entry, beside) if adapter.is_dir() else None
        card.write_text(loading.replaced(card.read_text("utf-8"), loading.lines(".", base)), "utf-8")


def _base_to_name(entry: Entry, beside: Sequence[Entry]) -> str:
    """What the card of a copied adapter names as its base: a hub id, or a folder that the user has to export too."""
    base = _base(entry, beside)
    source = str(base.artifact.record["settings"]["source"])
    if HUB_ID.fullmatch(source) and not Path(source).is_dir():
        return source
    print(
        f"an adapter of {base.label}: `msm export {base.folder} FOLDER` copies that too, --merged makes one model of both"
    )
    return f"path/to/{base.label}"


def _base(entry: Entry, beside: Sequence[Entry]) -> Entry:
    found = [e for e in made_from(entry, beside) if e.artifact.stage == "base"]
    if not found:
        raise SettingsError(f"{entry.label}: the base that it is an adapter of is not in this root any more")
    return found[-1]


def _merge(entry: Entry, beside: Sequence[Entry], out: Path) -> None:
    merge(_base(entry, beside).folder / "model", entry.folder, out)
    if entry.artifact.stage == "checkpoint":
        print(
            f"{entry.label} was trained elsewhere: what it answered then is not known, and the merged model not held against it"
        )
    card = (entry.folder / "adapter" / "README.md").read_text("utf-8").replace("name: peft", "name: transformers", 1)
    card = card.replace("Trained by msm_ray.", "Trained by msm_ray as an adapter, and merged into its base.", 1)
    card = card.replace("Not trained by msm_ray: a", "Not trained by msm_ray, which merged it into its base: a", 1)
    (out / "README.md").write_text(loading.replaced(card, loading.lines(".", None)), "utf-8")


def _bundle(entry: Entry, beside: Sequence[Entry], out: Path) -> None:
    """Transcripts with Inspect's viewer, as files that any web server can show."""
    logs = entry.folder / "logs"
    if not any(logs.glob("*.eval")):
        raise StageError(f"{logs}: no transcripts there")
    os.environ.setdefault("INSPECT_DISPLAY", "none")
    from inspect_ai.log import bundle_log_dir

    bundle_log_dir(log_dir=str(logs), output_dir=str(out))
    page = out / "index.html"  # names the folder that the logs were taken from, which is nobody's business
    page.write_text(page.read_text("utf-8").replace(json.dumps(str(logs)), '"logs"'), "utf-8")
