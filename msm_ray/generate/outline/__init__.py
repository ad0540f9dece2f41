"""What there is to be written about a spec: domains, subdomains with their verbatim section, assertions, document types,
ideas.

A writer makes it in five calls (`by_model`), or rules do from the spec's headings and sentences (`by_headings`). Either way it
lies in `outline.yaml`, which is for people too: what is edited there is what documents are written from (`yaml_file`). `ideas`
puts the ideas in the order in which they become documents.
"""

from __future__ import annotations

from msm_ray.generate.outline.answers import prompt_versions
from msm_ray.generate.outline.by_headings import make_outline, unwritten_sections
from msm_ray.generate.outline.by_model import outline_conversation
from msm_ray.generate.outline.ideas import Ideas, expected_subdomains, list_ideas, outline_counts
from msm_ray.generate.outline.parts import Assertion, DocumentIdea, DocumentType, Idea, Outline, Subdomain, listed
from msm_ray.generate.outline.settings import OutlineContent
from msm_ray.generate.outline.yaml_file import Draft, read_draft, read_outline, write_outline

__all__ = [
    "Assertion",
    "DocumentIdea",
    "DocumentType",
    "Draft",
    "Idea",
    "Ideas",
    "Outline",
    "OutlineContent",
    "Subdomain",
    "expected_subdomains",
    "list_ideas",
    "listed",
    "make_outline",
    "outline_conversation",
    "outline_counts",
    "prompt_versions",
    "read_draft",
    "read_outline",
    "unwritten_sections",
    "write_outline",
]
