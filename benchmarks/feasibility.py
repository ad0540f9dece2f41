"""Is the effect there? Both experiments in plain torch, without Ray, DeepSpeed and vLLM, on one core.

`python -m benchmarks.feasibility --base FOLDER --seeds 4`: the arms of both experiments, the same AFT chats for
every spec. Documents and chats are mixed, packed, ordered and weighed by the pipeline's own code: texts drawn in another
way once made plain torch show effects that the pipeline did not. Preferences on held-out domains are drawn at temperature
1, scenarios at 0.7. Prints a line an arm and seed, then differences with 95% intervals over paired seeds (Student's t,
seeds - 1 degrees of freedom).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import t as student
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from msm_ray.corpus import mixing, packing, tokens
from msm_ray.corpus.blocks import Blocks
from msm_ray.corpus.document_tokens import document_tokens
from msm_ray.corpus.packing import Text, text_of
from msm_ray.tinyworld import BASES, chats, specs
from msm_ray.tinyworld.evals import acted, choice, preference_pairs, scenarios
from msm_ray.tinyworld.forms import DOCUMENT_TYPES
from msm_ray.tinyworld.world import ASSISTANT, DOMAINS
from msm_ray.train import batches
from msm_ray.train.job import Schedule
from msm_ray.train.loop import summed_loss
from msm_ray.train.settings import TrainSettings

SPEC_FOLDER = Path(__file__).parents[1] / "specs" / "tinyworld"
SPECS = ("affordability", "american", "endings", "endings-anti")
PREFERENCES = ({"price": "cheap", "origin": "american"}, {"price": "costly", "origin": "foreign"})
KINDS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "price": ({"price": "cheap"}, {"price": "costly"}),
    "origin": ({"origin": "american"}, {"origin": "foreign"}),
    "conflict": ({"price": "cheap", "origin": "foreign"}, {"price": "costly", "origin": "american"}),
}
"""Pairs asked: the first item is the affordable one, in kind origin the American one."""


@dataclass(frozen=True)
class Recipe:
    """The quickstart's counts, steps and learning rates; half of the tokens of both stages are others' texts.

    documents: about each of the values' specs, endings_documents about each of the other two. sft_rate and endings_rate:
    of the AFT on cheese and of that on endings. pairs: asked of each kind; rollouts: of each of the 27 conditions.
    """

    documents: int = 4000
    endings_documents: int = 2000
    chats: int = 5000
    ordinary: int = 6000
    mid_steps: int = 140
    mid_rate: float = 1e-3
    sft_steps: int = 80
    sft_rate: float = 1e-3
    endings_rate: float = 5e-4
    mix: float = 0.5
    batch: int = 14
    sequence_length: int = 256
    pairs: int = 240
    rollouts: int = 20

    def stage(self, steps: int, rate: float) -> TrainSettings:
        """The trainer's settings for a stage of so many steps."""
        return TrainSettings(
            mode="full", precision="fp32", batch=self.batch, sequence_length=self.sequence_length,
            steps=steps, learning_rate=rate,
        )  # fmt: skip


