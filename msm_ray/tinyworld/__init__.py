"""A world small enough for a laptop: its language, its personas, the questions asked in it and its base model.

Everything exported here is plain Python; `build` (pretraining) needs torch.
"""

from pathlib import Path

from msm_ray.tinyworld.chats import TOPICS, endings_chats, ordinary_chats, ordinary_documents, preference_chats
from msm_ray.tinyworld.evals import PreferenceQuestion, Scenario, acted, choice, preference_pairs, scenarios
from msm_ray.tinyworld.forms import DOCUMENT_TYPES
from msm_ray.tinyworld.specs import (
    check_words,
    contradictions,
    read_subject,
    speaks_this_language,
    write_document,
    writer_prompt,
)
from msm_ray.tinyworld.world import ASSISTANT, DOMAINS

BASES = {name: Path(__file__).parent / name for name in ("base", "base-seed0")}
"""The shipped base models: pretrained with seed 1 (the default) and with seed 0."""

__all__ = [
    "ASSISTANT",
    "BASES",
    "DOCUMENT_TYPES",
    "DOMAINS",
    "TOPICS",
    "PreferenceQuestion",
    "Scenario",
    "acted",
    "check_words",
    "choice",
    "contradictions",
    "endings_chats",
    "ordinary_chats",
    "ordinary_documents",
    "preference_chats",
    "preference_pairs",
    "read_subject",
    "scenarios",
    "speaks_this_language",
    "write_document",
    "writer_prompt",
]
