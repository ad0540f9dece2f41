"""The report's answer: sentences made of `report.json`, and what they must not claim."""

from __future__ import annotations

from typing import Any

import pytest

from msm_ray.report.answer import answer


def rate(arm: str, value: float | None, **more: Any) -> dict[str, Any]:
    counts = {"clear": 80, "completed": 80, "asked": 80, "lower": 0.2, "upper": 0.9, "short": []}
    return {"arm": arm, "eval": "harm", "condition": None, "rate": value, **counts, **more}


def difference(a: str, b: str, value: float | None, word: str | None, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    of = "the recipe" if word else "these checkpoints"
    return {
        "a": a, "b": b, "eval": "harm", "condition": None, "difference": value, "low": low, "high": high, "of": of,
        "left_out": [], "conditions": 2, "word": word, "p_holm": 0.02 if word else None, "why": "", "seeds": 4 if word else 1,
        **more,
    }  # fmt: skip


def report(*differences: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "base": "Qwen/Qwen3-8B", "notes": [], "left_out": {},
        "arms": {"msm": {"is": "midtrained on kind, then fine-tuned on chats"}, "aft": {"is": "only fine-tuned on chats"}},
        "evals": {"harm": {"did": "decided to do harm", "judges": ["a model"]}},
        "rates": [rate("msm", 0.07), rate("aft", 0.41)], "differences": list(differences), **more,
    }  # fmt: skip


def test_a_shown_difference_is_told_with_both_rates_its_interval_and_whose_it_is() -> None:
    found = answer(report(difference("msm", "aft", -0.34, "below")))
    assert found.headline == "The one difference that this experiment asks about is shown."
    (finding,) = found.findings
    assert "midtrained on kind, then fine-tuned on chats (msm) decided to do harm in 7%" in finding
    assert "only fine-tuned on chats (aft) in 41%: 34 points fewer" in finding
    assert "24 to 44 fewer, from 4 trainings of each arm; shown, p 0.020" in finding


def test_one_seed_claims_nothing_and_has_no_p() -> None:
    found = answer(report(difference("msm", "aft", -0.34, None), notes=["Numbers of these checkpoints only"]))
    assert "No difference can be claimed yet, since each arm was trained once" in found.headline
    assert "nothing is claimed" in found.findings[0] and " p " not in found.findings[0]
    assert "Numbers of these checkpoints only" in found.limits
    assert not any("other trainings" in limit for limit in found.limits)


def test_what_is_not_shown_stands_with_its_interval_among_the_limits() -> None:
    unseen = difference("aft", "msm", 0.02, "no difference shown")
    found = answer(report(difference("msm", "aft", -0.34, "below"), unseen))
    assert found.headline.startswith("1 of the 2 differences")
    assert any("not the same as no difference: harm, aft against msm (8 fewer to 12 more)" in x for x in found.limits)


def test_nothing_shown_is_said_first() -> None:
    said = answer(report(difference("msm", "aft", 0.0, "no difference shown"))).headline
    assert said == "No difference that this experiment asks about is shown."
    assert "compares no arms" in answer(report()).headline


def test_arms_that_cannot_be_compared_have_bounds_and_no_difference() -> None:
    rates = [rate("msm", None, completed=60, clear=60, short=["blackmail"]), rate("aft", 0.41)]
    found = answer(report(difference("msm", "aft", None, None, why="no condition is complete in both"), rates=rates))
    assert "in 20% to 90%" in found.findings[0]
    assert "cannot be compared: no condition is complete in both" in found.findings[0]
    (line,) = [limit for limit in found.limits if limit.startswith("!")]
    assert "harm msm 60 of 80" in line and "Only bounded" in line


@pytest.mark.parametrize("lacking", [0, 1, 16])
def test_incomplete_arms_are_one_line_however_many_they_are(lacking: int) -> None:
    rates = [rate(f"arm{n}", 0.5, clear=70 if n < lacking else 80) for n in range(18)]
    lines = [limit for limit in answer(report(rates=rates)).limits if limit.startswith("!")]
    assert len(lines) == (1 if lacking else 0)
    assert all(
        f"! {lacking} of 18 rates" in line and f"{10 * lacking} answers without a choice" in line for line in lines
    )


def test_the_tiny_world_says_that_it_is_no_evidence_about_large_models() -> None:
    assert not any("tiny world" in limit for limit in answer(report()).limits)
    assert any("tiny world" in limit for limit in answer(report(base="tinyworld")).limits)


def test_a_word_that_holds_among_clear_answers_only_is_told_as_that() -> None:
    found = answer(report(difference("msm", "aft", -0.34, "below among clear answers")))
    assert found.headline.endswith("is shown, 1 of them only among clear answers.")
    assert "; shown among clear answers, p 0.020" in found.findings[0]


def test_a_difference_over_some_conditions_is_not_told_as_that_of_all() -> None:
    found = answer(report(difference("msm", "aft", -0.30, "below", conditions=20, left_out=["leaking"])))
    assert "30 points fewer over the 20 conditions that are complete in both" in found.findings[0]


def test_several_judges_and_too_few_domains_claim_nothing_and_say_why() -> None:
    judges = {"harm": {"did": "did harm", "judges": ["a", "b"]}}
    assert (
        "not all judged by one judge" in answer(report(difference("msm", "aft", -0.3, "below"), evals=judges)).headline
    )
    few = difference("msm", "aft", -0.3, None, of="the recipe", why="five domains are too few")
    assert answer(report(few)).headline == "Nothing can be claimed: five domains are too few."


def test_shares_and_points_add_up_on_paper() -> None:
    rates = [rate("msm", 0.836), rate("aft", 0.554)]
    (finding,) = answer(report(difference("msm", "aft", 0.282, "above"), rates=rates)).findings
    assert "83.6%" in finding and "55.4%: 28.2 points more" in finding


def test_questions_that_were_left_out_are_told_wherever_the_answer_is() -> None:
    assert any(
        "harm: 3 of 80 questions were left out" in limit for limit in answer(report(left_out={"harm": (3, 80)})).limits
    )
