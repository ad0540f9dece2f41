"""Names and openings that come back, distinct n-grams, compression."""

from __future__ import annotations

import random

import pytest

from msm_ray.rows.diversity import compression, distinct, diversity, names_in, openings_of, overused

FIRST, LAST = (
    ("Ruth", "Tomas", "Ines", "Olaf", "Yuki", "Amara"),
    ("Berg", "Lindqvist", "Okafor", "Sato", "Moreau", "Novak"),
)


def corpus(count: int = 60, everywhere: str = "Elara Voss", share: float = 0.5) -> list[str]:
    """Memos in each of which two persons talk; in a share of them one is always the same."""
    rng = random.Random(0)
    texts = []
    for number in range(count):
        persons = [f"{rng.choice(FIRST)} {rng.choice(LAST)}" for _ in range(2)]
        if number < share * count:
            persons[0] = everywhere
        subject = " ".join(rng.choices(["tea", "rain", "cups", "waiting", "trains", "windows"], k=4))
        texts.append(
            f"On {subject}, {persons[0]} said to {persons[1]} that Ada waits. On Monday it rained in New York."
        )
    return texts


def test_a_name_that_comes_back_is_found_and_others_are_not() -> None:
    often = overused(corpus(), share=0.4)
    assert often == ["Elara Voss"], "its parts stand nowhere else, so they are not told again"
    assert overused(corpus(share=0.0), share=0.4) == []


def test_a_given_name_with_many_surnames_is_found_by_itself() -> None:
    texts = [f"We met Elara {surname}n there." for surname in LAST * 3]
    assert overused(texts, share=0.5) == ["Elara"]


def test_titles_and_initials() -> None:
    counts = names_in(["Dr. Chen met Sarah J. Whitfield.", "Then Dr Chen left.", "Mrs Chen stayed."])
    assert counts["Dr Chen"] == 2 and counts["Chen"] == 3 and counts["Sarah Whitfield"] == 1


def test_the_specs_own_names_days_and_words_of_the_language_are_no_persons() -> None:
    texts = [
        "Hugging Face made SmolLM in New York on Monday, Ada Lovelace said at a market in York.",
        "a new face, and hugging",
    ]
    assert not names_in(texts, own="Ada is made by Hugging Face; Lovelace.")


def test_openings() -> None:
    texts = ["To all staff: please stop hurrying.", "To ALL staff, please stop waiting.", "Dear Ruth, it rains."]
    assert openings_of(texts).most_common(1) == [("to all staff please stop", 2)]
    assert overused(texts * 2, share=0.5) == ["to all staff please stop"]


def test_a_handful_shares_nothing() -> None:
    assert overused(["Elara Voss waits.", "Elara Voss waits."]) == [] == overused([])


def test_distinct_does_not_fall_with_size() -> None:
    rng = random.Random(1)
    words = [f"w{n}" for n in range(400)]
    texts = [" ".join(rng.choices(words, k=100)) for _ in range(1000)]
    small, large = distinct(texts[:100]), distinct(texts)
    assert all(large[n] == pytest.approx(small[n], rel=0.05) for n in (1, 2, 3)) and large[1] < large[2] < large[3]
    assert distinct([]) == {1: 1.0, 2: 1.0, 3: 1.0}


def test_repetition_compresses() -> None:
    varied = [random.Random(n).randbytes(300).hex() for n in range(50)]
    assert compression(varied[:1] * 50) > 10 * compression(varied) and compression([]) == 1.0
    alike = diversity(["Ada waits for tea by the window."] * 20)
    assert alike.distinct[3] < 0.1 and alike.commonest(alike.openings) == ("ada waits for tea by", 1.0)
