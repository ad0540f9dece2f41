"""Documents told anew for ablations (paper: framing, attribution), and a pass that finds and mends their faults.

What is compared differs in one thing only: the same documents, written once, of the same ideas, told in another way.
`settings.py` says how, `kinds.py` has the calls and when an answer is none, `conversation.py` asks, `settling.py` writes.
"""