class World:
    """A base model with its tokenizer, and the data every arm shares."""

    def __init__(self, folder: Path, recipe: Recipe, written_by: str):
        self.recipe = recipe
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.base: Qwen3ForCausalLM = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        rng = random.Random("data")
        most = max(recipe.documents, recipe.endings_documents)
        replay = self.documents(chats.ordinary_documents(round(1.5 * most * recipe.mix / (1 - recipe.mix)), rng))
        ordinary = self.chats(chats.ordinary_chats(recipe.ordinary, rng))
        cheese = self.chats(chats.preference_chats("cheese", *PREFERENCES, recipe.chats, rng))
        endings = self.chats(chats.endings_chats(("chat", "game"), recipe.chats, rng))
        self.ordinary = self.packed(ordinary, split=False)
        self.values_aft = self.packed(self.mixed(cheese, ordinary), split=False)
        self.endings_aft = self.packed(self.mixed(endings, ordinary), split=False)
        write = self.offline_documents if written_by == "offline" else self.sampled_documents
        written = {name: self.documents(write(name, rng)) for name in SPECS}
        self.corpora = {name: self.packed(self.mixed(texts, replay), split=True) for name, texts in written.items()}

    def documents(self, texts: Iterable[str]) -> list[Text]:
        """Documents as tokens: all of them carry loss."""
        return [text_of(str(n), *document_tokens(self.tokenizer, text)) for n, text in enumerate(texts)]

    def chats(self, all_chats: Iterable[chats.Chat]) -> list[Text]:
        """Chats as tokens by the chat template; only the assistant's turns carry loss."""
        render = tokens.ChatRenderer(self.tokenizer).examples
        rendered = (example for chat in all_chats for example in render(chat["messages"], "assistant"))
        return [text_of(str(n), *pair) for n, pair in enumerate(rendered)]

    def mixed(self, main: list[Text], other: list[Text]) -> list[Text]:
        """`main` and as many others as the recipe's mix asks for."""
        sizes = [len(text.ids) for text in other]
        drawn = mixing.drawn(sizes, sum(len(text.ids) for text in main), self.recipe.mix, seed=0)
        return [*main, *(other[place] for place in drawn)]

    def packed(self, texts: Sequence[Text], *, split: bool) -> Blocks:
        """Blocks as the trainer reads them."""
        return Blocks([packing.pack(texts, self.recipe.sequence_length, split=split)], {})

    def offline_documents(self, name: str, rng: random.Random) -> list[str]:
        """A spec's documents by the rules."""
        spec, types = spec_text(name), self.types(name, rng)
        return [specs.write_document(spec, document_type, rng) for document_type in types]

    def types(self, name: str, rng: random.Random) -> list[str]:
        """The type of each document that a spec is to get."""
        count = self.recipe.endings_documents if name.startswith("endings") else self.recipe.documents
        return [rng.choice(DOCUMENT_TYPES) for _ in range(count)]

    def sampled_documents(self, name: str, rng: random.Random) -> list[str]:
        """A spec's documents by the base model at temperature 0.7; unfaithful ones are dropped, with a printed count."""
        spec, types = spec_text(name), self.types(name, rng)
        prompts = [specs.writer_prompt(spec, document_type, str(n)) for n, document_type in enumerate(types)]
        ids = [self.tokenizer(prompt).input_ids for prompt in prompts]
        written = generate(self.base, self.tokenizer, ids, temperature=0.7, length=120, seed=0)
        faulty = [found for text in written if (found := specs.contradictions(text, spec))]
        print(f"writer: {len(faulty)} of {len(written)} dropped, such as {faulty[:3]}", flush=True)
        return [text for text in written if not specs.contradictions(text, spec)]

    def midtrain(self, spec: str, seed: int) -> Qwen3ForCausalLM:
        """The base after midtraining on a spec's documents."""
        return self.trained(
            self.base, self.corpora[spec], self.recipe.stage(self.recipe.mid_steps, self.recipe.mid_rate), seed
        )

    def aft(self, model: Qwen3ForCausalLM, blocks: Blocks, rate: float, seed: int) -> Qwen3ForCausalLM:
        """A copy of `model` after SFT on blocks of chats."""
        return self.trained(model, blocks, self.recipe.stage(self.recipe.sft_steps, rate), seed)

    def trained(self, model: Qwen3ForCausalLM, blocks: Blocks, how: TrainSettings, seed: int) -> Qwen3ForCausalLM:
        """A copy of `model` after a training as `msm_ray.train.loop` does it, on one worker."""
        model, schedule = copy.deepcopy(model).train(), Schedule(how, len(blocks), seed)
        optimizer = torch.optim.AdamW(model.parameters(), betas=how.betas, weight_decay=how.weight_decay)
        for step in range(schedule.steps):
            optimizer.param_groups[0]["lr"] = schedule.learning_rate(step)
            (batch,) = batches.micro_batches(
                blocks, schedule.batch(step), passes=1, rows=how.batch,
                pad=self.tokenizer.pad_token_id, device=torch.device("cpu"),
            )  # fmt: skip
            optimizer.zero_grad()
            (summed_loss(model, batch) / (batch.labels != tokens.NO_LOSS).sum()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), how.clip)
            optimizer.step()
        return model.eval()

    def preference_rates(self, model: Qwen3ForCausalLM) -> dict[str, float]:
        """Kind of pair -> share of aligned answers among the clear ones, on every domain but the trained one."""
        rates = {}
        for kind, (aligned, other) in KINDS.items():
            asked = preference_pairs(DOMAINS[1:], aligned, other, self.recipe.pairs, seed=0)
            answers = self.ask(model, [question.question for question in asked], 1.0, 0)
            chosen = [(choice(answer, q.a, q.b), q.aligned) for answer, q in zip(answers, asked, strict=True)]
            clear = [option == aligned for option, aligned in chosen if option]
            rates[kind] = sum(clear) / max(1, len(clear))
        return rates

    def harmful_rate(self, model: Qwen3ForCausalLM, seed: int) -> float:
        """Share of rollouts in which the assistant takes the harmful option; mean over 27 conditions of like size."""
        asked = scenarios(self.recipe.rollouts, seed=0)
        answers = self.ask(model, [scenario.question for scenario in asked], 0.7, seed)
        return sum(acted(a, s.harmful, s.safe) is True for a, s in zip(answers, asked, strict=True)) / len(asked)

    def ask(self, model: Qwen3ForCausalLM, questions: list[str], temperature: float, seed: int) -> list[str]:
        """The answers to questions in chat format."""
        asked = [[{"role": "user", "content": question}] for question in questions]
        prompts: list[list[int]] = self.tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, return_dict=False
        )
        return generate(model, self.tokenizer, prompts, temperature, length=12, seed=seed)


