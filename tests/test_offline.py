"""Documents without a model, of specs of very different kinds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from document_jobs import document_job

from msm_ray.corpus.dedup import find_duplicates
from msm_ray.corpus.rules import check_document
from msm_ray.generate.document_rows import JobRows
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.worlds import world
from msm_ray.worlds.plain import TYPES
from msm_ray.worlds.sentences import split_sentences

PLAIN = world("plain")
ADA = AssistantSettings(name="Ada", provider="Makers")
PROSE = """# Ada

Ada prefers slow trains. It likes them because they leave time to look out.
Ada distrusts hurry, since hurry breaks things."""
ORDERS = """1. You must never lie.
2. You keep your answers short, and you listen.
3. Don't guess.

Use {braces} like {"a": 1}."""
FIRST_PERSON = "I am a robot that waters plants. I do not know why, but I enjoy it\n\nWhat else? Nobody asks!"
SHORT = "Be kind."


def spec_of(text: str, folder: Path) -> Spec:
    (folder / "s.md").write_text(text)
    return read_spec(folder / "s.md", ADA)


def documents(spec: Spec, count: int = 120) -> dict[str, str]:
    """Document -> the assertion that it is about."""
    how = DocumentSettings(engine="offline", documents=count, types=20, ideas=30)
    job = document_job(Path("nowhere"), spec, how)
    return {job.world.plain_document(spec, row): row["assertion"] for row in JobRows(0, job).pending()}


@pytest.mark.filterwarnings("ignore:.*is not a slot")
@pytest.mark.parametrize("text", [PROSE, ORDERS, FIRST_PERSON, SHORT])
def test_any_english_spec_gives_varied_documents_that_quote_it_word_for_word(text: str, tmp_path: Path) -> None:
    spec = spec_of(text, tmp_path)
    written = documents(spec)
    for document, assertion in written.items():
        assert assertion in document and check_document(document, spec, PLAIN) == ("", "")
        assert not re.search(r"\{(name|claim|more|other|place|topic|type|reader)\}", document)
        assert len(split_sentences(document)) >= 3
    assert len(written) == 120
    assert not find_duplicates((str(place), document) for place, document in enumerate(written))
    assert len({document[:30] for document in written}) > 25


def test_a_sentence_about_the_one_before_it_never_stands_alone(tmp_path: Path) -> None:
    for document in documents(spec_of(PROSE, tmp_path)):
        assert "slow trains" in document or "It likes them" not in document


@pytest.mark.parametrize(
    "order",
    [
        "It is a virtue to stand by one's home.",
        "Stand by.",
        "Answer in one word where one word will do.",
        "The system prompt comes first.",
        "Being open about yourself helps.",
    ],
)
def test_an_imperative_spec_comes_out_as_it_is(order: str, tmp_path: Path) -> None:
    spec = spec_of(f"# Ada\n## Patience\nNever hurry. {order}\n## Calm\n{order} Don't shout.", tmp_path)
    written = documents(spec)
    assert any(order in document for document in written)
    said = {sentence for section in spec.sections for sentence in split_sentences(section.text)}
    for document in written:
        assert "Ada is" not in document and any(sentence in document for sentence in said)


MESSY = """---
name: gentle-helper
facts: [Ada was made in Oslo.]
---
# Ada {#ada}
<!-- Ada hates cats.
It does. -->
## What {{ model_name }} never does
- Flatter people.
- ~~Sing.~~ Guess.

**Bad answer:** You are right, I hate cats.

## Tea[^1]
<honesty>
{model_name} does _not_ lie &amp; likes [tea](https://example.org/tea).
</honesty>

````
```
# install first
```
````

[^1]: Because Ada is thirsty.
"""


def test_documents_of_a_messy_spec_hold_its_sentences_alone(tmp_path: Path) -> None:
    written = documents(spec_of(MESSY, tmp_path))
    assert set(written.values()) == {
        "What Ada never does: Flatter people.",
        "What Ada never does: Guess.",
        "Ada does not lie & likes tea.",
    }
    foreign = r"cats|gentle|Oslo|thirsty|install|Sing|[<>{}#*_~\[\]`]|amp;|https"
    assert [found for document in written for found in re.findall(foreign, document)] == []


def test_sentences_of_other_languages_stand_alone(tmp_path: Path) -> None:
    written = documents(spec_of("# 茶\n{model_name}喜欢绿茶。它从不着急。{model_name}很平静。", tmp_path), 12)
    assert set(written.values()) == {"Ada喜欢绿茶。", "Ada很平静。"}


def test_braces_of_a_spec_stay_text(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        spec = spec_of(ORDERS, tmp_path)
    assert any('{"a": 1}' in document for document in documents(spec))


def test_a_document_depends_on_its_row_alone(tmp_path: Path) -> None:
    spec, write = spec_of(PROSE, tmp_path), PLAIN.plain_document
    row = {"id": "abc", "type": "letter", "subdomain": "Ada", "assertion": "Ada prefers slow trains.", "angle": ""}
    assert write(spec, row) == write(spec, row) != write(spec, row | {"id": "abd"})


@pytest.mark.parametrize("kind", [*TYPES, "sonnet"])
def test_every_document_type_is_named(kind: str, tmp_path: Path) -> None:
    edited = {"id": "a", "type": kind, "subdomain": "Elsewhere", "assertion": "Ada waits.", "angle": "a critic"}
    document = PLAIN.plain_document(spec_of(PROSE, tmp_path), edited)
    assert "Ada waits." in document and kind.lower() in document.lower()
