"""What an outline holds, and who makes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from msm_ray.settings_base import Settings, Unit


class OutlineContent(Settings):
    """What an outline holds."""

    by: Literal["model", "headings"] = "model"
    """Who makes it: the writer in five calls (domains, subdomains, assertions, document types, ideas), or rules that take the
    spec's own headings and sentences, for writers that write no outline (`offline`, recordings of documents). Paper: the
    writer."""
    types: Annotated[int, Field(gt=0), Unit("a section")] = 20
    """Document types (letter, forum post, ...) for each section of the spec, or each of its subdomains. A target: the writer
    is asked again for what is missing. Paper: 20."""
    ideas: Annotated[int, Field(gt=0), Unit("a type and section")] = 25
    """Ideas, each of which becomes a document. A target, as `types` is. Paper: 25."""
    empty_rounds: Annotated[int, Field(gt=0), Unit("rounds")] = 3
    """So often in a row the writer may bring nothing new for a list that is too short; then it stays as it is, which is counted.
    Paper: not said."""
    family: Literal["prose", "rules"] = "prose"
    """What the spec is: prose, whose assertions are explained together in a document, or rules, where a document turns on one
    of them and on how it is complied with. Paper: both, by the spec."""
    domains: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Domains of your own (`by: model`): the first call is not made. Paper: the writer's."""
    given: str | None = None
    """An outline of your own (`by: model`), a YAML file in the form of `outline.yaml`: what it has is taken as it is, and
    every level that it leaves out is asked for. Paper: none."""

    @model_validator(mode="after")
    def of_one_source(self) -> OutlineContent:
        """Given domains stand in one place, and rules take neither them nor an outline."""
        if self.domains and self.given:
            raise ValueError("domains and given are both set; write the domains into the file that `given` names")
        if self.by == "headings" and (self.domains or self.given):
            raise ValueError(
                f"{'domains' if self.domains else 'given'} needs by: model; by: headings takes the spec's own"
            )
        return self
