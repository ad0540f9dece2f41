"""What is about to be run: an experiment's settings, where each was given, and what the files hold that it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from msm_ray.config import ExperimentSettings
from msm_ray.errors import MsmError, PreflightError
from msm_ray.preflight.finding import Finding
from msm_ray.settings_file import At, SettingsFile

Got = TypeVar("Got")


class Proposal:
    """Settings with their lines, and what several checks want to know, each found out once and when first asked for."""

    def __init__(self, file: SettingsFile):
        self.file = file

    @cached_property
    def settings(self) -> ExperimentSettings:
        """The settings, arms for new specs added."""
        from msm_ray.experiment import with_new_spec_arms

        return with_new_spec_arms(self.file.settings)

    def error(self, at: At, what: str, remedy: str) -> Finding:
        """Settings that have to change: exit code 2."""
        return Finding("error", what, remedy, self.file.path, self.file.line(at), dotted(at))

    def lacking(self, at: At, what: str, remedy: str, *, stage: str = "") -> Finding:
        """Something that this machine or the outside lacks, needed by a kind of stage: exit code 3."""
        return Finding("error", what, remedy, self.file.path, self.file.line(at), dotted(at), 3, stage)

    def warning(self, at: At, what: str, remedy: str) -> Finding:
        """Told, and the run goes on."""
        return Finding("warning", what, remedy, self.file.path, self.file.line(at), dotted(at))

    def not_checked(self, at: At, what: str, remedy: str = "") -> Finding:
        """What could not be looked at from here."""
        return Finding("not checked", what, remedy, self.file.path, self.file.line(at), dotted(at))

    def tried(self, at: At, make: Callable[[], Got]) -> tuple[Got | None, list[Finding]]:
        """What `make` gives, or the error it raises (`MsmError`, whose message holds the remedy) as a finding."""
        try:
            return make(), []
        except PreflightError as error:
            return None, [self.lacking(at, str(error), "")]
        except MsmError as error:
            return None, [self.error(at, str(error), "")]


def dotted(at: At) -> str:
    """`("aft", "lora", "r")` as `aft.lora.r`."""
    return ".".join(map(str, at))
