"""What the arms are asked and how their answers are judged. An eval is one file or folder here; `registry` lists them.

`protocol` says what an eval is. What evals share: `items` (the file of questions), `asking` and `answer_file` (one question,
one kept answer), `reading`, `judgement`, `model_judge` and `verdicts` (from an answer to a verdict), `held_out`, `faults`.
"""
