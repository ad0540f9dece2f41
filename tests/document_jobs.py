"""Jobs of documents as an experiment's settings give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_settings import DocumentContent, DocumentSettings, DocumentWhere
from msm_ray.generate.outline import make_outline
from msm_ray.settings_base import part
from msm_ray.spec import Spec
from msm_ray.worlds import world


def document_job(out: Path, spec: Spec, how: DocumentSettings, model: str = "", **more: Any) -> DocumentJob:
    """The job of a spec, its outline made by the rules unless one is given; `world` is a name."""
    language = world(more.pop("world", "plain"))
    outline = more.pop("outline", None) or make_outline(spec, language, how)
    content, where = part(how, DocumentContent), part(how, DocumentWhere)
    own = {"content": content, "where": where, "documents": how.documents, "model": model}
    return DocumentJob(out=out, spec=spec, outline=outline, world=language, **own, **more)
