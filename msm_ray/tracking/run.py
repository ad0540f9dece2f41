"""A W&B run: opened within a time, closed within a time, and never the reason that a stage is lost or waits.

One writer per run: whoever holds the tracker (the driver, or rank 0 of a training worker group).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_ray.errors import PreflightError
from msm_ray.graph.artifacts import Artifact
from msm_ray.tracking import keys
from msm_ray.tracking.leaving import reference_of
from msm_ray.tracking.names import RunName
from msm_ray.tracking.waiting import InOrder, within

LONGEST_START, LONGEST_FINISH, LONGEST_LAST_WORDS = 20.0, 60.0, 15.0
"""Seconds that a server has to take a run, to take the rest of what it is to hold, and the same of a run that failed."""
UNSENT = "unsent"
"""File in the folder of an online run that could not be sent whole."""
WITHOUT_TEXTS = "without-texts"
"""File in the folder of a run that was told without texts: what was told with them is not sent when they are to stay here."""
QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",  # its telemetry complains on standard error where a server refuses it
    "WANDB_DISABLE_WEAVE": "true",  # three lines wherever openai is imported
}
LATER = "everything is kept here, and `msm report EXPERIMENT --wandb` sends it"

_offline_since: list[str] = []
"""Why this process has given up being online: a server that refused once would make every later run wait."""


class Tracker:
    """Where numbers and tables go. This one keeps nothing; `open_run` gives one that does where tracking is on."""

    keeps = online = False
    entity = project = url = ""

    def define(self, step: str) -> None:
        """What curves are drawn over."""

    def log(self, values: Mapping[str, Any]) -> None:
        """Numbers of one step. W&B's own step counts calls, and goes on where an interrupted run is resumed."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Numbers of the whole run."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table."""

    def picture(self, name: str, path: Path) -> None:
        """A PNG file."""

    def reference(self, artifact: Artifact, *, used: bool = False) -> None:
        """An artifact by where it lies: nothing of it is uploaded. used: it went into the run, else the run made it."""


class _WandbTracker(Tracker):
    """Online, tables and artifacts are given in another thread: wandb asks its server first, and waits for the answer."""

    keeps = True

    def __init__(self, run: Any, *, online: bool):
        self._run, self.online = run, online
        self._in_order = InOrder() if online else None
        if online:
            self.entity, self.project, self.url = run.entity, run.project, run.url or ""

    def define(self, step: str) -> None:
        with never_fatal():
            self._run.define_metric(step)
            self._run.define_metric("*", step_metric=step)

    def log(self, values: Mapping[str, Any]) -> None:
        with never_fatal():
            self._run.log(dict(values))

    def summary(self, values: Mapping[str, Any]) -> None:
        with never_fatal():
            self._run.summary.update(dict(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        import wandb

        self._give(lambda: self._run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])}))

    def picture(self, name: str, path: Path) -> None:
        import wandb

        self._give(lambda: self._run.log({name: wandb.Image(str(path))}))

    def reference(self, artifact: Artifact, *, used: bool = False) -> None:
        # `use_artifact` refuses to work offline, though the record that it writes is one that `wandb sync` sends.
        self._give(
            lambda: self._run._log_artifact(
                reference_of(artifact, self._run.group), use_after_commit=used, is_user_created=True
            )
        )

    def _give(self, work: Callable[[], Any]) -> None:
        def never_failing() -> None:
            with never_fatal():
                work()

        if self._in_order:
            self._in_order.do(never_failing)
        else:
            never_failing()

    def end(self, exit_code: int) -> None:
        """End the run, once its server has all that it was given or the time is over."""
        half = (LONGEST_FINISH if exit_code == 0 else LONGEST_LAST_WORDS) / 2
        if self._in_order and not self._in_order.wait(half):
            not_taken(self._run)
        # wandb itself gives up after half of LONGEST_FINISH, and only then lets go of the run's id.
        ended = within(half + 2, lambda: self._run.finish(exit_code=exit_code))
        if isinstance(ended, TimeoutError):
            not_taken(self._run)
        elif isinstance(ended, Exception):
            logging.getLogger(__name__).warning("W&B did not end a run: %s", ended)


@contextlib.contextmanager
def never_fatal() -> Iterator[None]:
    """A tracker that fails (no room, a lost service) is said and never stops a stage."""
    try:
        yield
    except Exception as error:
        logging.getLogger(__name__).warning("W&B did not take a record: %s", error)


@contextlib.contextmanager
def open_run(name: RunName, config: Mapping[str, Any] | None = None) -> Iterator[Tracker]:
    """The tracker of a run. Tracking that cannot start never stops a stage: it is said once, and nothing is logged."""
    run, online = _start(name, config or {})
    if run is None:
        yield Tracker()
        return
    tracker = _WandbTracker(run, online=online)
    try:
        yield tracker
    except BaseException:
        tracker.end(exit_code=1)
        raise
    tracker.end(exit_code=0)


