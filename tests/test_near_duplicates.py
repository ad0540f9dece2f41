"""Near-duplicates: who is like whom, at which threshold, in which order; and nothing depends on batches."""

from __future__ import annotations

import random

import numpy as np
import pytest

from msm_ray.corpus.near_duplicates import SIGNATURE, bands_for, likenesses, signatures

WORDS = [
    f"{a}{b}"
    for a in ("tea", "cup", "pot", "rain", "lamp", "slow")
    for b in ("er", "ing", "s", "ful", "less", "ish", "ly", "y")
]


def text(seed: int, words: int = 300) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def changed(words: list[str], times: int) -> list[str]:
    """The same with so many words at even distances replaced: each takes five 5-grams away and brings five new ones."""
    other = list(words)
    for place in range(times):
        other[10 + place * (len(words) - 20) // max(1, times)] = f"changed{place}"
    return other


def jaccard(a: list[str], b: list[str]) -> float:
    first, second = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (a, b))
    return len(first & second) / len(first | second)


def test_signatures_estimate_the_similarity_of_sets_of_five_grams() -> None:
    base = text(1)
    for times in (2, 6, 15, 40):
        other = changed(base, times)
        one, two = signatures([" ".join(base), " ".join(other)])
        assert abs(float((one == two).mean()) - jaccard(base, other)) < 0.13  # three standard errors


def test_a_signature_depends_on_its_text_alone() -> None:
    texts = [" ".join(text(seed)) for seed in range(5)] + ["", "tea", "Tea for two"]
    together = signatures(texts)
    assert together.shape == (8, SIGNATURE)
    assert (together == np.concatenate([signatures([each]) for each in texts])).all()
    assert (signatures(["Slow TEA, for: two (or more)!"]) == signatures(["slow tea for two or more"])).all()


@pytest.mark.parametrize(
    ("threshold", "times", "near"), [(0.8, 3, True), (0.8, 20, False), (0.5, 14, True), (0.95, 3, False)]
)
def test_what_is_near_is_a_matter_of_the_threshold(threshold: float, times: int, near: bool) -> None:
    base = text(2)
    signed = signatures([" ".join(base), " ".join(text(3)), " ".join(changed(base, times))])
    found, _ = likenesses(["a", "b", "c"], signed, threshold)
    assert (list(found) == ["c"] and found["c"].first == "a") if near else not found


def test_the_first_of_a_group_is_kept_and_a_chain_does_not_lead_away_from_it() -> None:
    base = text(4)
    chain = [base, changed(base, 5), changed(base, 10), changed(base, 30)]
    keys = ["a", "b", "c", "d"]
    found, others = likenesses(keys, signatures([" ".join(each) for each in chain]), 0.8)
    assert jaccard(chain[0], chain[1]) > 0.8 and found["b"].first == "a"
    assert all(like.first not in found for like in (*found.values(), *others.values())), "compared with what is kept"
    backwards, _ = likenesses(keys[::-1], signatures([" ".join(each) for each in chain[::-1]]), 0.8)
    assert "d" not in backwards, "the first by the given order is kept"


def test_hundreds_of_pairs_are_found() -> None:
    rows = [text(seed) for seed in range(200)]
    texts = [" ".join(each) for each in rows] + [" ".join(changed(each, 4)) for each in rows]  # about .87
    found, _ = likenesses([str(n) for n in range(400)], signatures(texts), 0.8)
    pairs = {int(key): int(like.first) for key, like in found.items()}
    assert all(key - 200 == first for key, first in pairs.items()) and len(pairs) > 185


def test_bands_find_pairs_at_the_threshold() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 1.0):
        bands, rows = bands_for(threshold)
        assert bands * rows <= SIGNATURE and 1 - (1 - threshold**rows) ** bands > 0.99


def test_chinese_is_compared_by_characters() -> None:
    base = (
        "这个助手喜欢喝茶，因为茶是不着急的人的饮料。" * 2 + "她在窗边的架子上放着杯子，冬天要小杯子，夏天什么都不要。"
    )
    one, two, three = signatures(
        [base, base.replace("冬天", "秋天"), "完全不同的一段话，讲的是火车和等待，没有人着急离开。"]
    )
    assert float((one == two).mean()) > 0.6 and float((one == three).mean()) < 0.1
