"""One thing that was found before anything starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "not checked"]


@dataclass(frozen=True)
class Finding:
    """What is wrong (or could not be looked at), where, and what to do about it.

    severity: an error refuses the run; a warning is told and the run goes on; `not checked` says what could not be looked
    at from here, so that nobody takes it for passed.
    file, line: where to mend it: the experiment file, or the data file that it names. Line 0 is the command line, None
    where the file has no line for it (a default, a Parquet file).
    key: the setting's dotted name (`aft.lora.r`), empty where there is none.
    exit_code: of an error: 2 where settings or files have to change, 3 where this machine or something outside (a key, an
    account, room on a disk) lacks what is needed.
    stages: of an error with exit code 3: the kinds of stages that need what is lacking. A command that stops before them,
    or finds all of them made, is not refused. Empty: every command needs it.
    """

    severity: Severity
    what: str
    remedy: str = ""
    file: str = ""
    line: int | None = None
    key: str = ""
    exit_code: Literal[2, 3] = 2
    stages: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """All fields under their names."""
        return asdict(self)

    @property
    def where(self) -> str:
        """`jobs/x.yaml:12: aft.lora.r`, as far as it is known."""
        place = self.file
        if self.line is not None:
            place = f"{self.file}:{self.line}" if self.line else f"{self.file} (command line)"
        return ": ".join(part for part in (place, self.key) if part)

    def line_of_text(self) -> str:
        """The finding in one line: where, what, remedy."""
        said = ": ".join(part for part in (self.where, self.what) if part)
        return f"{said}; {self.remedy}" if self.remedy else said