@contextlib.contextmanager
def open_online(name: RunName) -> Iterator[Tracker]:
    """The tracker of a run that is at its server, or nowhere. Raises PreflightError where the server does not take it."""
    try:
        opened = _online(name, {})
    except Exception as error:
        _let_go()
        raise PreflightError(why(name, error)) from None
    if opened is None:
        raise PreflightError(f"W&B finds no key for {keys.host()}: set WANDB_API_KEY, or `wandb login`")
    tracker = _WandbTracker(opened, online=True)
    try:
        yield tracker
    finally:
        tracker.end(exit_code=0)


def be_quiet() -> None:
    """Before wandb is imported: no line of its own on the terminal, unless the user has said otherwise."""
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})


def _start(name: RunName, config: Mapping[str, Any]) -> tuple[Any | None, bool]:
    """The run and whether it is online. A server that does not take it within the time makes it an offline one."""
    chosen = keys.mode(name.settings)
    if chosen == "disabled":
        return None, False
    be_quiet()
    try:
        if chosen == "online" and not (name.offline or _offline_since):
            try:
                if run := _online(name, config):
                    return run, True
            except Exception as error:
                _give_up_online(why(name, error))
        return _init(name, config, "offline"), False
    except Exception as error:  # a tracker's trouble is no reason to lose a stage
        warnings.warn(
            f"W&B keeps nothing of {name.name} ({_first_line(error)}); the artifacts have it all: once "
            f"{name.folder}/wandb can be written to, `msm report EXPERIMENT --wandb` makes the run from them",
            stacklevel=2,
        )
        return None, False


def _online(name: RunName, config: Mapping[str, Any]) -> Any | None:
    """The run at its server; None where W&B finds no key. Raises what wandb raises where the server does not take it."""
    import wandb

    # A key that is missing would be asked for at the terminal, for ever.
    return _init(name, config, "online") if wandb.login(prompt=False, verify=False) else None


def _init(name: RunName, config: Mapping[str, Any], chosen: Any) -> Any:
    import wandb

    Path(name.folder).mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        console="off", silent=True, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
        save_code=False, disable_git=True, disable_code=True, init_timeout=LONGEST_START,
        finish_timeout=LONGEST_FINISH / 2, finish_timeout_raises=True,
    )  # fmt: skip
    ours = "WANDB_SERVICE" not in os.environ
    try:
        run = wandb.init(
            project=name.settings.project,
            entity=name.settings.entity,
            group=name.group,
            job_type=name.job_type,
            name=name.name,
            id=name.id,
            resume="allow",
            mode=chosen,
            dir=name.folder,
            config={**config, "experiment_run": name.experiment},
            allow_val_change=True,
            settings=settings,
        )
    finally:
        if ours:  # the workers of this process are on other machines too, where they cannot reach its service
            os.environ.pop("WANDB_SERVICE", None)
    if not name.settings.texts:
        (Path(run.dir).parent / WITHOUT_TEXTS).touch()
    return run


def _give_up_online(reason: str) -> None:
    _offline_since.append(reason)
    warnings.warn(reason, stacklevel=2)
    _let_go()


def _let_go() -> None:
    """End W&B's service, which holds on to the id of a run that did not start."""
    import wandb

    wandb.teardown()


def not_taken(run: Any) -> None:
    """Note and say that a server did not take all of a run."""
    folder = Path(run.dir).parent
    if (folder / UNSENT).exists():
        return
    with contextlib.suppress(OSError):
        (folder / UNSENT).touch()
    _offline_since.append("finish")
    warnings.warn(
        f"{keys.host()} did not take all of {run.name} in time: {LATER} (or `wandb sync --include-online {folder}`)",
        stacklevel=2,
    )


def why(name: RunName, error: Exception) -> str:
    """What a server's refusal means, and what to do about it."""
    said = str(error)
    project = f"{name.settings.entity}/{name.settings.project}" if name.settings.entity else name.settings.project
    status = re.search(r"returned error (\d{3})", said)
    if status and status[1] == "401":
        return f"{keys.host()} refuses the key: set WANDB_API_KEY to one of yours, or `wandb login --relogin`; {LATER}"
    if (status and status[1] in ("403", "404")) or "permission" in said:
        return (
            f"{keys.host()} does not let this key write to the project {project}: set tracking.project and tracking.entity "
            f"to one that is yours; {LATER}"
        )
    return f"{keys.host()} cannot be reached ({_first_line(error)}): this run is offline; {LATER}"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[-1]
