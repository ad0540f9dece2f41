"""An outline by rules: the spec's own headings and sentences, and the world's document types. The same spec, the same outline."""

from __future__ import annotations

from msm_ray.errors import SettingsError
from msm_ray.generate.outline.ideas import list_ideas
from msm_ray.generate.outline.parts import Assertion, DocumentType, Outline, Subdomain
from msm_ray.generate.outline.settings import OutlineContent
from msm_ray.spec import Section, Spec, section_names
from msm_ray.worlds import World, sentences


def make_outline(spec: Spec, world: World, settings: OutlineContent) -> Outline:
    """The outline of `spec`: one subdomain a section, `settings.types` of the world's document types each. Deterministic."""
    types = tuple(DocumentType(name) for name in world.document_types[: settings.types])
    named = section_names(spec.sections)
    subdomains = tuple(
        Subdomain(domain, name, section.text, _assertions(section, spec.assistant), types)
        for (domain, name), section in zip(named, spec.sections, strict=True)
    )
    kept = tuple(subdomain for subdomain in subdomains if subdomain.assertions)
    if not kept:
        raise SettingsError(
            f"Spec {spec.path} has no sentence to write about. Write at least one sentence about the assistant."
        )
    return Outline(spec.name, settings.ideas, kept)


def unwritten_sections(spec: Spec, outline: Outline, documents: int) -> dict[str, str]:
    """Sections of a spec that none of so many documents will be about: name -> why."""
    outlined = [subdomain.name for subdomain in outline.subdomains]
    reached = {idea.subdomain for idea in list_ideas(outline, documents)}
    silent = [name for _, name in section_names(spec.sections) if name not in outlined]
    ended_before = [name for name in outlined if name not in reached]
    return dict.fromkeys(silent, "it has no sentence to write about") | dict.fromkeys(
        ended_before, "the documents end before it"
    )


def _assertions(section: Section, assistant: str) -> tuple[Assertion, ...]:
    all_of_them = [
        each for each in sentences.section_sentences(section, assistant) if not sentences.about_the_text(each)
    ]
    chosen = sentences.about_assistant(all_of_them, assistant) or all_of_them
    return tuple(Assertion(sentence, sentences.label(sentence)) for sentence in chosen)
