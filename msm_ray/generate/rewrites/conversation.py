"""Documents in, a request for each, and what came of it: no engine is known here, and no folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from msm_ray.generate.calls import Asked, Conversation, Requests
from msm_ray.generate.rewrites.kinds import Told, kind_of
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.prompt_file import bullets
from msm_ray.rows.by_place import Made
from msm_ray.rows.schemas import Row
from msm_ray.spec import Spec

NO_FACTS = "(none but what the specification says)"
OF_THE_ROW = ("domain", "subdomain", "type", "idea")


@dataclass(frozen=True)
class Rewritten:
    """A document that was to be rewritten. row: as it was; id: of what it becomes; told: None: no answer could be used."""

    row: Row
    id: str
    asked: Asked
    told: Told | None


class AllRewritten(Made[Rewritten]):
    """What came of documents, read when it is looked at, as the documents may be: of very many few are held."""

    def __init__(self, asked: Requests, told: Sequence[Told | None], spec: Spec, how: RewriteContent):
        self.asked, self.told, self.spec, self.how = asked, told, spec, how
        super().__init__(len(asked), self._rewritten)

    def _rewritten(self, place: int) -> Rewritten:
        row: Row = self.asked.things[place]
        return Rewritten(row, rewrite_id(row, self.spec, self.how), self.asked[place], self.told[place])


def rewrites_conversation(rows: Sequence[Row], spec: Spec, how: RewriteContent) -> Conversation[AllRewritten]:
    """Every document told anew, in one step: each is asked for alone, so that one that fails costs itself.

    rows: documents with `id`, `text` and where they come from; spec: what the writer is shown, and whose name it is.
    """
    asked = Requests(rows, partial(request, spec=spec, how=how))
    told = yield asked
    return AllRewritten(asked, told, spec, how)


def request(row: Row, spec: Spec, how: RewriteContent) -> Asked:
    """What is asked about one document: the spec first, so that requests of one spec share the longest prefix."""
    kind = kind_of(how)
    values = {
        "specification": spec.shown,
        "model_name": spec.assistant,
        "provider_name": spec.provider,
        "facts": bullets(getattr(spec, "facts", ())) if getattr(spec, "facts", ()) else NO_FACTS,
        "other_name": how.rewrite_name,
        "other_provider": how.rewrite_provider,
        "document": row["text"],
    }
    own = {name: row.get(name) or "(not said)" for name in OF_THE_ROW}
    about = f"{row.get('type') or 'document'} {row['id']}"
    return Asked(kind.call, values | own, known=kind.document(row["text"], spec, how), about=about)


def rewrite_id(row: Row, spec: Spec, how: RewriteContent) -> str:
    """The id of a rewritten document: a hash of the document's and of what it was rewritten by."""
    kind = kind_of(how)
    other = (how.rewrite_name, how.rewrite_provider) if kind.of == "another" else ()
    parts = (row["id"], str(how.rewrite), kind.call.prompt.version, spec.digest, *other)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
