"""`msm ask`: one question to every arm, the answers side by side, through the same server as the evals."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from msm_ray import runner
from msm_ray.errors import SettingsError, StageError
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import Experiment
from msm_ray.serve import Served, read_note
from msm_ray.serve.address import go_past_proxy, models_at
from msm_ray.serve.names import arm_names
from msm_ray.stages.serving import serving_folder
from msm_ray.terminal import plain_console

if TYPE_CHECKING:
    import openai

PROMPT = "ask> "


@dataclass(frozen=True)
class Manner:
    """How it is asked. count: answers an arm; system: a system turn, if any; max_tokens: none lets the served length decide."""

    count: int = 1
    temperature: float = 0.7
    max_tokens: int | None = None
    system: str | None = None


def ask(
    experiment: Experiment, store: ArtifactStore, question: str | None, arms: Sequence[str], manner: Manner
) -> None:
    """Print every arm's answers to a question; without one, to each line of standard input, until it ends (Ctrl-D).

    arms: names of the experiment (`values/aft`, `values/aft@s1`), none: all of them, each by its lowest seed. A server that
    `msm serve` keeps up for this root is used; else one is started and ended.
    Raises SettingsError for an arm that there is not, StageError where no arm can be asked or a question is refused (where
    a person types them, that is said and the next one is read), and what `runner.served_arms` does.
    """
    known = arm_names(experiment.trained)
    if unknown := [arm for arm in arms if arm not in known]:
        raise SettingsError(f"--arms: no arm {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = list(arms) or [name for name in known if "@s" not in name]
    with contextlib.ExitStack() as stack:
        served = running(store, wanted) or stack.enter_context(_started(experiment, store))
        for reason in {served.refused[arm] for arm in wanted if arm in served.refused}:
            print(f"msm: warning: {reason}", file=sys.stderr)
        wanted = [arm for arm in wanted if arm not in served.refused]
        if not wanted:
            raise StageError("no arm is left to ask: each was refused")
        if question is not None:
            show(question, answers(served, wanted, question, manner), manner)
            return
        for line in _lines():
            try:
                show(line, answers(served, wanted, line, manner), manner)
            except StageError as error:
                if not sys.stdin.isatty():
                    raise
                print(
                    f"msm: {error}", file=sys.stderr
                )  # the next question may do: the server has cost most of a minute


def running(store: ArtifactStore, arms: Sequence[str]) -> Served | None:
    """The server that `msm serve` keeps up for this root, if one does and it knows the arms."""
    served = read_note(serving_folder(store.root))
    if served is None:
        return None
    try:
        there = models_at(served.address, served.key)
    except StageError:
        return None  # it was killed
    return served if there.issuperset(arms) else None


@contextlib.contextmanager
def _started(experiment: Experiment, store: ArtifactStore) -> Iterator[Served]:
    print("msm: starting a server for this question; `msm serve` in another terminal keeps one up", file=sys.stderr)
    with runner.served_arms(experiment, store) as served:
        yield served


def _lines() -> Iterator[str]:
    """Questions from standard input, with a prompt where a person types them."""
    while True:
        try:
            line = input(PROMPT if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line:
            yield line


def answers(served: Served, arms: Sequence[str], question: str, manner: Manner) -> dict[str, list[str]]:
    """What each arm says, `manner.count` times. Raises StageError with the server's words where it refuses."""
    import openai

    go_past_proxy(urlsplit(served.address).hostname or "")
    with (
        openai.OpenAI(base_url=served.address, api_key=served.key or "none needed") as client,
        ThreadPoolExecutor(max_workers=8) as pool,
    ):
        try:
            told = list(pool.map(lambda arm: _one(client, arm, question, manner), arms))
        except openai.APIError as error:
            raise StageError(f"{served.address}: {error.message}") from error
    return dict(zip(arms, told, strict=True))


def _one(client: openai.OpenAI, arm: str, question: str, manner: Manner) -> list[str]:
    from openai import omit

    system = [{"role": "system", "content": manner.system}] if manner.system else []
    reply = client.chat.completions.create(
        model=arm,
        messages=[*system, {"role": "user", "content": question}],  # type: ignore[list-item]  # plain dictionaries
        n=manner.count,
        temperature=manner.temperature,
        max_tokens=omit if manner.max_tokens is None else manner.max_tokens,
    )
    return [choice.message.content or "" for choice in reply.choices]


def show(question: str, told: dict[str, list[str]], manner: Manner) -> None:
    """A table: an arm a row, its answers below each other."""
    how = "the likeliest answer" if manner.temperature == 0 else f"drawn at temperature {manner.temperature:g}"
    table = Table(title=Text(question), caption=Text(how), show_lines=manner.count > 1, title_justify="left")
    table.add_column("arm", no_wrap=True)
    table.add_column("says", overflow="fold")
    for arm, said in told.items():
        table.add_row(Text(arm), Text("\n".join(one.strip() or "(nothing)" for one in said)))
    plain_console().print(table)
