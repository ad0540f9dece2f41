"""`msm clean`: old versions, drafts and checkpoints that nothing needs, listed, and removed on a yes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msm_ray.ahead import FOLDER
from msm_ray.graph.store import ArtifactStore
from msm_ray.look.entries import Entry, needed_by, read_root
from msm_ray.look.words import bytes_below, size
from msm_ray.storage import remove
from msm_ray.terminal import plain_console

CHECKPOINTS, WORKERS = "checkpoints", "ray-train"


@dataclass(frozen=True)
class Removal:
    """A folder that nothing needs, and why."""

    folder: Path
    why: str

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return bytes_below(self.folder)


def clean(root: Path, confirm: Callable[[str], bool], *, keep_drafts: bool = False) -> None:
    """List what nothing below a root needs, and remove it where `confirm` says yes to the question it is asked.

    The root's lock is held from the look to the last removal, so that no run makes or reads anything meanwhile.
    Raises SettingsError where there is no artifact, PreflightError while a run works there.
    """
    read_root(root)  # before the lock, which would make the folder
    store = ArtifactStore(root)
    with store.lock():
        found = removals(store.root, read_root(store.root), keep_drafts=keep_drafts)
        console = plain_console()
        if not found:
            console.print(f"nothing to remove below {store.root}", soft_wrap=True)
            return
        for removal in found:
            place = removal.folder.relative_to(store.root)
            console.print(f"{size(removal.bytes):>8}  {place}: {removal.why}", soft_wrap=True)
        question = f"Remove these {len(found)} folders ({size(sum(r.bytes for r in found))}) below {store.root}?"
        if not confirm(question):
            console.print("nothing was removed")
            return
        for removal in found:
            _remove(removal.folder)
        console.print(f"{len(found)} folders removed")


def removals(root: Path, entries: Sequence[Entry], *, keep_drafts: bool = False) -> list[Removal]:
    """What can go, leaving alone all that a present, stale or damaged artifact was made from. Looks, and removes nothing."""
    passing = {"old"} if keep_drafts else {"old", "draft"}
    needed = needed_by([entry for entry in entries if entry.state not in passing], entries)
    found = [Removal(e.folder, _why(e, entries)) for e in entries if e.folder not in needed]
    for entry in (e for e in entries if e.state != "draft" and e.folder in needed):
        if (left := entry.folder / CHECKPOINTS).is_dir():
            found.append(Removal(left, "checkpoints of a training that is finished"))
    if not keep_drafts and (root / FOLDER).is_dir():
        found.append(Removal(root / FOLDER, "checks and tokens that a run made ahead, which would go on with them"))
    if not isinstance(root, Path):
        return (
            found  # what was half removed went when the root was taken, and Ray Train's notes are on the nodes' disks
        )
    found += [Removal(f, "half removed") for f in sorted(root.glob("[!.]*/.*@*.removed"))]
    # Only a killed run leaves anything here: with the lock in hand there is no other.
    found += [Removal(f, "Ray Train's notes on a run that was killed") for f in sorted((root / WORKERS).glob("*"))]
    return found


def _why(entry: Entry, entries: Sequence[Entry]) -> str:
    if entry.state == "draft":
        held = " with its checkpoints" if (entry.folder / CHECKPOINTS).is_dir() else ""
        return f"a draft{held}, which the run that began it would go on with"
    newest = max(e.artifact.version for e in entries if e.key == entry.key and e.state not in ("draft", "damaged"))
    return f"an old version; @{newest} is there, and nothing that stays was made from this"


def _remove(folder: Path) -> None:
    """An artifact's name goes first: half of its folder would be taken for a damaged one."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    elif "@" in folder.name and not folder.name.startswith("."):
        remove(folder)
    elif isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.remove_below()
