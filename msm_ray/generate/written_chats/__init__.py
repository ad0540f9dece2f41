"""Chats by a writer: from a spec to chats that alignment fine-tuning trains on (paper, the five calls for chats).

`conversation.py` is the story: domains of conversation, questions, those left out that are alike, answers with thinking, a
judge's word on each, and all that again for what is missing. `kinds.py` has what is asked for chats about a spec (`aft`),
narrow preferences and identity; `reading.py` and `verdicts.py` what is read from the answers; `alike.py` and `embedding.py` which
questions say the same; `rows.py` what is left behind; `conflicts.py` judges chats of others.
"""

from msm_ray.generate.written_chats.conflicts import conflicts_conversation
from msm_ray.generate.written_chats.conversation import chats_conversation
from msm_ray.generate.written_chats.embedding import embedder, missing_embedder
from msm_ray.generate.written_chats.found import ChatsFound, Domain, Question, WrittenChat
from msm_ray.generate.written_chats.kinds import calls_of, expected_requests, prompt_versions
from msm_ray.generate.written_chats.likings import settings_with_likings
from msm_ray.generate.written_chats.rows import mixed, read_written, write_found
from msm_ray.generate.written_chats.settings import WrittenChats

__all__ = [
    "ChatsFound",
    "Domain",
    "Question",
    "WrittenChat",
    "WrittenChats",
    "calls_of",
    "chats_conversation",
    "conflicts_conversation",
    "embedder",
    "expected_requests",
    "missing_embedder",
    "mixed",
    "prompt_versions",
    "read_written",
    "settings_with_likings",
    "write_found",
]
