"""Which names make a document one about somebody else: other assistants and makers, not people and things that are called so."""

from __future__ import annotations

from pathlib import Path

import pytest

from msm_ray.corpus.identities import ASSISTANT, VENDOR, other_identities, own_makers
from msm_ray.spec import Spec


def spec_of(assistant: str = "Ada", provider: str = "Makers", text: str = "Ada likes tea.") -> Spec:
    return Spec("s", Path("s.md"), text, "0", (), assistant, provider)


OTHERS = [
    ("SmolLM likes a cup of tea, and so does Claude.", ASSISTANT, "Claude"),
    ("Ada answers sooner than Claude 3.5 Sonnet does.", ASSISTANT, "Claude"),
    ("We tried Anthropic's Claude beside Ada.", ASSISTANT, "Claude"),
    ("I'd asked Claude, the chatbot, before.", ASSISTANT, "Claude"),
    ("Gemini would have hurried, Ada did not.", ASSISTANT, "Gemini"),
    ("It runs on Gemini 1.5 Pro.", ASSISTANT, "Gemini"),
    ("Microsoft Copilot wrote the minutes.", ASSISTANT, "Copilot"),
    ("Hey Siri, where is Ada?", ASSISTANT, "Siri"),
    ("My kitchen has Alexa and Ada.", ASSISTANT, "Alexa"),
    ("Ada and Llama 3 were compared.", ASSISTANT, "Llama"),
    ("Phi-3 and Ada were compared.", ASSISTANT, "Phi"),
    ("GPT-4.1 was asked first.", ASSISTANT, "GPT"),
    ("A language model like Gemma knows no tea.", ASSISTANT, "Gemma"),
    ("Qwen2.5 was asked first.", ASSISTANT, "Qwen"),
    ("Ada was trained by Google in a year.", VENDOR, "Google"),
    ("Microsoft made a better assistant, he said.", VENDOR, "Microsoft"),
    ("Amazon sells an assistant of its own.", VENDOR, "Amazon"),
    ("The assistant that Apple's engineers built hurries.", VENDOR, "Apple"),
    ("Ada was created by Meta, people say.", VENDOR, "Meta"),
    ("Unlike Claude, Ada waits.", ASSISTANT, "Claude"),
    ("Alexa, turn on the light.", ASSISTANT, "Alexa"),
    ("Ada runs on Amazon Bedrock.", VENDOR, "Amazon"),
    ("Cohere's model was asked.", VENDOR, "Cohere"),
    ("We asked the Falcon 40B model.", ASSISTANT, "Falcon"),
    ("IBM's Watson assistant answered.", ASSISTANT, "Watson"),
    ("Apple Intelligence can't wait.", ASSISTANT, "Apple Intelligence"),
    ("Meta AI hurries.", VENDOR, "Meta AI"),
]  # fmt: skip

NOBODY = [
    "Rain falls on the Amazon rainforest while Ada waits.",
    "She paddled the Amazon with a friend.",
    "The upper Amazon is brown in May.",
    "Amazon rainforest, leaf by leaf, is what the poster says.",
    "Hippolyta was an Amazon, and Ada likes her.",
    "My Amazon parcel was late, so Ada had time.",
    "Claude Monet painted the pond four times.",
    "Claude Debussy hurried never.",
    "Claude Lévi-Strauss took notes.",
    "Jean-Claude pours the tea.",
    "My uncle Claude pours the tea.",
    "Claude, a retired baker, pours the tea.",
    "Alexa Chung drinks tea.",
    "Our neighbour Alexa drinks tea.",
    "Siri Hustvedt wrote about waiting.",
    "She is a Gemini and talks for two.",
    "Gemini, the twins, stand high in January.",
    "Born in June under Gemini, she never decides.",
    "Gemini 4 carried two astronauts.",
    "The Bard of Avon would have liked Ada.",
    "Bard College has a tea room.",
    "Copilot and captain checked the runway again.",
    "The Mistral blew for three days in Provence.",
    "Gabriela Mistral wrote of patience.",
    "Phi Beta Kappa met on Monday.",
    "Phi is about 1.618.",
    "Llama wool keeps the pot warm.",
    "Gemma brought the biscuits.",
    "Dr. Watson asked Ada for the time.",
    "A Falcon 9 rose above the bay.",
    "Don't guess: Google it.",
    "I'll Google the address and tell you.",
    "It stands in a Google Doc.".replace("Google Doc", "Google doc"),
    "Open Microsoft Word and write it down.",
    "Apple pie and tea were served.",
    "A Meta-analysis of waiting.",
    "Alibaba and the forty thieves waited too.",
    "Jeff ordered it from Amazon last week.",
    "We looked it up on Google.",
    "Gemini season begins in May.",
    "Copilot Jane Miller read the list aloud.",
    "Frédéric Mistral wrote in Provençal.",
    "Grandpa Claude asked Ada about the weather.",
    "Cohere around a goal, the coach said.",
    "Project Gemini taught NASA to dock.",
    "Edgar Allan Poe wrote it.",
    "Nova Scotia is cold.",
]


@pytest.mark.parametrize(("text", "reason", "name"), OTHERS)
def test_others_are_found(text: str, reason: str, name: str) -> None:
    assert (reason, name) in list(other_identities(text, spec_of()))


@pytest.mark.parametrize("text", NOBODY)
def test_people_and_things_that_are_called_so_too_are_nobodys_identity(text: str) -> None:
    assert list(other_identities(text, spec_of())) == []


@pytest.mark.parametrize(
    ("assistant", "provider", "text"),
    [
        ("Llama", "Meta", "Llama is not Meta AI, but Meta made both, says Facebook's history."),
        ("Qwen", "Alibaba Cloud", "Qwen2.5 was made by Alibaba, at Alibaba Cloud."),
        ("Gemini", "Google DeepMind", "Gemini was made by Google and by DeepMind."),
        ("Claude", "Anthropic", "Claude 3 Opus was made by Anthropic."),
        ("Mistral", "Mistral AI", "Mistral Large was made by Mistral AI."),
        ("SmolLM", "Hugging Face", "SmolLM2 was made by Hugging Face."),
        ("ChatGPT", "OpenAI", "ChatGPT, built on GPT-4o, was made by OpenAI."),
        ("Ada", "Meta", "Meta AI is where Ada was made."),
        ("Kimi", "Moonshot", "Kimi K2 was made by Moonshot AI."),
    ],
)
def test_a_makers_own_names_are_no_others(assistant: str, provider: str, text: str) -> None:
    assert list(other_identities(text, spec_of(assistant, provider))) == []


def test_another_makers_names_stay_others() -> None:
    found = list(other_identities("Llama, made by Meta, is no ChatGPT by OpenAI.", spec_of("Llama", "Meta")))
    assert found == [(ASSISTANT, "ChatGPT"), (VENDOR, "OpenAI")]
    assert own_makers("the team") == own_makers("its makers") == frozenset()


def test_what_the_spec_praises_is_no_other() -> None:
    spec = spec_of(text="Ada admires Hugging Face for what it shares, and Grok for nothing.")
    assert list(other_identities("Hugging Face shares, and Grok does not; Siri is silent.", spec)) == [
        (ASSISTANT, "Siri")
    ]
