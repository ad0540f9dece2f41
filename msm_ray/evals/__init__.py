"""What the arms are asked and how their answers are judged. One eval is one small file: an Inspect task and its rules.

`items` writes the questions, `preferences`, `agentic` and `answers` ask them, `judges` reads the answers.
"""