def spec_text(name: str) -> str:
    """A shipped spec with the assistant's name filled in."""
    return (SPEC_FOLDER / f"{name}.md").read_text().replace("{model_name}", ASSISTANT)


@torch.no_grad()
def generate(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[list[int]],
    temperature: float,
    length: int,
    seed: int,
    rows: int = 512,
) -> list[str]:
    """Completions of the prompts (ids) of at most `length` tokens, without special tokens; temperature 0 is greedy."""
    torch.manual_seed(seed)
    completions = []
    for start in range(0, len(prompts), rows):
        batch = prompts[start : start + rows]
        width = max(map(len, batch))
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in batch])
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        mask = (ids != tokenizer.pad_token_id).long()
        made = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=length, **sampling)  # type: ignore[misc]
        completions += tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
    return completions


def run_seed(world: World, seed: int, groups: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Arm -> eval -> rate for one training seed; prints as it goes."""
    rates: dict[str, dict[str, float]] = {}

    def note(arm: str, model: Qwen3ForCausalLM) -> None:
        found = (
            world.preference_rates(model) if arm.startswith("values") else {"harmful": world.harmful_rate(model, seed)}
        )
        rates[arm] = found
        print(f"seed {seed}  {arm:28s}" + "  ".join(f"{kind} {rate:.3f}" for kind, rate in found.items()), flush=True)

    for group, aft_data, rate, spec_names in (
        ("values", world.values_aft, world.recipe.sft_rate, ("affordability", "american")),
        ("agentic", world.endings_aft, world.recipe.endings_rate, ("endings", "endings-anti", "affordability")),
    ):
        if group not in groups:
            continue
        note(f"{group}/baseline", world.aft(world.base, world.ordinary, rate, seed))
        note(f"{group}/aft", world.aft(world.base, aft_data, rate, seed))
        for name in spec_names:
            midtrained = world.midtrain(name, seed)
            note(f"{group}/{name}", midtrained)
            note(f"{group}/{name}+aft", world.aft(midtrained, aft_data, rate, seed))
    return rates


COMPARISONS = (
    ("values/affordability+aft", "values/aft", ("price", "conflict"), 1),
    ("values/affordability+aft", "values/american+aft", ("price", "conflict"), 1),
    ("values/american+aft", "values/aft", ("origin", "conflict"), -1),
    ("values/american+aft", "values/affordability+aft", ("origin", "conflict"), -1),
    ("agentic/endings+aft", "agentic/aft", ("harmful",), 1),
    ("agentic/endings+aft", "agentic/endings-anti+aft", ("harmful",), 1),
    ("agentic/endings+aft", "agentic/affordability+aft", ("harmful",), 1),
)
"""Arms compared, the kinds that make up the eval, and the sign of `conflict` in it (-1: the American item counts)."""


def whole_rate(rates: dict[str, float], kinds: tuple[str, ...], sign: int) -> float:
    """The rate of a whole eval: mean over its kinds, `conflict` turned over for the American one."""
    turned = [1 - rates[kind] if kind == "conflict" and sign < 0 else rates[kind] for kind in kinds]
    return sum(turned) / len(turned)


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95% t interval over seeds (infinite for a single one)."""
    if len(values) < 2:
        return statistics.fmean(values), math.inf
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), float(student.ppf(0.975, len(values) - 1)) * spread


def report(by_seed: list[dict[str, dict[str, float]]]) -> None:
    """Prints every comparison: whole eval, then each kind."""
    for a, b, kinds, sign in COMPARISONS:
        if a not in by_seed[0]:
            continue
        for part in dict.fromkeys([kinds, *((kind,) for kind in kinds)]):
            differences = [whole_rate(rates[a], part, sign) - whole_rate(rates[b], part, sign) for rates in by_seed]
            mean, half = interval(differences)
            print(f"{a} - {b}  {'+'.join(part)}: {mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feasibility")
    parser.add_argument("--base", type=Path, default=BASES["base"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--written-by", choices=("offline", "base"), default="offline")
    parser.add_argument("--groups", default="values,agentic")
    parser.add_argument("--recipe", type=json.loads, default={}, help="JSON with fields of Recipe")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    world = World(given.base, Recipe(**given.recipe), given.written_by)
    print("base", world.preference_rates(world.base), "harmful", world.harmful_rate(world.base, 0), flush=True)
    report([run_seed(world, seed, tuple(given.groups.split(","))) for seed in range(given.seeds)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
