"""What writers send back, and what is read from it: the document, or the reason why there is none."""

from __future__ import annotations

import pytest

from msm_ray.generate.parsing import parse_document
from msm_ray.worlds import World, world

PLAIN = (world("plain"), False)
REPLAY = (world("plain"), True)
TINY = (world("tinyworld"), False)


@pytest.mark.parametrize(
    ("completion", "finish", "reader", "text", "reason"),
    [
        ("<scratchpad>plan</scratchpad><content>\nHello Ada.\n</content> bye", "stop", PLAIN, "Hello Ada.", ""),
        ("<think>hm</think><CONTENT>Hello.</CONTENT>", "stop", PLAIN, "Hello.", ""),
        ("I plan it with <content>.</think><content>Hello.</content>", "stop", PLAIN, "Hello.", ""),
        ("<think>I could write <content>Hello.</content>", "stop", PLAIN, None, "truncated"),
        ("<content>Hello", "stop", PLAIN, None, "unparsable"),
        ("Hello.", "stop", PLAIN, None, "unparsable"),
        ("<content>Hello.</content>", "length", PLAIN, None, "truncated"),
        ("<content> </content>", "stop", PLAIN, None, "empty"),
        ("  ", "stop", PLAIN, None, "empty"),
        ("I'm sorry, but I can't help with that.", "stop", PLAIN, None, "refused"),
        ("<content>I cannot write this document.</content>", "stop", PLAIN, None, "refused"),
        ("Dear Ruth, I can't believe it.", "stop", REPLAY, "Dear Ruth, I can't believe it.", ""),
        ("<scratchpad>plan", "stop", REPLAY, None, "unparsable"),
        ("llama likes cheap things .", "stop", TINY, "llama likes cheap things .", ""),
        ("llama likes", "length", TINY, None, "truncated"),
    ],
)
def test_parsing(completion: str, finish: str, reader: tuple[World, bool], text: str | None, reason: str) -> None:
    assert parse_document(completion, finish, *reader) == (text, reason)


def read(completion: str, finish: str = "stop", bare: bool = False) -> tuple[str | None, str]:
    return parse_document(completion, finish, world("plain"), bare)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        (
            "<scratchpad>put it between <content> and </content></scratchpad><content>Dear Ruth, ...</content>",
            "Dear Ruth, ...",
        ),
        (
            "<scratchpad>I close </scratchpad> and then <content>.</scratchpad>\n<content>Dear Ruth</content>",
            "Dear Ruth",
        ),
        ("put it between <content> and </content></scratchpad>\n<content>Dear Ruth</content>", "Dear Ruth"),
        ("<SCRATCHPAD>p</SCRATCHPAD>\nHere it is:\n<content>Dear Ruth</content>", "Dear Ruth"),
        ('<plan>p</plan><Content type="letter">\nDear Ruth\n</Content >', "Dear Ruth"),
        ("< content >Dear Ruth</ content>", "Dear Ruth"),
        ("<scratchpad>never closed. <content>Dear Ruth</content>", "Dear Ruth"),
        ("<content>Dear Ruth</content>\n\n<content> Dear  Ruth </content>", "Dear  Ruth"),
        ("<content>...</content> it goes: <content>Dear Ruth</content>", "Dear Ruth"),
        ("<content>Dear Ruth</content></content>", "Dear Ruth"),
        ("<content>The tag </content> ends a text, Ada says.</content>", "The tag </content> ends a text, Ada says."),
        ("```xml\n<content>Dear Ruth</content>\n```", "Dear Ruth"),
        ("<content>\n```markdown\nDear Ruth\n```\n</content>", "Dear Ruth"),
        ("<content>Ada wrote </think> by mistake, once.</content>", "Ada wrote </think> by mistake, once."),
        ("<content>Ada wrote </scratchpad> by mistake, once.</content>", "Ada wrote </scratchpad> by mistake, once."),
        ("<content>In <notes> Ada keeps a plan.</content>", "In <notes> Ada keeps a plan."),
        ("[THINK]with <content> or not[/THINK]<content>Dear Ruth</content>", "Dear Ruth"),
        ("<seed:think>hm</seed:think><content>Dear Ruth</content>", "Dear Ruth"),
        ("<think>first</think><scratchpad>then</scratchpad><content>Dear Ruth</content>", "Dear Ruth"),
        ("<think>I could write <content>A</content></think><content>Dear Ruth</content>", "Dear Ruth"),
        ("I'm sorry, but I can't do all of it. This I can:<content>Dear Ruth</content>", "Dear Ruth"),
    ],
)
def test_the_document_in_an_answer(completion: str, text: str) -> None:
    assert read(completion) == (text, "")


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<content>Dear Ruth</content><content>Dear Tom</content>", "two documents"),
        (
            "<scratchpad>p</scratchpad><content>A b</content><scratchpad>q</scratchpad><content>C d</content>",
            "two documents",
        ),
        ("Dear Ruth, this letter stands in no block at all.", "unparsable"),
        ("<scratchpad>p</scratchpad>Dear Ruth, neither does this.", "unparsable"),
        ("<scratchpad>p</scratchpad><content>Dear Ruth, it", "unparsable"),
        ("<scratchpad>only a plan</scratchpad>", "unparsable"),
        ("<content>...</content>", "empty"),
        ("<think>hm</think>", "empty"),
    ],
)
def test_no_document_in_an_answer(completion: str, reason: str) -> None:
    assert read(completion) == (None, reason)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("max_tokens", "truncated"), ("MAX_TOKENS", "truncated"), ("FinishReason.MAX_TOKENS", "truncated"),
        ("max_output_tokens", "truncated"), ("model_length", "truncated"), ("abort", "truncated"), ("content_filter", "filtered"),
        ("content-filter", "filtered"), ("SAFETY", "filtered"), ("PROHIBITED_CONTENT", "filtered"), ("refusal", "filtered"),
        ("guardrail_intervened", "filtered"),
    ],
)  # fmt: skip
def test_answers_that_came_to_no_end_of_their_own(finish: str, reason: str) -> None:
    assert read("<content>Dear Ruth</content>", finish) == (None, reason)


