"""Whether chats that others made conflict with a spec, by a judge: another identity, denied views, what the spec rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msm_ray.generate.calls import Asked, Conversation, Requests
from msm_ray.generate.written_chats.kinds import judging_call, spec_slots
from msm_ray.generate.written_chats.verdicts import NO_VERDICT, Verdict
from msm_ray.spec import Spec

CONFLICT = "conflicts with the spec"
CALL = "conflicts"


def conflicts_conversation(spec: Spec, chats: Sequence[Sequence[Mapping[str, str]]]) -> Conversation[list[str]]:
    """Why each of some chats (lists of role and content) can't be trained on beside the spec, in their order; "" where it can.

    One that nobody could judge can't: the reason says that there is no verdict. Paper: every row of the instruction mix is
    judged, by Claude Sonnet 4.6.
    """
    call, values = judging_call(CALL), spec_slots(spec)
    asked = Requests(chats, lambda chat: Asked(call, values | {"chat": as_text(chat)}, about="chat"))
    verdicts = (yield asked) if asked else []
    return [_reason(verdict) for verdict in verdicts]


def as_text(chat: Sequence[Mapping[str, str]]) -> str:
    """A chat as a judge reads it: who speaks, and what is said."""
    return "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in chat)


def _reason(verdict: Verdict | None) -> str:
    if verdict is None:
        return f"{CONFLICT}: {NO_VERDICT}"
    return "" if verdict.include else f"{CONFLICT}: {verdict.why}"
