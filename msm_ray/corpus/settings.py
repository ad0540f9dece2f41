"""What decides a corpus and packed blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from msm_ray.settings_base import Settings, Share, Unit, Where

OVERLAP = ("near_duplicates", "most_near_duplicates", "least_distinct", "most_of_one_name", "most_of_one_opening")
"""Settings of checks that look at what documents share: in a closed language honest ones share almost everything."""


class CheckContent(Settings):
    """Which documents are fit to be trained on."""

    least_words: Annotated[int, Field(gt=0), Unit("words")] = 5
    """Shortest document."""
    most_words: Annotated[int, Field(gt=0), Unit("words")] = 20_000
    """Longest document."""
    near_duplicates: Annotated[float, Field(gt=0, le=1), Unit("Jaccard of 5-grams of words")] | None = 0.8
    """A document that is as similar as this to one that is kept is left out (MinHash with 128 numbers, to within about 0.04).
    None: they are not looked for, which is the default in a closed language (`world: tinyworld`), where honest documents overlap.
    Paper: not stated."""
    overused: Annotated[float, Field(gt=0, le=1), Unit("share of the documents")] = 0.05
    """A person's name or an opening that more documents than this share is told in the card as overused. Paper: not stated; in
    a corpus of this kind one invented name occurred 439,000 times."""

    faithful_sample: Annotated[int, Field(ge=0), Unit("documents")] = 0
    """Documents, drawn by hash, that a judge (`writer.calls.faithfulness`) holds against the spec; scores of 1 to 10 stand in the
    column `faithfulness` and on the card. 0: none. Paper: none."""
    least_faithful: Annotated[float, Field(ge=1, le=10), Unit("score")] = 5
    """A document of the sample that the judge gives less is left out. Paper: none."""

    @model_validator(mode="after")
    def some_length_is_left(self) -> CheckContent:
        """Bounds that leave no length would reject every document, after all were paid for."""
        if self.least_words > self.most_words:
            raise ValueError(
                f"least_words {self.least_words} is above most_words {self.most_words}: no document has such a length"
            )
        return self


class CheckWhere(Where):
    """Which corpora end the run, with exit code 4. None of it changes a corpus; none: that is no reason to stop."""

    most_near_duplicates: Share | None = 0.3
    """Near-duplicates, of the documents that are fit otherwise; more end the run. None in a closed language."""
    least_distinct: Share | None = 0.05
    """Different 3-grams of words, of all in stretches of 10,000 words; fewer end the run. None in a closed language."""
    least_mean_faithful: Annotated[float, Field(ge=1, le=10), Unit("score")] | None = 6
    """Mean score of the sample that was judged; less ends the run."""
    most_of_one_name: Share | None = 0.5
    """Documents in which one person's name stands, of those that are kept; more end the run. None in a closed language."""
    most_of_one_opening: Share | None = 0.5
    """Documents that begin with the same five words, of those that are kept; more end the run. None in a closed language."""


class CheckSettings(CheckWhere, CheckContent):
    """How documents are sorted out before anything is trained on them."""


def checks_in(settings: CheckSettings, closed: bool) -> CheckSettings:
    """The settings as they hold in a world. closed: what looks at shared words is off there, unless the user set it."""
    off = set(OVERLAP) - settings.model_fields_set if closed else set()
    return settings.model_copy(update=dict.fromkeys(off))


class PackingSettings(Settings):
    """What decides the blocks that a training sees, beside their length."""

    mix: Annotated[float, Field(ge=0, lt=1), Unit("share of the tokens")] = 0.0
    """Share of the tokens that comes from `mix_source`. Paper: nothing beside documents; beside AFT's chats 2M tokens to
    5.35M (32B), 16,000 rows to 5,129 (8B)."""
    trained_on: Literal["assistant", "last_assistant", "all"] = "assistant"
    """Tokens of a chat that are trained on: every answer, the last answer, or everything. Paper: not stated."""


class BlockSettings(PackingSettings):
    """The blocks that a training sees: their length, and what is packed into them."""

    sequence_length: int
    """Length of a block, in tokens."""
