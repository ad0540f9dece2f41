"""The `msm` command, thin: it puts the commands of `commands/` together and turns errors into exit codes (design.md).

Exit codes: 0 done, 1 a stage failed, 2 usage or settings, 3 preflight, 4 a quality gate, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Annotated, Any, NoReturn

import typer

from msm_ray import __version__, interruption, user
from msm_ray.commands import artifacts, experiments, results, settings
from msm_ray.errors import MsmError, command_line, no_room

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for group in (experiments, results, artifacts, settings):  # in the order in which --help lists them
    app.add_typer(group.app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"msm {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Model Spec Midtraining: from a spec to a report."""


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
