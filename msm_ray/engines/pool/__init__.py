"""Engines that outlive what is asked: each model of a run is loaded once, and outline, documents and judgements go through it.

`engine.py` is one vLLM engine in an actor; `keeper.py` the actor that starts engines, replaces dead ones and ends idle ones;
`client.py` the end at whoever asks: rows go where the fewest are, and those of a dead engine elsewhere.
"""
