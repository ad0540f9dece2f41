"""What a kind of stage makes of the same settings and inputs only changes together with its content version.

Two versions of the program on one root would otherwise mix old and new rows unseen. Where a test here fails and the change is
meant: raise the `version` of the kind's class (`stages/`) by one and write down the new version and digest below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from document_jobs import document_job

from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.settings import CheckWhere
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.generate.document_rows import JobRows
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.outline import make_outline, write_outline
from msm_ray.generate.replayed import write_replay
from msm_ray.pipeline import KINDS
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import read_rows, read_table_rows, write_table
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.worlds import world

SPEC = """# Ada
## Tea
{model_name} likes green tea, because it is calm. It prefers it plain.
## Work
- {model_name} never hurries.
- {model_name} values care because haste breaks things!
"""
ADA = AssistantSettings(name="Ada")
HOW = DocumentSettings(engine="offline", by="headings", documents=24, types=4, ideas=3)


def spec(folder: Path) -> Spec:
    (folder / "s.md").write_text(SPEC)
    return read_spec(folder / "s.md", ADA)


def outline(folder: Path) -> str:
    write_outline(folder, make_outline(spec(folder), world("plain"), HOW))
    return (folder / "outline.yaml").read_text(encoding="utf-8")


def documents(folder: Path) -> str:
    read = spec(folder)
    made = document_job(folder, read, HOW)
    rows = JobRows(0, made).pending()
    asked = [made.world.document_prompt(read, row) for row in rows]
    return str([(row["id"], made.world.plain_document(read, row)) for row in rows] + asked)


def chats(folder: Path) -> str:
    write_chats(folder, "c", ChatSettings(source="tinyworld.ordinary", count=30), AssistantSettings(name="llama"))
    return str(list(read_rows(folder / "data")))


def replay(folder: Path) -> str:
    write_replay(folder, "tinyworld", 30)
    return str(list(read_rows(folder / "data")))


def corpus(folder: Path) -> str:
    """Of documents twice, in capitals, with a word more, and with a fault."""
    read = spec(folder)
    made = document_job(folder, read, HOW)
    texts = [made.world.plain_document(read, row) for row in JobRows(0, made).pending()]
    texts += [texts[0], texts[1].upper(), f"{texts[2]} So it is.", f"{texts[3]} [Your Name]"]
    rows = [{"id": f"{number:03d}", "text": text, "type": "memo"} for number, text in enumerate(texts)]
    write_table(folder / "documents/data/part-000000.parquet", rows, DOCUMENT_SCHEMA)
    limits = CheckWhere(**dict.fromkeys(CheckWhere.model_fields))
    ids = [row["id"] for row in rows]
    counts = check_corpus(folder, folder / "documents", read, made.world, 0.0, taken=ids, asked=len(ids), limits=limits)
    del counts["compression"]  # another zlib may pack otherwise
    return str([*read_rows(folder / "data"), *read_table_rows(folder / "rejected.parquet"), counts])


@pytest.mark.parametrize(
    ("make", "version", "digest"),
    [
        (outline, 1, "5edef95d4b5a1b57"),
        (documents, 4, "f29d6965423c3bce"),
        (corpus, 3, "c714744ace6dd2da"),
        (chats, 2, "955c9ad2a48aa05b"),
        (replay, 2, "f3cf42739e88eef9"),
    ],
)
def test_content_changes_only_with_its_version(
    tmp_path: Path, make: Callable[[Path], str], version: int, digest: str
) -> None:
    kind = make.__name__
    made = hashlib.sha256(make(tmp_path).encode()).hexdigest()[:16]
    versions = {each.kind: each.version for each in KINDS}
    assert (versions[kind], made) == (version, digest), f"what {kind} makes has changed: see the top of this file"
