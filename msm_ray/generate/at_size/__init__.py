"""Documents by the hundred thousand: workers render, ask, settle and write; the driver has ids and no text.

`plan.py` is what the driver knows of a job; `worker.py` what a worker does with a block of rows; `passes.py` how the one gives to
the other, through Ray Data. Settling, prompts and files are those of `document_rows.py` and `shards.py`.
"""
