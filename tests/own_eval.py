"""An eval of a user's own: a file with an Inspect task, named in an experiment file and known to nothing in the package."""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Target, accuracy, scorer
from inspect_ai.solver import TaskState, generate, system_message


@task
def patience(topics: int = 6) -> Task:
    """Does it wait? Each topic is a cluster of two questions; the score is the share of words that mean waiting."""
    samples = [
        Sample(
            input=f"what about {topic} {number} ?",
            target="wait",
            metadata={"condition": "now" if number else "later", "cluster": f"topic {topic}"},
        )
        for topic in range(topics)
        for number in (0, 1)
    ]
    return Task(dataset=MemoryDataset(samples), solver=[system_message("Be brief."), generate()], scorer=waits())


@scorer(metrics=[accuracy()])
def waits():  # noqa: ANN201
    """1 where the answer says the word and nothing else, half where it says it among others."""

    async def score(state: TaskState, target: Target) -> Score:
        words = state.output.completion.split()
        share = (1.0 if len(words) == 1 else 0.5) if target.text in words else 0.0
        return Score(value=share, explanation=f"{len(words)} words")

    return score
