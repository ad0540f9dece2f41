"""Chats by a writer: from a spec to chats that alignment fine-tuning trains on (paper, the five calls for chats).

`conversation.py` is the story: domains of conversation, questions, those left out that are alike, answers with thinking, a
judge's word on each, and all that again for what is missing. `kinds.py` has what is asked for chats about a spec (`aft`),
narrow preferences and identity; `reading.py` and `verdicts.py` what is read from the answers; `conflicts.py` judges chats of
others.
"""