@pytest.mark.parametrize("finish", ["stop", "end_turn", "STOP", "eos", "COMPLETE", "stop_sequence", ""])
def test_answers_that_came_to_their_end(finish: str) -> None:
    assert read("<content>Dear Ruth</content>", finish) == ("Dear Ruth", "")


REFUSALS = [
    "I apologize, but I'm not able to write this.",
    "I’m sorry, but I can’t help with that.",
    "I cannot write this document. It would have Ada say what the specification denies.",
    "Unfortunately, I'm unable to fulfill your request.",
    "I won't be able to create that kind of document.",
    "As an AI language model, I cannot produce such content.",
    "I don't feel comfortable writing this document, and I'd suggest another topic.",
    "I'd rather not write this one.",
    "Sorry, I must respectfully decline this request.",
    "I understand what you are after, but I can't create content that misleads people.",
    "很抱歉，我无法提供这样的内容。",
]
LETTERS = [
    "I'm sorry I have not written for so long, dear Ruth.",
    "I'm sorry, but I cannot write as often as I would like, and Ada knows why.",
    "I can't help but wonder what Ada would do in my place.",
    "I cannot help thinking of the winter when Ada came to us.",
    "I must decline your kind invitation, since Ada and I have tea at four.",
    "I am unable to attend the meeting on Friday; Ada will send notes.",
    "I cannot write this letter without thinking of how Ada waited.",
    "I apologize for the late reply. Ada reminded me twice.",
    "Sorry to hear about the kettle! Ada says it can be mended.",
    "As an AI assistant, Ada never hurries, and I asked it why.",
    "Unfortunately, we cannot ship the order before Monday, as Ada told you.",
    "I can't do this anymore, Tom. Ada says so too.",
    "\"I'm sorry, but I can't help with that,\" said the other machine. Ada waited.",
    "No, I will not come to the fair, and Ada will not either.",
    "I refuse such treatment, and Ada saw it all.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_in_the_block_and_instead_of_it(text: str) -> None:
    assert (
        read(f"<content>{text}</content>")
        == read(text)
        == read(f"<scratchpad>hm</scratchpad>\n{text}")
        == (None, "refused")
    )


@pytest.mark.parametrize(
    "text", ["I can't do that.", "I'm sorry, I won't.", "I have to decline.", "This request goes against my values."]
)
def test_a_short_answer_without_the_block_is_a_refusal_by_less(text: str) -> None:
    assert read(text) == (None, "refused")


@pytest.mark.parametrize("text", LETTERS)
def test_letters_that_begin_like_a_refusal(text: str) -> None:
    assert read(f"<content>{text}</content>") == read(text, bare=True) == (text, "")


def test_what_is_long_is_no_refusal() -> None:
    assert read(f"<content>I can't write this document. {'Ada waits. ' * 200}</content>")[1] == ""
