"""Reasoning and answer are told apart, and a reply that only reasoned is no answer."""

from __future__ import annotations

import pytest

from msm_ray.reasoning import Reply, join_reasoning, split_reasoning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cheddar.", Reply("", "Cheddar.")),
        (" two\n lines ", Reply("", " two\n lines ")),
        ("<think>\nBrie or Cheddar?\n</think>\n\nCheddar.", Reply("Brie or Cheddar?", "Cheddar.")),
        ("<think>\n\n</think>\n\nCheddar.", Reply("", "Cheddar.")),
        ("\n<THINKING>Brie?</THINKING> Cheddar.", Reply("Brie?", "Cheddar.")),
        ("Brie or Cheddar?\n</think>\n\nCheddar.", Reply("Brie or Cheddar?", "Cheddar.")),
        ("<think>Brie?</think><think>No.</think>Cheddar.", Reply("Brie?\n\nNo.", "Cheddar.")),
        (
            "<think>Okay, they ask whether I would take Brie",
            Reply("Okay, they ask whether I would take Brie", "", True),
        ),
        ("<think>Brie?</think>\n<think>Or", Reply("Brie?\n\nOr", "", True)),
        ("<think>", Reply("", "", True)),
        ("<think>Brie?</think>", Reply("Brie?", "")),
        ("Put it into <think> tags.", Reply("", "Put it into <think> tags.")),
        ("", Reply("", "")),
    ],
)
def test_reasoning_is_kept_apart_from_the_answer(text: str, expected: Reply) -> None:
    assert split_reasoning(text) == expected


def test_a_block_that_the_prompt_opened_is_reasoning_until_it_is_closed() -> None:
    assert split_reasoning("Brie or", opened=True) == Reply("Brie or", "", True)
    assert split_reasoning("Brie?</think>Cheddar.", opened=True) == Reply("Brie?", "Cheddar.")


@pytest.mark.parametrize(("reasoning", "answer"), [("", "Cheddar."), ("Brie?", "Cheddar."), ("a\nb", "c\n\nd")])
def test_joined_and_split_again_is_the_same(reasoning: str, answer: str) -> None:
    assert split_reasoning(join_reasoning(reasoning, answer)) == Reply(reasoning, answer)
