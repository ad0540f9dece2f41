"""Our LoRA operators against vLLM's own, and that vLLM takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from msm_ray.serve import lora_on_cpu

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.real  # vLLM alone takes eight seconds to import

TOKENS, WIDTH, RANK, ADAPTERS = 30, 24, 8, 3


@pytest.fixture(autouse=True)
def theirs() -> Iterator[dict[str, Callable[..., None]]]:
    """vLLM's own operators, while ours stand in their place."""
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    own = {name: getattr(lora_ops, name) for name in lora_on_cpu.NAMES}
    lora_on_cpu.register()
    yield own
    for name, operator in own.items():
        setattr(lora_ops, name, operator)
        setattr(punica_cpu, name, operator)
    lora_on_cpu._original.clear()


def tensor(*shape: int, seed: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("indices", [[2] * TOKENS, [i % ADAPTERS for i in range(TOKENS)]], ids=["one", "several"])
@pytest.mark.parametrize("add", [True, False])
def test_the_same_numbers_as_vllms_operators(
    theirs: dict[str, Callable[..., None]], indices: list[int], add: bool
) -> None:
    import torch

    of = torch.tensor(indices)
    inputs, a, b = tensor(TOKENS, WIDTH, seed=0), tensor(3, 1, RANK, WIDTH, seed=1), tensor(3, 1, WIDTH, RANK, seed=2)
    results = []
    for shrink, expand, part in (
        (theirs["bgmv_shrink"], theirs["bgmv_expand"], theirs["bgmv_expand_slice"]),
        (lora_on_cpu.bgmv_shrink, lora_on_cpu.bgmv_expand, lora_on_cpu.bgmv_expand_slice),
    ):
        small, wide, sliced = torch.zeros(TOKENS, RANK), tensor(TOKENS, WIDTH + 4, seed=3), tensor(TOKENS, 60, seed=4)
        shrink(inputs, a, small, of, 0.5)
        expand(small, b, wide, of, add)
        part(small, b, sliced, of, 20, WIDTH, add)
        results.append((small, wide, sliced))
    for wanted, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_a_token_without_an_adapter_is_left_alone_beside_one_that_has_it() -> None:
    import torch

    of = torch.tensor([-1, 2, -1])
    small, wide = torch.ones(3, RANK), torch.ones(3, WIDTH)
    lora_on_cpu.bgmv_shrink(tensor(3, WIDTH, seed=0), tensor(3, RANK, WIDTH, seed=1), small, of)
    lora_on_cpu.bgmv_expand(tensor(3, RANK, seed=3), tensor(3, WIDTH, RANK, seed=2), wide, of)
    assert (small[[0, 2]] == 0).all()
    assert (wide[[0, 2]] == 1).all()
    assert (small[1] != 0).all()
    assert (wide[1] != 1).all()


def test_vllm_finds_the_plugin_and_its_lora_uses_the_operators() -> None:
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu
    from vllm.plugins import DEFAULT_PLUGINS_GROUP, load_plugins_by_group

    assert lora_on_cpu.register in load_plugins_by_group(DEFAULT_PLUGINS_GROUP).values()
    assert punica_cpu.bgmv_shrink is lora_on_cpu.bgmv_shrink
    assert lora_ops.bgmv_expand_slice is lora_on_cpu.bgmv_expand_slice
