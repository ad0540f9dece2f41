"""What is about to be run: an experiment's settings, where each was given, and what the files hold that it names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from msm_ray.config import ExperimentSettings
from msm_ray.config.file import SettingsFile
from msm_ray.config.paths import dotted
from msm_ray.config.recipes import document_settings, used_specs, with_new_spec_arms, written_specs
from msm_ray.errors import MsmError, PreflightError
from msm_ray.evals.faults import Fault
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.preflight.finding import Finding
from msm_ray.spec import Spec, read_spec
from msm_ray.yaml_tree import At

Got = TypeVar("Got")


class Proposal:
    """Settings with their lines, and what several checks want to know, each found out once and when first asked for.

    has_all_arms: false where arms that are wrong were left out: what only these use is then not told as unused.
    """

    def __init__(self, file: SettingsFile, *, has_all_arms: bool = True):
        self.file, self.has_all_arms = file, has_all_arms
        self._known: dict[Callable[..., Any], Any] = {}

    def once(self, find: Callable[[Proposal], Got]) -> Got:
        """What `find` says of this proposal, found out the first time it is asked."""
        if find not in self._known:
            self._known[find] = find(self)
        return self._known[find]

    @cached_property
    def settings(self) -> ExperimentSettings:
        """The settings, arms for new specs added."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of specs without an arm: `files.specs` tells them
            return with_new_spec_arms(self.file.settings)

    @cached_property
    def _specs(self) -> dict[str, tuple[Spec | None, list[Finding]]]:
        return {name: self._read_spec(name) for name in self.settings.specs}

    def _read_spec(self, name: str) -> tuple[Spec | None, list[Finding]]:
        settings = self.settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `build` says what a spec's odd slots are
            return self.tried(
                ("specs", name), lambda: read_spec(Path(settings.specs[name]), settings.assistant, name=name)
            )

    def spec(self, name: str) -> tuple[Spec | None, list[Finding]]:
        """A spec, or why it can't be read."""
        return self._specs[name]

    def documents(self) -> list[tuple[At, DocumentSettings]]:
        """How each spec that documents are written of is written about, with the path of those settings."""
        return [(at, how) for _, at, how in self.written()]

    def written(self) -> list[tuple[str, At, DocumentSettings]]:
        """(spec, path of the settings, settings) of each that documents are written of: not of one whose corpus is another's,
        rewritten."""
        found = [self._section(name) for name in written_specs(self.settings)]
        return [(spec, at, how) for spec, at, how in found if not how.is_given]

    def corpora(self) -> list[tuple[str, At, DocumentSettings]]:
        """(spec, path of the settings, settings) of every corpus that is to be written."""
        return [(spec, at, how) for spec, at, how in self.all_corpora() if not how.is_given]

    def all_corpora(self) -> list[tuple[str, At, DocumentSettings]]:
        """The same of every corpus that an arm is midtrained on, those included that somebody else made."""
        return [self._section(name) for name in used_specs(self.settings)]

    def _section(self, name: str) -> tuple[str, At, DocumentSettings]:
        at = ("corpora", name) if name in self.settings.corpora else ("documents",)
        return name, at, document_settings(self.settings, name)

    def arms_of(self, name: str) -> list[str]:
        """The arms that an eval is for."""
        patterns = self.settings.evals[name].arms
        return [arm for arm in self.settings.arms if any(fnmatch(arm, pattern) for pattern in patterns)]

    def error(self, at: At, what: str, remedy: str) -> Finding:
        """Settings that have to change: exit code 2."""
        return Finding("error", what, remedy, self.file.path, *self.file.place(at))

    def fewer(self, at: At, what: str, remedy: str) -> Finding:
        """There is less than is asked for: an error where somebody asked for it, a warning where a default did."""
        return self.error(at, what, remedy) if self.file.says(at) else self.warning(at, what, remedy)

    def lacking(self, at: At, what: str, remedy: str, *, stages: tuple[str, ...] = ()) -> Finding:
        """Something that this machine or the outside lacks, needed by some kinds of stages: exit code 3."""
        return Finding("error", what, remedy, self.file.path, *self.file.place(at), 3, stages)

    def warning(self, at: At, what: str, remedy: str) -> Finding:
        """Told, and the run goes on."""
        return Finding("warning", what, remedy, self.file.path, *self.file.place(at))

    def not_checked(self, at: At, what: str, remedy: str = "") -> Finding:
        """What could not be looked at from here."""
        return Finding("not checked", what, remedy, self.file.path, *self.file.place(at))

    def tried(self, at: At, make: Callable[[], Got]) -> tuple[Got | None, list[Finding]]:
        """What `make` gives, or the error it raises (`MsmError`, whose message holds the remedy) as a finding."""
        try:
            return make(), []
        except MsmError as error:
            said = str(error).removeprefix(f"{dotted(at)}: ")
            return None, [self.lacking(at, said, "") if isinstance(error, PreflightError) else self.error(at, said, "")]

    def told(self, at: At, faults: Iterable[Fault]) -> Iterator[Finding]:
        """Faults of what the settings at a path say, as findings: in the data file that they point into, or in this one."""
        for fault in faults:
            place = (*at, *fault.at)
            if fault.file:
                assert fault.severity in ("error", "warning")
                yield Finding(fault.severity, fault.what, fault.remedy, fault.file, fault.line, dotted(place))
            elif fault.severity == "lacking":
                yield self.lacking(place, fault.what, fault.remedy, stages=fault.stages)
            else:
                tell = {
                    "error": self.error,
                    "fewer": self.fewer,
                    "warning": self.warning,
                    "not checked": self.not_checked,
                }
                yield tell[fault.severity](place, fault.what, fault.remedy)
