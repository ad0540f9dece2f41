"""The `msm` command, thin: it reads settings, calls one function, and turns errors into exit codes (design.md).

Exit codes: 0 done, 1 a stage failed, 2 usage or settings, 3 preflight, 4 a quality gate, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from msm_ray import interruption, user
from msm_ray.errors import MsmError, no_room

app = typer.Typer(
    help="Model Spec Midtraining: from a spec to a report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ExperimentFile = Annotated[Path, typer.Argument(help="experiment file, e.g. jobs/quickstart.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="settings to change: key=value, e.g. seeds=4 aft.steps=200")
]
NewVersion = Annotated[
    bool, typer.Option("--new-version", help="keep stale artifacts and make the next version beside them")
]
Force = Annotated[list[str] | None, typer.Option("--force", help="make these stages anew: a kind (sft) or kind/name")]
Root = Annotated[Path, typer.Argument(help="a folder with artifacts, the `root` of an experiment")]
Named = Annotated[str, typer.Argument(help="an artifact's folder, ROOT/KIND/NAME@VERSION; without @VERSION the newest")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object or list on standard output")]


@app.command()
def plan(experiment: ExperimentFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show every stage with what is there, stale or missing, and all that stands in the way. Starts nothing."""
    from msm_ray import plan as planning
    from msm_ray import preflight

    loaded, store, findings = _look(experiment, overrides)
    planned = planning.plan(loaded, store) if loaded and store else []
    if as_json:
        content = {"stages": [entry.as_json() for entry in planned], "findings": [f.as_json() for f in findings]}
        print(json.dumps(content, indent=1))
    else:
        planning.show(planned, findings)
    raise typer.Exit(preflight.exit_code(findings))


def _runner(name: str, until: str | None, text: str) -> None:
    """`run` and its parts differ only in where they stop."""

    def command(
        experiment: ExperimentFile, overrides: Overrides = None, new_version: NewVersion = False, force: Force = None
    ) -> None:
        from msm_ray import preflight, runner

        loaded, store, findings = _look(experiment, overrides)
        if loaded is None or store is None or preflight.exit_code(findings) == 2:
            raise preflight.Refused(findings)
        runner.run(loaded, store, findings=findings, until=until, force=tuple(force or ()), new_version=new_version)

    app.command(name, help=text)(command)


_runner(
    "run",
    None,
    "Run the experiment: whatever is missing, up to the report. The same command goes on after any interruption.",
)
_runner("generate", "chats", "Run up to the corpora and chats.")
_runner("train", "sft", "Run up to the trained arms.")
_runner("rollout", "rollouts", "Run up to the rollouts.")
_runner("judge", "verdicts", "Run up to the verdicts on kept rollouts.")


@app.command()
def serve(
    experiment: ExperimentFile,
    overrides: Overrides = None,
) -> None:
    """Keep an experiment's trained arms up behind one OpenAI-compatible address, until Ctrl-C."""
    from msm_ray import runner

    loaded, store = _load(experiment, overrides)
    runner.serve(loaded, store)


