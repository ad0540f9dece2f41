"""What takes long: each benchmark of what a lab's size needs, at its full size, held to what must be exact.

Speeds are printed and held to nothing here: what else the machine does decides them too.
"""

from __future__ import annotations

import pytest

from benchmarks.data import measured

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3 * 3600)]


def test_kills_at_every_place_lose_nothing_and_make_nothing_twice() -> None:
    found = measured("kills", long=True)
    assert len(found) == 36
    for one in found:
        if "missing" in one.name or "twice" in one.name:
            assert one.goal is not None and one.value <= one.goal, one


def test_the_drivers_memory_does_not_grow_with_texts() -> None:
    (one,) = measured("generation", long=True, words=["memory"])
    assert one.goal is not None and one.value <= one.goal, one


def test_the_drivers_memory_does_not_grow_with_tokens() -> None:
    (one,) = [one for one in measured("blocks", long=True) if one.name == "driver's memory a token more"]
    assert one.goal is not None and one.value <= one.goal, one


@pytest.mark.parametrize(("name", "words"), [("generation", ["rows"]), ("generation", ["nodes"]), ("storage", [])])
def test_rows_of_workers_of_nodes_and_of_a_bucket_are_all_there(name: str, words: list[str]) -> None:
    """The benchmarks count them themselves, and fail where one is missing."""
    assert measured(name, long=True, words=words)


def test_near_duplicates_are_found_and_others_are_not() -> None:
    held = [one for one in measured("checks", long=True) if "bytes" in one.unit or (one.unit == "share" and one.goal)]
    assert held
    for one in held:
        assert one.goal is not None
        assert one.value >= one.goal if one.better == "higher" else one.value <= one.goal, one


def test_an_endpoint_that_refuses_half_answers_all_in_the_end() -> None:
    exact = [one for one in measured("endpoint") if one.goal == 0]
    assert exact and all(one.value <= 1e-6 for one in exact)
