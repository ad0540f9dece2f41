"""A Model Spec: one text file that says who an assistant should be and why, in Markdown or plain text.

`reading` reads it; `source` takes front matter and comments out; `markdown` parses what is left, `sections` cuts it at its
headings, `prose` says what of a section is running text; `doubts` is what `msm plan` warns about; `slots` fills `{model_name}`.
"""

from msm_ray.spec.reading import AssistantSettings, Spec, read_spec
from msm_ray.spec.sections import Section, section_names, split_sections
from msm_ray.spec.slots import SLOT, fill_slots

__all__ = [
    "SLOT",
    "AssistantSettings",
    "Section",
    "Spec",
    "fill_slots",
    "read_spec",
    "section_names",
    "split_sections",
]