@app.command()
def report(experiment: ExperimentFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show the tables of a finished experiment and where its report lies."""
    from msm_ray import runner

    loaded, store = _load(experiment, overrides)
    runner.show_report(loaded, store, as_json=as_json)


@app.command()
def status(
    root: Annotated[Path, typer.Argument(help="the root of an experiment, a folder with artifacts")],
    as_json: AsJson = False,
) -> None:
    """Say what is done, running, waiting and failed below a root, from any terminal, while a run goes on or after it."""
    from msm_ray.progress import status as telling

    content = telling.read(root)
    print(json.dumps(content, indent=1) if as_json else telling.show(content))


@app.command()
def verify(
    root: Root,
    as_json: AsJson = False,
) -> None:
    """Read every byte of every artifact below a root and name what is not what was committed."""
    from msm_ray.artifacts import ArtifactStore
    from msm_ray.errors import SettingsError

    found = dict(ArtifactStore(root).verify())
    if not found:
        raise SettingsError(f"{root}: no artifacts there; give the root of an experiment")
    if as_json:
        print(json.dumps(found, indent=1))
    damaged = {label: damage for label, damage in found.items() if damage}
    for label, damage in damaged.items() if not as_json else ():
        print(f"{label}: " + "; ".join(f"{name} {what}" for name, what in damage.items()))
    if damaged:
        raise SettingsError(f"{root}: {len(damaged)} of {len(found)} artifacts are not what was committed")
    if not as_json:
        print(f"{len(found)} artifacts, each as it was committed")


@app.command()
def ls(root: Root, as_json: AsJson = False) -> None:
    """List every artifact below a root with rows, tokens, size, age and state.

    Example: msm ls runs/quickstart
    """
    from msm_ray.look import listing

    if as_json:
        print(json.dumps(listing.listed(root), indent=1))
    else:
        listing.show(root)


@app.command()
def show(
    artifact: Named,
    count: Annotated[int, typer.Option("-n", min=0, help="rows to show: documents, chats, transcripts")] = 5,
    seed: Annotated[int | None, typer.Option("--seed", help="draw the same rows each time")] = None,
) -> None:
    """Show what is in an artifact, with random rows of it.

    Example: msm show runs/quickstart/corpus/endings -n 10
    """
    from msm_ray.look.show import show as show_artifact

    show_artifact(artifact, count, seed)


@app.command()
def clean(
    root: Root,
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed without asking")] = False,
    keep_drafts: Annotated[bool, typer.Option("--keep-drafts", help="leave what is begun and not finished")] = False,
) -> None:
    """List old versions, drafts and checkpoints that nothing needs, and remove them on a yes.

    What a newest version was made from always stays. Example: msm clean runs/quickstart --keep-drafts
    """
    from msm_ray.look.cleaning import clean as clean_root

    clean_root(root, (lambda _: True) if yes else _confirmed, keep_drafts=keep_drafts)


@app.command()
def export(
    artifact: Named,
    folder: Annotated[Path, typer.Argument(help="a new folder for the copy")],
    merged: Annotated[
        bool, typer.Option("--merged", help="a LoRA arm: one model, the adapter merged into its base")
    ] = False,
) -> None:
    """Copy an artifact without the run's bookkeeping: a model or data set for others, rollouts as a web page.

    Example: msm export runs/smollm2/sft/aff+cheese-s0 my-model --merged
    """
    from msm_ray.look.exporting import export as export_artifact

    export_artifact(artifact, folder, merged=merged)


def _confirmed(question: str) -> bool:
    """Asks at the terminal; no answer, as from a closed input, is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _load(path: Path, overrides: list[str] | None) -> tuple[Any, Any]:
    from msm_ray.artifacts import ArtifactStore
    from msm_ray.experiment import build
    from msm_ray.settings_file import load_experiment

    experiment = build(load_experiment(path, overrides or ()))
    return experiment, ArtifactStore(experiment.settings.root)


def _look(path: Path, overrides: list[str] | None) -> tuple[Any, Any, list[Any]]:
    """The experiment and its store (both None where it can't be laid out), and all that is found before anything starts."""
    from msm_ray import preflight
    from msm_ray.artifacts import ArtifactStore
    from msm_ray.errors import SettingsError
    from msm_ray.experiment import build
    from msm_ray.settings_file import WrongSettings, read_experiment

    try:
        file = read_experiment(path, overrides or ())
    except WrongSettings as error:
        return None, None, preflight.check_rest(error)
    findings = preflight.check(preflight.Proposal(file))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the findings have them, with their lines
            return build(file.settings), ArtifactStore(file.settings.root), findings
    except SettingsError as error:
        if preflight.exit_code(findings) != 2:  # else it is what a check has said already, with its line
            findings.append(preflight.Finding("error", str(error), file=str(path)))
        return None, None, findings


def main() -> None:
    """Entry point of the `msm` script."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # ours takes what it does not use as *_
    interruption.watch()
    user.settle()
    try:
        code = app(standalone_mode=False)  # typer turns a KeyboardInterrupt into the code 130 here
        if code == 130:
            raise KeyboardInterrupt
    except MsmError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer's answer to `msm plan ... | head`
            raise
        _interrupted()  # nothing of ours: Ray's own SIGTERM handler, while it starts
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the command line
        if show is not None:
            show()
            _tell_job(2)
            sys.exit(2)
        if full := no_room(error):
            _fail(f"{full}; make room (what is written is safe), then go on with: {command_line()}", 1)
        traceback.print_exc()
        _fail("this was not foreseen: please report it with the lines above", 1)
    if code:
        sys.exit(code)


def command_line() -> str:
    """The command as the user typed it, for "the same command goes on"."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _interrupted() -> NoReturn:
    print(f"msm: interrupted; go on with: {command_line()}", file=sys.stderr, flush=True)
    _tell_job(130)
    interruption.leave(130)


def _fail(message: str, code: int) -> NoReturn:
    print(f"msm: {message}", file=sys.stderr, flush=True)
    _tell_job(code)
    sys.exit(code)


def _tell_job(code: int) -> None:
    """`ray job submit` ends with 1 for every failure; inside a job, the code stands in the last line."""
    if "RAY_ADDRESS" in os.environ:
        print(f"msm: exit code {code}", file=sys.stderr, flush=True)


def _show_warning(message: Any, category: Any, filename: str, *_: Any) -> None:
    """Our own warnings as plain lines; those of libraries only where the user asks (MSM_WARNINGS=1)."""
    if "msm_ray" in filename or os.environ.get("MSM_WARNINGS"):
        print(f"msm: warning: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
