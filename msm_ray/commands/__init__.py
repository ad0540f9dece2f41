"""The commands of `msm`, a file for each group; `cli.py` puts them together. Each reads settings and calls one function.

What a command needs is imported inside it, so that `msm --help` and every other command start without it.
"""
