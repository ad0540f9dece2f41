"""Documents about a spec that somebody else made: a file's, or a data set's of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.given_documents import write_given
from msm_ray.generate.given_settings import GivenDocumentSettings
from msm_ray.graph.heads import add_places
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.settings_base import part
from msm_ray.spec import Spec, read_spec
from msm_ray.stages.data_file import DataFile, data_file
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class GivenDocuments(Node):
    """how: where they lie; spec: what they are said to be about, with the assistant that they name; file: what it holds."""

    kind: ClassVar[str] = "given"
    direct: ClassVar[bool] = True

    how: GivenDocumentSettings
    spec: Spec
    file: DataFile | None = None

    def make(self, work: Work[GivenDocuments], machine: Machine) -> Counts:
        """All of them, with a place for each; who reads them says how many they take."""
        given, counts = write_given(work.out, self.name, self.how, self.spec.assistant)
        return {"rows": add_places(work.out, given.rows), **counts}


def given_documents(name: str, how: DocumentSettings, spec: Spec) -> GivenDocuments:
    """The documents that settings describe, their file looked at once. Raises SettingsError where it is not there.

    Where they name somebody else and that is meant, the spec is read with that name: the checks go by it.
    """
    own = read_spec(spec.path, how.named, name=name) if how.named else spec
    file = data_file(how.path) if how.path else None
    return GivenDocuments(name=name, how=part(how, GivenDocumentSettings), spec=own, file=file)
