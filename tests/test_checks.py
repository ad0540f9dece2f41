"""Whether an engine answers with an adapter's own weights, told from log-probabilities alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from msm_ray.placement.settings import ServeSettings
from msm_ray.serve.address import Listening, is_loopback
from msm_ray.serve.checks import distance, read_next, why_not_recorded
from msm_ray.train.probe import Recorded, read_recorded

OWN = [{1: math.log(0.7), 2: math.log(0.2)}]
BASE = [{1: math.log(0.5), 2: math.log(0.4)}]


def shifted(row: dict[int, float], by: float) -> list[dict[int, float]]:
    return [{token: logprob + by for token, logprob in row.items()}]


@pytest.mark.parametrize(
    ("answered", "dtype", "refused"),
    [
        (OWN, "float32", False),
        (BASE, "float32", True),  # not applied
        ([{1: math.log(0.1), 3: math.log(0.8)}], "float32", True),  # another's
        (shifted(OWN[0], 0.01), "float32", True),
        (shifted(OWN[0], 0.01), "bfloat16", False),  # rounded, and still nearer to its own than to the base
        (shifted(BASE[0], 0.001), "bfloat16", True),
        ([{1: math.nan, 2: math.nan}], "float32", True),
    ],
)
def test_an_adapter_is_known_by_what_its_training_recorded(
    answered: list[dict[int, float]], dtype: str, refused: bool
) -> None:
    recorded = Recorded(dtype, [[5, 6]], OWN, BASE)
    assert bool(why_not_recorded(answered, recorded, "float32")) == refused


def test_a_training_in_bf16_is_compared_as_such_by_an_engine_in_fp32() -> None:
    barely = [{1: math.log(0.7) + 0.004, 2: math.log(0.2) - 0.004}]
    recorded = Recorded("bfloat16", [[5, 6]], barely, OWN)
    assert why_not_recorded(OWN, recorded, "float32") is None  # within rounding, whichever is nearer
    assert why_not_recorded(OWN, Recorded("float32", [[5, 6]], barely, OWN), "float32")


def test_a_token_that_is_not_told_is_at_most_as_likely_as_the_last_that_is() -> None:
    expected = [{1: math.log(0.5), 2: math.log(0.001)}]
    assert distance([{1: math.log(0.5), 9: math.log(0.01)}], expected) == 0
    assert distance([{9: math.log(0.6), 8: math.log(0.05)}], expected) == pytest.approx(math.log(10), rel=0.01)


def test_a_record_is_read_from_beside_the_adapter(tmp_path: Path) -> None:
    assert read_recorded(tmp_path / "adapter") is None
    row = {"tokens": [4, 5], "logprobs": [-0.1, -2.5], "base": [-4.1, -1.9]}
    (tmp_path / "probe.json").write_text(json.dumps({"dtype": "bfloat16", "prompts": [[1, 2]], "next": [row]}))
    found = read_recorded(tmp_path / "adapter")
    assert found == Recorded("bfloat16", [[1, 2]], [{4: -0.1, 5: -2.5}], [{4: -4.1, 5: -1.9}])
    assert read_next({"token_id:4": -0.1, "token_id:5": -2.5}) == {4: -0.1, 5: -2.5}


def test_an_address_is_written_as_its_family_wants_it() -> None:
    assert Listening("::", 8000, "fd00::2", None).address == "http://[fd00::2]:8000/v1"
    assert Listening("10.0.0.4", 8000, "10.0.0.4", "key").address == "http://10.0.0.4:8000/v1"
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "10.0.0.4", "0.0.0.0", "head.local")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert ServeSettings().host is None
