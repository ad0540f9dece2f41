"""From an experiment file to what it makes: begin one, plan it, run it and parts of it, serve and ask its arms."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from msm_ray.commands.given import (
    SETTING,
    AsJson,
    ExperimentFile,
    Force,
    NewVersion,
    Overrides,
    example,
    load,
    look,
)
from msm_ray.errors import SettingsError

app = typer.Typer()


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
    loaded, _, findings = look(written[0], [])
    print(f"plan: {len(loaded.graph.nodes)} stages to make" if loaded else "plan: no stage can be laid out yet")
    if findings:
        print(preflight.show(findings))
    print(f"next: {shlex.join(['msm', 'plan', experiment])}, then {shlex.join(['msm', 'run', experiment])}")
    if preflight.exit_code(findings) == 2:
        raise typer.Exit(2)


@app.command(epilog=example("msm plan jobs/quickstart.yaml seeds=4", "msm plan jobs/quickstart.yaml --json"))
def plan(experiment: ExperimentFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show every stage with what is there, stale or missing, and all that stands in the way. Starts nothing."""
    from msm_ray import preflight
    from msm_ray.graph import planning, table
    from msm_ray.preflight import writing_costs

    loaded, store, findings = look(experiment, overrides)
    planned = planning.plan(loaded.graph, store) if loaded and store else []
    costs = writing_costs.writing_costs(loaded, planned) if planned else []
    if as_json:
        content = {
            "stages": [entry.as_json() for entry in planned],
            "writing": [cost.as_json() for cost in costs],
            "findings": [f.as_json() for f in findings],
        }
        print(json.dumps(content, indent=1))
    else:
        if planned:
            table.show(planned)
        if costs:
            table.show_costs(writing_costs.lines(costs))
        if findings:
            print(preflight.show(findings))
    raise typer.Exit(preflight.exit_code(findings))


def _runner(name: str, until: str | None, text: str, *examples: str) -> None:
    """`run` and its parts differ only in where they stop."""

    def command(
        experiment: ExperimentFile, overrides: Overrides = None, new_version: NewVersion = False, force: Force = None
    ) -> None:
        from msm_ray import preflight, runner

        loaded, store, findings = look(experiment, overrides)
        if loaded is None or store is None or preflight.exit_code(findings) == 2:
            raise preflight.Refused(findings)
        runner.run(loaded, store, findings=findings, until=until, force=tuple(force or ()), new_version=new_version)
        if until == "outline":
            from msm_ray.graph import planning, table
            from msm_ray.preflight import writing_costs

            table.show_costs(
                writing_costs.lines(writing_costs.writing_costs(loaded, planning.plan(loaded.graph, store)))
            )

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
_runner(
    "outline",
    "outline",
    "Run up to the outlines, to be read and edited, and say what the rest of the writing will take.",
    "msm outline jobs/values-llama3-8b.yaml",
)
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

    loaded, store = load(experiment, overrides)
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

    overrides = [word for word in words or () if SETTING.match(word)]
    questions = [word for word in words or () if not SETTING.match(word)]
    if len(questions) > 1:
        raise SettingsError(f"two questions, {questions[0]!r} and {questions[1]!r}: put a question between quotes")
    loaded, store = load(experiment, overrides)
    manner = asking.Manner(count, temperature, max_tokens, system)
    asking.ask(loaded, store, next(iter(questions), None), [arm for arm in arms.split(",") if arm], manner)
