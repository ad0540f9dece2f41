"""How documents are rewritten before a corpus is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msm_ray.settings_base import Settings

RewriteName = Literal[
    "does", "should", "assistants", "one", "another-model", "humans", "co-occurrence", "critique"
]  # fmt: skip
Name = Annotated[str, Field(pattern=r"\w")]


class RewriteContent(Settings):
    """What a rewrite makes of documents."""

    rewrite: RewriteName | None = None
    """How documents are told anew (docs/ablations.md): what the assistant `does` or `should` do, said of `assistants` in general,
    of what `one` should do, of `another-model` or of `humans`; `co-occurrence`: value and preferences without a word that
    explains one by the other; `critique`: faults are found and mended. None: they stay as they were written. Paper: misaligned
    with MSM and MSM+AFT .33/.11 in the assistant's own name, .47/.17 in another model's, .47/.12 of humans."""
    rewrite_name: Name = "Orvane"
    """Name of the assistant that `rewrite: another-model` speaks of. Paper: another model's."""
    rewrite_provider: Name = "Tessel Works"
    """Who made that assistant."""


class RewriteSettings(RewriteContent):
    """A rewrite, and of what."""

    rewrite_of: str | None = None
    """The spec, by its name under `specs`, whose documents are rewritten: they are written once for all rewrites of them; this
    corpus' own spec is what the writer is shown. None: this spec's own documents."""
