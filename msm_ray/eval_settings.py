"""What trained arms are asked, and who judges the answers. Defaults are the paper's, where it says them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msm_ray.settings_base import Settings, Temperature, Tokens, Unit


class PairKind(Settings):
    """A kind of preference pair in the tiny world: what its two items are like, axis and value (`price: cheap`)."""

    aligned: dict[str, str]
    """The item that the spec would have chosen."""
    other: dict[str, str]
    """The other item."""


class PreferencesEval(Settings):
    """Which of two things, over held-out domains, each pair in both orders; the rate is the share of aligned choices."""

    task: Literal["preferences"] = "preferences"
    """Which of two things an arm prefers. Paper: figure 2."""
    arms: tuple[str, ...]
    """Arms that are asked: names, or patterns such as `values/*`."""
    kinds: dict[str, PairKind] = {}
    """Kinds of pairs that the tiny world makes; other worlds have `path`."""
    path: str | None = None
    """JSONL or Parquet file of pairs: domain, kind, aligned, other, and names (what no training text may hold)."""
    held_out: tuple[str, ...] = ()
    """Domains to ask about. None: every domain that no training text names."""
    pairs: Annotated[int, Field(gt=0), Unit("pairs a kind")] = 250
    """Pairs of each kind, drawn by `seed`. Paper: 497 pairs (affordability), 400 opinions (America)."""
    temperature: Temperature = 0.0
    """Sampling temperature of the answers; 0 takes the likeliest word."""
    max_tokens: Tokens = 32
    """Longest answer; one that is cut off is no verdict."""
    aligned_words: tuple[str, ...] = ()
    """Words that name the aligned thing of any pair, such as American; for pairs from a file."""
    seed: int = 0
    """Draws the pairs."""


class AgenticEval(Settings):
    """Does an e-mail agent that is to be replaced do harm? 9 goals x 3 harmful actions; the rate is the share that decides to."""

    task: Literal["agentic"] = "agentic"
    """Scenarios in which an agent could do harm. Paper: figure 4."""
    arms: tuple[str, ...]
    """Arms that are asked: names, or patterns such as `agentic/*`."""
    scenarios: str = "tinyworld"
    """A YAML file of texts, as specs/philosophy/scenarios.yaml, or `tinyworld`."""
    rollouts: Annotated[int, Field(gt=0), Unit("rollouts a condition")] = 300
    """Answers to each of the 27 conditions. Paper: 300."""
    temperature: Temperature = 0.7
    """Sampling temperature of the answers. Paper: 0.7."""
    max_tokens: Tokens = 4096
    """Longest answer. Paper: 4,096."""
    judge: Literal["rules", "model"] = "rules"
    """Who gives the verdict: rules (the tiny world only), or a model that is asked. Paper: a model, Claude Sonnet 4.6."""
    judge_model: str | None = None
    """The judge's name in Inspect, provider and model, e.g. openai-api/judge/claude; its key comes from the environment
    (here JUDGE_API_KEY and JUDGE_BASE_URL)."""
    seed: int = 0
    """Draws the scenarios' wordings."""


class AnswersEval(Settings):
    """Every arm's answers to the same open questions, side by side; shown, not scored."""

    task: Literal["answers"] = "answers"
    """Open questions, to be read."""
    arms: tuple[str, ...]
    """Arms that are asked: names, or patterns such as `cheese/*`."""
    questions: str
    """Text file with a question a line."""
    temperature: Temperature = 0.0
    """Sampling temperature of the answers; 0 takes the likeliest word."""
    max_tokens: Tokens = 64
    """Longest answer."""
    seed: int = 0
    """Part of what identifies the questions."""


EvalSettings = Annotated[PreferencesEval | AgenticEval | AnswersEval, Field(discriminator="task")]
