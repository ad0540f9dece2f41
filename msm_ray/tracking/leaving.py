"""What leaves this machine. With `tracking.texts: false` numbers and names do, and no text that is written, asked or answered.

Names are those of experiment, specs, chats, arms, evals and their conditions, and of folders.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.graph.artifacts import Artifact
from msm_ray.rows.sampling import columns_of
from msm_ray.rows.tables import read_data, read_table_rows

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

SHOWN_ROWS = 50
"""Documents, and chats, of a table."""
SHOWN_TRANSCRIPTS = 8
"""Transcripts of an arm and eval."""
TRANSCRIPT_COLUMNS = (
    "eval", "arm", "condition", "question", "answer", "verdict", "status", "reason", "judge", "sample", "epoch",
)  # fmt: skip
DOCUMENT_COLUMNS = ("id", "domain", "subdomain", "type", "idea", "text", "generator")
KEPT = ("cluster", "tracking", "root", "report")
"""Sections of the settings that say nothing about what was made."""
WITH_PASSWORD = re.compile(r"//[^/@\s\"]*@")

Row = Mapping[str, Any]


def config(settings: ExperimentSettings) -> dict[str, Any]:
    """The experiment's settings, addresses without user and password. Without texts only its numbers, under their names."""
    content = json.loads(WITH_PASSWORD.sub("//", settings.model_dump_json(exclude=set(KEPT))))
    return content if settings.tracking.texts else numbers(content)


def numbers(value: Any) -> Any:
    """Settings without any text but their names."""
    if isinstance(value, Mapping):
        return {key: inner for key, one in value.items() if (inner := numbers(one)) is not None}
    if isinstance(value, list):
        return [inner for one in value if (inner := numbers(one)) is not None] or None
    return None if isinstance(value, str) else value


def counts(artifact: Artifact) -> dict[str, int | float]:
    """What a stage counted, in numbers; rejected rows altogether, for reasons quote what was rejected."""
    counted = {key: n for key, n in artifact.counts.items() if isinstance(n, int | float)}
    rejected = [n for key, n in counted.items() if key.startswith("rejected: ")]
    kept = {key: n for key, n in counted.items() if not key.startswith("rejected: ")}
    return {**kept, "rejected": sum(rejected)} if rejected else kept


def documents(corpus: Artifact) -> list[list[Any]]:
    """Documents of a corpus, drawn by a fixed seed, as rows of `DOCUMENT_COLUMNS`."""
    there = columns_of(sorted((corpus.folder / "data").glob("*.parquet")))
    rows = read_data(corpus.folder / "data", [name for name in DOCUMENT_COLUMNS if name in there])
    return [[row.get(column) for column in DOCUMENT_COLUMNS] for row in _drawn(rows, SHOWN_ROWS, corpus.name)]


def chats(artifact: Artifact) -> list[list[str]]:
    """Chats of a set, drawn by a fixed seed: (id, turns as lines)."""
    drawn = _drawn(read_data(artifact.folder / "data", ["id", "messages"]), SHOWN_ROWS, artifact.name)
    return [[row["id"], "\n".join(f"{m['role']}: {m['content']}" for m in row["messages"])] for row in drawn]


def transcripts(settings: ExperimentSettings, verdicts: Sequence[Artifact]) -> list[list[Any]]:
    """Some transcripts of each eval and arm, drawn by a fixed seed, with verdict and reason; open questions: all."""
    by_arm: dict[tuple[str, str], list[Row]] = {}
    for artifact in verdicts:
        for row in read_table_rows(artifact.folder / "verdicts.parquet"):
            by_arm.setdefault((row["eval"], row["arm"]), []).append(row)
    shown: list[Row] = []
    for (name, arm), rows in by_arm.items():
        how = settings.evals.get(name)
        shown += rows if how and not how.scored else _drawn(rows, SHOWN_TRANSCRIPTS, f"{name} {arm}")
    return [[row.get(column) for column in TRANSCRIPT_COLUMNS] for row in shown]


def pictures(report: Artifact) -> list[Path]:
    """The figures of a report that W&B can show: their titles are texts."""
    return sorted((report.folder / "figures").glob("*.png"))


def key_of(picture: Path) -> str:
    """What a figure is called in the experiment's run."""
    return f"figures/{picture.stem}"


def _drawn(rows: Sequence[Row], most: int, seed: str) -> list[Row]:
    ordered = sorted(rows, key=lambda row: str(row.get("id") or (row.get("sample"), row.get("epoch"))))
    return random.Random(seed).sample(ordered, min(most, len(ordered)))


def reference_of(artifact: Artifact, experiment: str) -> Any:
    """A W&B artifact, called after its experiment and stage, that points at a folder (`file://`) and holds no file of it.

    Its one entry is called by the digest, so that another content is another version; W&B itself would read every byte for that.
    """
    import wandb

    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{experiment}-{artifact.stage}-{artifact.name}")[:128]
    facts = {
        "version": artifact.version,
        "digest": artifact.digest,
        "fingerprint": artifact.record["fingerprint"],
        "made from": dict(artifact.record.get("inputs", {})),
        **counts(artifact),
    }
    made = wandb.Artifact(name, type=artifact.stage, metadata=facts)
    uri = artifact.folder.resolve().as_uri()
    made.add_reference(uri, name=f"{artifact.stage}@{artifact.version}-{artifact.digest[:16]}", checksum=False)
    return made
