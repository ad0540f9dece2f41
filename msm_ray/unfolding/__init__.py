"""How an experiment's settings become stages: data, arms made of data, a report made of arms. `pipeline.py` tells the story."""
