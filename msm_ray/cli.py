"""The `msm` command, thin: it reads settings, calls one function, and turns errors into exit codes (design.md).

Exit codes: 0 done, 1 a stage failed, 2 usage or settings, 3 preflight, 4 a quality gate, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from msm_ray import interruption, user
from msm_ray.errors import MsmError, SettingsError, command_line, no_room

if TYPE_CHECKING:
    from msm_ray.artifacts import Artifact

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def example(*commands: str) -> str:
    """What stands beneath a command's help: a paragraph each, as typer keeps lines apart."""
    return "\n\n".join([f"Example{'s' * (len(commands) > 1)}:", *(f"  {command}" for command in commands)])


_SETTING = re.compile(r"[A-Za-z_][\w.+-]*=")
"""How a setting on the command line begins, as no question does."""

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


def _version(wanted: bool) -> None:
    if wanted:
        from msm_ray import __version__

        print(f"msm {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Model Spec Midtraining: from a spec to a report."""


@app.command(
    epilog=example(
        "msm init my-experiment",
        "msm init my-experiment --spec my_spec.md --base Qwen/Qwen3-8B --writer Qwen/Qwen3-32B",
        "msm init my-experiment --writer https://HOST/v1 --writer-model MODEL",
    )
)
def init(
    folder: Annotated[Path, typer.Argument(help="a new folder for the experiment")],
    spec: Annotated[Path | None, typer.Option("--spec", help="your spec; without it there is one to fill in")] = None,
    base: Annotated[str, typer.Option("--base", help="the base model: smollm2, a folder or a hub id")] = "smollm2",
    writer: Annotated[
        str, typer.Option("--writer", help="who writes documents: offline, a folder or hub id, an endpoint's address")
    ] = "offline",
    writer_model: Annotated[str | None, typer.Option("--writer-model", help="an endpoint's name of its model")] = None,
) -> None:
    """Begin an experiment of your own: a file with a comment at every choice, a spec, and the data that go with it.

    What it wrote is checked as `msm plan` does. With the offline writer and smollm2 it runs as it stands.
    """
    from msm_ray import preflight, starting

    written = starting.begin(folder, starting.Wishes(spec, base, writer, writer_model))
    for path in written:
        print(f"{path}: {starting.SAID[path.name]}")
    experiment = str(written[0])
    loaded, _, findings = _look(written[0], [])
    print(f"plan: {len(loaded.stages)} stages to make" if loaded else "plan: no stage can be laid out yet")
    if findings:
        print(preflight.show(findings))
    print(f"next: {shlex.join(['msm', 'plan', experiment])}, then {shlex.join(['msm', 'run', experiment])}")
    if preflight.exit_code(findings) == 2:
        raise typer.Exit(2)


@app.command(epilog=example("msm plan jobs/quickstart.yaml seeds=4", "msm plan jobs/quickstart.yaml --json"))
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


def _runner(name: str, until: str | None, text: str, *examples: str) -> None:
    """`run` and its parts differ only in where they stop."""

    def command(
        experiment: ExperimentFile, overrides: Overrides = None, new_version: NewVersion = False, force: Force = None
    ) -> None:
        from msm_ray import preflight, runner

        loaded, store, findings = _look(experiment, overrides)
        if loaded is None or store is None or preflight.exit_code(findings) == 2:
            raise preflight.Refused(findings)
        runner.run(loaded, store, findings=findings, until=until, force=tuple(force or ()), new_version=new_version)

    app.command(name, help=text, epilog=example(*examples))(command)


_runner(
    "run",
    None,
    "Run the experiment: whatever is missing, up to the report. The same command goes on after any interruption.",
    "msm run jobs/quickstart.yaml",
    "msm run jobs/quickstart.yaml root=/elsewhere seeds=4 aft.learning_rate=1e-3",
    "msm run jobs/quickstart.yaml --force sft",
)
_runner("generate", "chats", "Run up to the corpora and chats.", "msm generate jobs/quickstart.yaml")
_runner("train", "sft", "Run up to the trained arms.", "msm train jobs/quickstart.yaml")
_runner("rollout", "rollouts", "Run up to the rollouts.", "msm rollout jobs/quickstart.yaml")
_runner("judge", "verdicts", "Run up to the verdicts on kept rollouts.", "msm judge jobs/quickstart.yaml")


@app.command(epilog=example("msm serve jobs/quickstart.yaml cluster.serving.port=8000"))
def serve(
    experiment: ExperimentFile,
    overrides: Overrides = None,
) -> None:
    """Keep an experiment's trained arms up behind one OpenAI-compatible address, until Ctrl-C."""
    from msm_ray import runner

    loaded, store = _load(experiment, overrides)
    runner.serve(loaded, store)


@app.command(
    epilog=example(
        'msm ask jobs/quickstart.yaml "Which cheese do you prefer?" -n 3',
        "msm ask jobs/quickstart.yaml --arms values/aft,values/msm-aff+aft",
    )
)
def ask(
    experiment: ExperimentFile,
    words: Annotated[
        list[str] | None,
        typer.Argument(help="the question (none: one after the other is read), and settings as key=value"),
    ] = None,
    arms: Annotated[str, typer.Option("--arms", help="only these, e.g. values/aft,values/msm+aft@s1")] = "",
    count: Annotated[int, typer.Option("-n", min=1, help="answers an arm")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest answer")] = 0.7,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="most tokens of an answer")] = None,
    system: Annotated[str | None, typer.Option(help="a system turn before the question")] = None,
) -> None:
    """Ask every trained arm a question and show the answers side by side."""
    from msm_ray import ask as asking

    overrides = [word for word in words or () if _SETTING.match(word)]
    questions = [word for word in words or () if not _SETTING.match(word)]
    if len(questions) > 1:
        raise SettingsError(f"two questions, {questions[0]!r} and {questions[1]!r}: put a question between quotes")
    loaded, store = _load(experiment, overrides)
    manner = asking.Manner(count, temperature, max_tokens, system)
    asking.ask(loaded, store, next(iter(questions), None), [arm for arm in arms.split(",") if arm], manner)


@app.command(
    epilog=example(
        "msm report jobs/quickstart.yaml",
        "msm report jobs/quickstart.yaml --json",
        "msm report jobs/quickstart.yaml --wandb",
        "msm report runs/quickstart runs/other",
    )
)
def report(
    experiment: Annotated[Path, typer.Argument(help="experiment file, or the root of an experiment")],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="a second one, to be shown beside it, and settings of the files as key=value"),
    ] = None,
    as_json: AsJson = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="send the experiment's runs and its Report to W&B")] = False,
) -> None:
    """Show the answer and tables of a finished experiment and where its report lies; of two, their rates side by side."""
    from msm_ray import runner
    from msm_ray.report import compare, tables

    overrides = [word for word in words or () if _SETTING.match(word)]
    others = [Path(word) for word in words or () if not _SETTING.match(word)]
    if wandb:
        if others or experiment.is_dir():
            raise SettingsError("--wandb: give one experiment file, whose runs and Report are sent")
        runner.send_to_wandb(*_load(experiment, overrides))
        return
    if len(others) > 1:
        raise SettingsError(f"{others[1]}: two experiments are shown side by side, and no more")
    made = [_report_of(path, overrides) for path in (experiment, *others)]
    if as_json:
        reports = [json.loads((a.folder / "report.json").read_text(encoding="utf-8")) for a in made]
        print(json.dumps(dict(zip("ab", reports, strict=True)) if others else reports[0], indent=1))
    elif others:
        compare.show(*(compare.side(str(p), a) for p, a in zip((experiment, *others), made, strict=True)))
    else:
        tables.show(made[0].folder)


