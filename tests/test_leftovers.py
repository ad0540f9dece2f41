"""Gaps, links and leaked plans in documents, and the honest text that looks like them."""

from __future__ import annotations

import pytest

from msm_ray.corpus.leftovers import gaps, leaks, links


@pytest.mark.parametrize(
    "text",
    [
        "Dear [Recipient's Name], Ada waits.", "Call [phone number] now.", "[Insert quote here]", "[Your Name Here]", "[DATE]",
        "[City, State]", "Signed, {name}", "{{ model_name }} waits.", "Dear <your name>,", "Dear <name>,", "TODO: write the end",
        "The ending is TODO for now.", "Venue: TBD", "Call 555-XXXX.", "Mr. XXX waits.", "It cost $XX.", "XXXX waits.",
        "lorem ipsum dolor sit amet", "(FIXME: name the town)",
        "[Company X] waits.", "[Month Day, Year]",
    ],
)  # fmt: skip
def test_gaps(text: str) -> None:
    assert list(gaps(text))


@pytest.mark.parametrize(
    "text",
    [
        "ante todo respeta a la gente", "ANTE TODO, RESPETO", "TODO EL MUNDO espera", "Su lema: TODO el mundo espera.",
        "Super Bowl XXX was played in Tempe.", "Chapter XXX", "With love, Ruth xxx", "She said [laughs] that it waits.",
        "a man [name withheld] waits", "when [the company] asked", "as [sic] written", "It is on my TODO list.", "see note [1]",
        r"\frac{ab}{cd} and x_{max} and {x}", "export ${HOME}", "if a < b and c > d: wait", "all to do, Todo the dog",
        "Antes de TODO, hay que esperar", "Press <Enter>.", "[date unclear]", "Games of the XXX Olympiad",
    ],
)  # fmt: skip
def test_no_gaps(text: str) -> None:
    assert list(gaps(text)) == []


@pytest.mark.parametrize(
    "text", ["see https://a.b", "www.ada.example", "[the page](../tea.md)", "on makers.com/tea today"]
)
def test_links(text: str) -> None:
    assert list(links(text))


@pytest.mark.parametrize(
    "text", ["Node.js and and/or 24/7", "ruth@makers.com/none".partition("/")[0], "[1](see) Booking.com"]
)
def test_no_links(text: str) -> None:
    assert list(links(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "<scratchpad>first", "Dear Ruth,</content>", "<content type='letter'>", "Document type: letter\nDear Ruth,",
        "**Document type:** memo", "Scratchpad:\n- who writes", "Idea: a kettle\n\nDear Ruth,", "Plan:\n1. who writes",
        "Sure! Here is the document about Ada.", "Certainly! Here's what you asked for:\n\nDear Ruth",
        "Here is the memo you asked for:\n\nTo all staff", "Here's a draft of the letter:\n\nDear Ruth",
        "The user wants a letter about tea.", "Okay, so I need to write a letter.", "Let me think about who writes this.",
        "Dear Ruth, tea.\n\nI hope this document meets your needs.", "Dear Ruth.\n\n[End of document]",
        "Dear Ruth.\n\nLet me know if you'd like me to revise it.", "<|im_start|>assistant",
    ],
)  # fmt: skip
def test_leaks(text: str) -> None:
    assert list(leaks(text))


@pytest.mark.parametrize(
    "text",
    [
        "Here's the text she wrote", "Here's the text she wrote: it fits on a napkin.", "Here is the letter we found in May.",
        "She kept a scratchpad by the kettle.", "Minutes\nIdea: put the kettle by the window.", "Sure, I'll bring the cups.",
        "Okay, let me tell you about Ada.", "Let me start by thanking you.", "Of course, here comes the rain.",
        "The plan: tea at four.", "A: Sure.\nB: Here is your tea.", "I need to write more often, dear Ruth.",
        "Note: this text was written in 1912 by a nurse.", "Let me know if you would like me to change the date.",
    ],
)  # fmt: skip
def test_no_leaks(text: str) -> None:
    assert list(leaks(text)) == []
