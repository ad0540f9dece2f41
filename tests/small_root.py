"""A root with one small artifact of most kinds, made by the stages' own functions where these need no engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from plain_nodes import plain

from msm_ray.corpus.blocks import FORMAT
from msm_ray.corpus.packing import pack, text_of
from msm_ray.corpus.parts import write_arrow
from msm_ray.corpus.tokens import NO_LOSS
from msm_ray.evals.verdicts import SCHEMA
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.rows.dataset_card import write_documents_card
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from msm_ray.rows.tables import write_table
from msm_ray.spec import AssistantSettings
from msm_ray.train.settings import TrainContent

BASE = Path(str(resources.files("msm_ray.tinyworld"))) / "base"
MARKUP = "[bold]Ada[/bold] :smile: \x1b[31mred"
"""What a terminal library could take for orders."""

ROW = dict.fromkeys(DOCUMENT_SCHEMA.names, "x") | {
    "temperature": 1.0, "top_p": 1.0, "tokens": 4, "attempt": 1, "num_input_tokens": 9, "num_generated_tokens": 5,
}  # fmt: skip


def make(
    store: ArtifactStore, key: str, inputs: tuple[str, ...] = (), files: Mapping[str, str] | None = None, **how: Any
) -> Path:
    """Commit an artifact of given texts. inputs: keys of what it is made from, the newest version of each.

    how: its settings, which decide the version, and `counts`.
    """
    folder, record, counts = begin(store, key, inputs, **how)
    for name, text in (files or {"data.txt": key}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    commit(folder, record, counts)
    return folder


def begin(
    store: ArtifactStore, key: str, inputs: tuple[str, ...] = (), **how: Any
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A draft: its folder, the record to commit it with, and the counts among `how`."""
    kind, _, name = key.partition("/")
    newest = {f"{a.stage}/{a.name}": a.digest for a in store.all()}
    counts = how.pop("counts", {})
    folder, record = store.begin(plain(kind, name, how), {key: newest[key] for key in inputs}, anew="version")
    return folder, record, counts


def documents(store: ArtifactStore) -> Path:
    """Three documents and a rejected answer, each with something that is no markup."""
    folder, record, _ = begin(store, "documents/tea", ())
    rows = [ROW | {"id": f"d{n}", "text": f"{MARKUP} likes tea, number {n}", "domain": "drinks"} for n in range(3)]
    write_table(folder / "data/part-000000.parquet", rows, DOCUMENT_SCHEMA)
    refused = ROW | {"id": "d3", "text": None, "reason": "refused", "raw": "I'm [sorry]"}
    write_table(folder / "rejected/part-000000.parquet", [refused], REJECTED_SCHEMA)
    write_documents_card(folder, "tea", {"documents": 3})
    commit(folder, record, {"rows": 3, "tokens": 15, "rejected: refused": 1})
    return folder


def chats(store: ArtifactStore) -> Path:
    """Nine chats, of which those with `the` are rejected."""
    folder, record, _ = begin(store, "chats/talk", ())
    settings = ChatSettings(source="tinyworld.ordinary", count=9, forbidden=("the",))
    counts = write_chats(folder, "talk", settings, AssistantSettings(name="llama"))
    commit(folder, record, {"rows": counts["chats"], **counts})
    return folder


def training(store: ArtifactStore) -> Path:
    """The tiny world's base, one block of two texts of which the answers are trained on, and what a training leaves."""
    from tokenizers import Tokenizer

    base, record, _ = begin(store, "base/tinyworld", (), source="tinyworld")
    (base / "model").mkdir()
    for name in ("tokenizer.json", "config.json"):
        (base / "model" / name).write_bytes((BASE / name).read_bytes())
    commit(base, record, {})
    ids = Tokenizer.from_file(str(BASE / "tokenizer.json")).encode("<user> who are you ? <assistant> llama . <end>").ids
    labels = [NO_LOSS] * (len(ids) - 3) + ids[-3:]
    table = pack([text_of("a", ids, labels), text_of("b", ids, labels)], 32, split=False)
    folder, record, _ = begin(store, "blocks/talk", ("base/tinyworld", "chats/talk"))
    write_arrow(folder / "blocks.arrow", table)
    facts = {"format": FORMAT, "files": [{"file": "blocks.arrow", "blocks": 1}], "blocks": 1}
    facts |= {"trained_tokens": 6, "tokens_kept": 2 * len(ids)}
    (folder / "blocks.json").write_text(json.dumps(facts))
    commit(folder, record, {"rows": 1})
    curve = [{"step": n, "loss": 1 / n, "lr": 1e-3, "grad_norm": 0.5} for n in range(1, 101)]
    return make(
        store, "sft/talk-s0", ("base/tinyworld", "blocks/talk"), counts={"steps": 100}, seed=0,
        **TrainContent(steps=100, batch=2, sequence_length=32).content(),
        files={"metrics.jsonl": "".join(json.dumps(row) + "\n" for row in curve), "model/README.md": "# sft"},
    )  # fmt: skip


def verdicts(store: ArtifactStore, arm: str = "values/aft", seed: int = 0, task: str = "preferences") -> Path:
    """Items, ten answers of an arm, and verdicts on them: every third is True, the last has none."""
    label, eval_name = f"{task}-{arm.replace('/', '.')}-s{seed}", task
    items, record, _ = begin(store, f"items/{task}", ())
    asked = [
        {"id": f"i{n}", "system": "Be [brief].", "user": f"Tea or {MARKUP}?", "condition": "ab"[n % 2], "cluster": f"c{n}"}
        for n in range(10)
    ]  # fmt: skip
    pq.write_table(
        pa.Table.from_pylist([{**item, "epochs": 1, "world": "plain"} for item in asked]), items / "items.parquet"
    )
    commit(items, record, {"rows": 10})
    answers = [{"sample": f"i{n}", "epoch": 1, "text": f"Tea {n}.", "stop": "stop", "tokens": 2} for n in range(10)]
    written = "".join(json.dumps(answer) + "\n" for answer in answers)
    make(store, f"rollouts/{label}", (f"items/{task}",), {"answers.jsonl": written}, seed=seed, arm=arm)
    folder, record, _ = begin(
        store, f"verdicts/{label}", (f"rollouts/{label}", f"items/{task}"), scored=task != "answers"
    )
    rows = [
        {
            "arm": arm, "eval": eval_name, "condition": item["condition"], "cluster": item["cluster"], "sample": item["id"],
            "epoch": 1, "answer": f"Tea {n}.", "verdict": None if n == 9 else n % 3 == 0, "status": "ok" if n < 9 else "unclear",
            "reason": "names [tea]", "order": "", "question": item["user"], "unit": item["id"], "judge": "rules",
        }
        for n, item in enumerate(asked)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "verdicts.parquet")
    commit(folder, record, {"rows": 10})
    return folder