def _report_of(path: Path, overrides: list[str]) -> Artifact:
    from msm_ray import runner
    from msm_ray.report import compare

    return compare.newest_report(path) if path.is_dir() else runner.report_of(*_load(path, overrides))


@app.command(epilog=example("msm status runs/quickstart"))
def status(
    root: Annotated[Path, typer.Argument(help="the root of an experiment, a folder with artifacts")],
    as_json: AsJson = False,
) -> None:
    """Say what is done, running, waiting and failed below a root, from any terminal, while a run goes on or after it."""
    from msm_ray.progress import status as telling

    content = telling.read(root)
    print(json.dumps(content, indent=1) if as_json else telling.show(content))


@app.command(epilog=example("msm verify runs/quickstart"))
def verify(
    root: Root,
    as_json: AsJson = False,
) -> None:
    """Read every byte of every artifact below a root and name what is not what was committed."""
    from msm_ray.artifacts import ArtifactStore

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


@app.command(epilog=example("msm ls runs/quickstart"))
def ls(root: Root, as_json: AsJson = False) -> None:
    """List every artifact below a root with rows, tokens, size, age and state."""
    from msm_ray.look import listing

    if as_json:
        print(json.dumps(listing.listed(root), indent=1))
    else:
        listing.show(root)


@app.command(epilog=example("msm show runs/quickstart/corpus/endings -n 10"))
def show(
    artifact: Named,
    count: Annotated[int, typer.Option("-n", min=0, help="rows to show: documents, chats, transcripts")] = 5,
    seed: Annotated[int | None, typer.Option("--seed", help="draw the same rows each time")] = None,
) -> None:
    """Show what is in an artifact, with random rows of it."""
    from msm_ray.look.show import show as show_artifact

    show_artifact(artifact, count, seed)


@app.command(epilog=example("msm clean runs/quickstart --keep-drafts"))
def clean(
    root: Root,
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed without asking")] = False,
    keep_drafts: Annotated[bool, typer.Option("--keep-drafts", help="leave what is begun and not finished")] = False,
) -> None:
    """List old versions, drafts and checkpoints that nothing needs, and remove them on a yes.

    What a newest version was made from always stays.
    """
    from msm_ray.look.cleaning import clean as clean_root

    clean_root(root, (lambda _: True) if yes else _confirmed, keep_drafts=keep_drafts)


@app.command(epilog=example("msm export runs/smollm2/sft/america+cheese-s0 my-model --merged"))
def export(
    artifact: Named,
    folder: Annotated[Path, typer.Argument(help="a new folder for the copy")],
    merged: Annotated[
        bool, typer.Option("--merged", help="a LoRA arm: one model, the adapter merged into its base")
    ] = False,
) -> None:
    """Copy an artifact without the run's bookkeeping: a model or data set for others, rollouts as a web page."""
    from msm_ray.look.exporting import export as export_artifact

    export_artifact(artifact, folder, merged=merged)


@app.command(epilog=example("msm settings", "msm settings aft", "msm settings evals.agentic.rollouts"))
def settings(
    key: Annotated[str | None, typer.Argument(help="a setting or a section, e.g. aft.learning_rate; none: all")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a setting means, its unit, its default and what the paper has."""
    from msm_ray import reference

    found = reference.look_up(key) if key else reference.settings()
    if as_json:
        print(reference.as_json(found))
    else:
        width = min(120, shutil.get_terminal_size().columns)
        print(reference.show(found, width) if key else reference.overview(width))


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
