"""The stage that makes blocks: a corpus or a set of chats in, a file of blocks a range of ids and `blocks.json` out.

Texts are tokenized and packed by workers where there is much of them; here are ids, counts and what follows from them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from msm_ray import progress
from msm_ray.corpus import tokens
from msm_ray.corpus.blocks import FACTS, FORMAT, REJECTED
from msm_ray.corpus.ranges import RANGE, Packing, ranges_for
from msm_ray.corpus.settings import BlockSettings
from msm_ray.corpus.spread import Note, Work, notes
from msm_ray.corpus.tokenized import Tokenized
from msm_ray.corpus.tokenizing import COLUMN, PART, ROWS, Kind, Rendering, Tokenizing
from msm_ray.corpus.tokens_ahead import NONE_AHEAD, Taken, TokensAhead, taken_from
from msm_ray.errors import SettingsError, StageError
from msm_ray.rows.stretches import STRETCH, stretches
from msm_ray.rows.tables import write_own_table
from msm_ray.whole_files import write_whole

WORKING, TAKEN, PLAN = "tokens", "taken", "plan.json"
"""Folders below the blocks, which go when these are whole: for what is tokenized and not packed yet, and for what is taken of
that which was made ahead; and what the first is of."""
MOST_HERE = 64 * 2**20


@dataclass(frozen=True)
class Sizes:
    """How the work is cut up. Only `of_range` changes what is made: texts of different ranges never share a block.

    here: bytes of texts up to which all is done in this process, since Ray's workers take ten seconds to start. of_range,
    of_part: tokens; stretch: bytes of texts; batch: rows.
    """

    here: int = MOST_HERE
    of_range: int = RANGE
    of_part: int = PART
    stretch: int = STRETCH
    batch: int = ROWS


def build_blocks(
    out: Path,
    *,
    kind: Kind,
    main: Path | Sequence[Path],
    other: Path | None,
    tokenizer: Path,
    settings: BlockSettings,
    seed: int,
    rendering: Rendering = Rendering(),  # noqa: B008  frozen
    need_ray: Callable[[], None] | None = None,
    documents: Path | None = None,
    ahead: Path | None = None,
    sizes: Sizes = Sizes(),  # noqa: B008  frozen
) -> dict[str, int | float]:
    """Tokenize, mix and pack; deterministic in its arguments, whoever does the work and however often it is interrupted.

    main, other: folders of Parquet files (`text` for documents, `messages` for chats); other is mixed in by
    `settings.mix`. tokenizer: a model folder. Documents are cut over blocks where they must be; a chat that does not fit
    a block is rejected, never cut; that some were is warned about. need_ray: starts Ray, where there is much to do; None: all
    is done here. documents, ahead: what a corpus was made of, and where lies what was made of them while they came
    (`TokensAhead`). Writes blocks-*.arrow, blocks.json and rejected.parquet (id, reason) into `out`, and goes on from what a
    killed run left there. Returns tokens_in, tokens_kept, trained_tokens, positions, fill, blocks, texts, rejected and
    `rejected: reason`. Raises SettingsError or StageError for inputs that leave nothing to train on, QualityGateError
    where most chats are rejected.
    """
    mains = list(main) if isinstance(main, Sequence) else [main]
    folders = [*mains, *([other] if other and settings.mix else [])]
    made = _made_ahead(out, mains[0], documents, ahead, tokenizer, rendering.separator)
    how = _tokenizing(out / WORKING, kind, folders, len(mains), tokenizer, settings, rendering, sizes)
    how = replace(how, ahead=made.hashes)
    if settings.mix and other is None:
        raise SettingsError(f"mix {settings.mix}: there is nothing to mix in; set mix_source or mix=0")
    digest = tokens.tokenizer_digest(how.tokenizer)
    _begin(out, how, json.dumps([digest, seed, sizes.of_range, sizes.of_part, made.said()]))
    on_ray = need_ray is not None and _on_ray(how, need_ray, sizes.here)
    named = f"{mains[0].parent.name}: {kind} tokenized"
    tokenized = Tokenized(how, _all_notes(how, on_ray, named, "stretches"), folders, len(mains), made)
    tokenized.tell()
    chosen, texts, kept = tokenized.choose(seed)
    packing = Packing(
        how.folder, out, tuple(tokenized.parts), tuple(chosen), ranges_for(kept, sizes.of_range), settings.sequence_length,
        split=kind == "documents",
    )  # fmt: skip
    ranges = _all_notes(packing, on_ray, "packing", "ranges")
    counts = _counts(tokenized, ranges, settings.sequence_length, kept)
    if (counts["texts"], counts["tokens_kept"]) != (texts, kept):
        raise StageError(
            f"{out}: {texts:,} texts of {kept:,} tokens were to be packed, and {counts['texts']:,} of "
            f"{counts['tokens_kept']:,} were; remove the folder to have them made again"
        )
    _finish(out, tokenized, ranges, counts, digest)
    return counts


def _made_ahead(
    out: Path, corpus: Path, documents: Path | None, ahead: Path | None, model: Path, separator: str | None
) -> Taken:
    """What was tokenized while documents came, as far as the corpus took it; its notes lie beside what is on its way."""
    if documents is None or not isinstance(ahead, Path):
        return NONE_AHEAD  # in a bucket nothing can be memory-mapped
    rows = corpus / "data" if (corpus / "data").is_dir() else corpus
    return taken_from(ahead / TokensAhead(model, separator).key, documents / "data", rows, out / TAKEN)


def _tokenizing(
    folder: Path, kind: Kind, folders: Sequence[Path], mains: int, model: Path, settings: BlockSettings,
    rendering: Rendering, sizes: Sizes,
) -> Tokenizing:  # fmt: skip
    tokenizer = tokens.load_tokenizer(model)
    cut = [each for n, source in enumerate(folders) for each in stretches(n, source, COLUMN[kind], sizes.stretch)]
    separator = tokens.document_separator(model, tokenizer, rendering.separator) if kind == "documents" else None
    how = Tokenizing(
        folder,
        tuple(cut),
        kind,
        model,
        settings,
        rendering.options,
        thinking=(*[rendering.thinking] * mains, rendering.other_thinking),
        separator=separator,
        part=sizes.of_part,
        batch=sizes.batch,
    )
    for source in range(len(folders) if kind == "chats" else 0):
        how.chats(source)  # a template that can't be right is found before anything is begun
    return how


def _begin(out: Path, how: Tokenizing, more: str) -> None:
    """Make the folder for what is on its way; what lies there of other inputs or settings is removed."""
    states = [(each, each.file.stat()) for each in how.stretches]
    files = [(each.source, each.file.name, each.groups, at.st_size, at.st_mtime_ns) for each, at in states]
    settings = [how.settings.sequence_length, how.settings.trained_on, how.settings.mix]
    told = [FORMAT, how.kind, files, settings, how.separator, dict(how.options), how.thinking, more]
    plan, path = json.dumps(told, sort_keys=True), how.folder / PLAN
    if path.is_file() and path.read_text(encoding="utf-8") == plan:
        return
    shutil.rmtree(how.folder, ignore_errors=True)
    for left in out.glob("blocks-*.arrow"):
        left.unlink()
    how.folder.mkdir(parents=True)
    write_whole(path, plan)


def _on_ray(how: Tokenizing, need_ray: Callable[[], None], most_here: int) -> bool:
    if sum(stretch.size for stretch in how.stretches) <= most_here:
        return False
    import ray

    need_ray()
    return ray.is_initialized()


def _all_notes(work: Work, on_ray: bool, label: str, unit: str) -> list[Note]:
    """The notes of all pieces of work, in the order of their numbers; done here, each of them shows how far it is."""
    found: dict[int, Note] = {}
    with progress.task(label, work.count, unit) if on_ray else contextlib.nullcontext() as shown:
        for number, note in notes(work, on_ray=on_ray):
            found[number] = note
            if shown:
                shown.advance()
    return [found[number] for number in range(work.count)]


def _counts(
    tokenized: Tokenized, ranges: Sequence[Note], sequence_length: int, tokens_in: int
) -> dict[str, int | float]:
    total = {key: sum(note[key] for note in ranges) for key in ("blocks", "texts", "tokens", "trained")}
    positions = total["blocks"] * sequence_length
    return {
        "blocks": total["blocks"],
        "texts": total["texts"],
        "rejected": len(tokenized.rejected),
        "tokens_in": tokens_in,
        "tokens_kept": total["tokens"],
        "main_tokens": tokenized.main()[1],
        "trained_tokens": total["trained"],
        "positions": positions,
        "fill": round(total["tokens"] / positions, 6),
    } | {f"rejected: {reason}": count for reason, count in sorted(tokenized.reasons.items())}


def _finish(
    out: Path, tokenized: Tokenized, ranges: Sequence[Note], counts: dict[str, int | float], digest: str
) -> None:
    """Write what was rejected and, last, the facts; then what was on its way is of no use any more."""
    schema = pa.schema([("id", pa.string()), ("reason", pa.string())])
    write_own_table(out / REJECTED, tokenized.rejected, schema)
    facts = {
        **counts,
        "format": FORMAT,
        "kind": tokenized.how.kind,
        "sequence_length": tokenized.how.settings.sequence_length,
        "tokenizer_digest": digest,
        "reasons": dict(sorted(tokenized.reasons.items())),
        "highest_id": max(note["highest"] for note in ranges),
        "files": [{key: note[key] for key in ("file", "blocks", "digest")} for note in ranges],
    }
    write_whole(out / FACTS, json.dumps(facts, indent=1, sort_keys=True))
    shutil.rmtree(tokenized.how.folder)
    shutil.rmtree(out / TAKEN, ignore_errors=True)
    for torn in out.glob(".blocks-*.tmp"):
        torn.unlink()
