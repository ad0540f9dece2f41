"""Rows by the hundred thousand: workers render, ask, settle and write; the driver has ids, and no
text but what a conversation holds itself (of chats).

`plan.py` is what the driver knows of a stage's rows; `worker.py` what a worker does with a block of them; `passes.py` how the one
gives to the other, through Ray Data. What the rows are say `documents.py` and `calls.py`: settling, prompts and files are those
of few rows.
"""

AT_SIZE = 20_000
"""From so many rows on, Ray's workers do what the run's process does with fewer: their start, some seconds, is worth it then."""
