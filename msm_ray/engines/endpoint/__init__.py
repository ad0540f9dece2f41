"""Any OpenAI-compatible address as an engine, asked with the openai client.

`asking` asks one row: a hard time limit for each request, a bounded number of tries by tenacity, growing waits between them.
`rates` is shared by all askers: whose key is next, requests and tokens a minute, and that everybody waits where the address says
"later". `parameters` learns what an address does not take. `batches` gathers rows for a Batch API instead. What no other row can
survive (the last key refused, quota, billing) comes back marked as spent, at once, so that the run stops and what was answered is
kept.
"""

from __future__ import annotations

from msm_ray.engines.endpoint.asking import Asker
from msm_ray.engines.endpoint.batches import BatchAsker, Batches
from msm_ray.engines.endpoint.sharing import Address, check_address, endpoint_opener, open_address

__all__ = ["Address", "Asker", "BatchAsker", "Batches", "check_address", "endpoint_opener", "open_address"]
