"""What others made: every file is opened and parsed; a data set of the hub is not looked at, and that is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msm_ray.evals import faults
from msm_ray.generate.chat_files import chats_form
from msm_ray.generate.chats import MEANT, MOST_LOST, short_reason
from msm_ray.generate.given_documents import TOLD_SO, about_another, documents_form
from msm_ray.generate.given_settings import GivenRows
from msm_ray.preflight import amounts
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.rows.files import Form, checked
from msm_ray.yaml_tree import At


def chats(proposal: Proposal, name: str) -> Iterator[Finding]:
    """A set of chats that others made: where each part lies, lines that are no rows, rows that are no chats to train on."""
    how = proposal.settings.chats[name]
    if not how.given:
        yield proposal.error(("chats", name, "parts"), "is missing: source is mix", "name its parts and their shares")
    for part, rows in how.given.items():
        at: At = ("chats", name, "parts", part) if part else ("chats", name)
        many = f"{how.count:,} chats: " if not part else ""
        yield from place(proposal, at, rows, chats_form(rows.columns), None if part else how.source, many)
    judged = proposal.once(amounts.given_chats)[name] if how.given else []
    left_out = Counter(short_reason(row["reason"]) for row in judged if row["reason"])
    lost = sum(count for reason, count in left_out.items() if reason not in MEANT)
    if left_out:
        listed = ", ".join(f"{reason} ({count:,})" for reason, count in left_out.most_common())
        tell = proposal.error if lost > MOST_LOST * len(judged) else proposal.warning
        yield tell(
            ("chats", name), f"{sum(left_out.values()):,} of {len(judged):,} rows are left out: {listed}",
            "they are kept as rejected rows; mend the file, or map its columns",
        )  # fmt: skip


def documents(proposal: Proposal) -> Iterator[Finding]:
    """Corpora that others made: where each lies, rows without a text, fewer than are asked for, another assistant's name."""
    for name, at, how in proposal.all_corpora():
        if not how.is_given:
            continue
        yield from place(proposal, at, how, documents_form(how.columns), how.source)
        read = checked(how.path, documents_form(how.columns))[0] if how.path and not how.misplaced else []
        texts = amounts.given_texts(how) if read else []
        if len(texts) < len(read):
            yield proposal.warning(
                (*at, "path"),
                f"{len(read) - len(texts):,} of {len(read):,} rows hold no text and are left out",
                "mend the file",
            )
        if 0 < len(texts) < how.documents:
            yield proposal.fewer(
                (*at, "documents"), f"{how.documents:,} documents about specs.{name} are asked for and {how.path} holds "
                f"{len(texts):,}", f"set {len(texts)}",
            )  # fmt: skip
        assistant = how.named or proposal.settings.assistant
        if texts and (wrong := about_another(texts, assistant.name)):
            yield proposal.error((*at, "path"), wrong, TOLD_SO)


def place(
    proposal: Proposal, at: At, rows: GivenRows, form: Form, source: str | None, how_many: str = ""
) -> Iterator[Finding]:
    """Where rows lie. source: `file` or `hub`; None: either. form: of a file's rows."""
    key = source and {"file": "path"}.get(source, source)
    if key and not getattr(rows, key):
        yield proposal.error((*at, key), f"is missing: source is {source}", f"name {how_many}{form.expected}")
    elif rows.misplaced:
        yield proposal.error(at, rows.misplaced, "")
    elif rows.path:
        yield from proposal.told((*at, "path"), faults.rows((), rows.path, form, how_many))
    else:
        yield from _hub(proposal, at, rows)


def _hub(proposal: Proposal, at: At, rows: GivenRows) -> Iterator[Finding]:
    if rows.revision is None:
        yield proposal.warning(
            (*at, "revision"), f"is missing: {rows.hub} may be another data set tomorrow, and two machines may get two",
            "give the commit that you mean, 40 hex digits",
        )  # fmt: skip
    yield proposal.not_checked(
        (*at, "hub"), f"{rows.hub} comes from the hub: whether it can be had, and its rows, are not looked at"
    )
