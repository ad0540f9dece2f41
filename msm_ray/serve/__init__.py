"""Arms behind one OpenAI-compatible address: Ray Serve LLM on vLLM.

`open_arms` deploys and checks them, `Served` says where they are; both import Ray only when they are called.
"""

from msm_ray.serve.app import Served, open_arms, read_note

__all__ = ["Served", "open_arms", "read_note"]
