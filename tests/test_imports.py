"""Who imports whom, and where: `lint-imports` (pyproject.toml) holds what stands above what, this what it has no contract for."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

HEAVY = frozenset(
    ["ray", "torch", "vllm", "deepspeed", "transformers", "peft", "trl", "datasets", "inspect_ai", "wandb"]
    + ["wandb_workspaces", "openai", "scipy", "matplotlib", "huggingface_hub"]
)
"""Seconds each: imported where they are used, so that `msm plan` takes its second and a half (tests/test_preflight.py)."""

INSIDE = {
    ("msm_ray/*", "tokenizers"): "comes with the extras only; `msm plan` and `msm report` run without them",
    ("msm_ray/*", "safetensors"): "the same",
    ("msm_ray/*", "msm_ray.ray_private"): "what is taken from it brings vLLM along (`ray_private.HEAVY`)",
    ("msm_ray/commands/*", "msm_ray.*"): "`msm --help` and a mistyped command take 0.3 s of CPU, with all of them 1",
    (
        "msm_ray/storage/places.py",
        "msm_ray.storage.bucket",
    ): "brings fsspec along, which a root that is a folder does not need",
    ("msm_ray/__init__.py", "msm_ray.look.results"): "importing any file of the package imports this one first",
}
"""Imports inside functions that stay there, (file, module) -> why."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def file_of(module: str) -> Path | None:
    """The file of a module of ours."""
    folder = Path(*module.split("."))
    return next((f for f in (folder.with_suffix(".py"), folder / "__init__.py") if f.exists()), None)


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules; of `from package import name` the name's own, where it is one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    names = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name.startswith("msm_ray.") and file_of(name) else str(node.module) for name in names]


def at_head(tree: ast.Module) -> Iterator[str]:
    return (name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imported(node))


def inside(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports in functions, with their lines."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield from ((node.lineno, name) for name in imported(node))


@cache
def is_heavy(module: str) -> bool:
    """Whether it is a heavy library, or a file of ours that can't be imported without one."""
    seen, left = set(), [module]
    while left:
        name = left.pop()
        if name.partition(".")[0] in HEAVY:
            return True
        if name in seen or not name.startswith("msm_ray"):
            continue
        seen.add(name)
        if "." in name:
            left.append(name.rpartition(".")[0])  # a package's own file comes first
        if file := file_of(name):
            left.extend(at_head(parsed(file)))
    return False


def test_imports_stand_at_the_head_of_a_file_but_for_heavy_libraries() -> None:
    used, wrong = set(), []
    for path in sorted(Path("msm_ray").rglob("*.py")):
        for line, name in inside(parsed(path)):
            allowed = [each for each in INSIDE if fnmatch(str(path), each[0]) and fnmatch(name, each[1])]
            used.update(allowed)
            if not allowed and not is_heavy(name):
                wrong.append(f"{path}:{line}: {name}")
    assert not wrong, "\n".join(wrong)
    assert used == set(INSIDE), f"exceptions that nothing needs: {set(INSIDE) - used}"


def test_what_plans_and_shows_imports_nothing_heavy() -> None:
    """The commands and all that they import at their heads."""
    heads = {str(path): path for path in Path("msm_ray/commands").glob("*.py")}
    asked = {name for path in heads.values() for _, name in inside(parsed(path)) if name.startswith("msm_ray")}
    assert {"msm_ray.runner", "msm_ray.preflight"} <= asked
    assert not [name for name in sorted(asked) if is_heavy(name)]


def test_no_file_is_imported_by_what_it_imports() -> None:
    """A room's own `__init__.py` counts as a file, imports inside functions count, those for types alone do not."""
    graph = grimp.build_graph("msm_ray", exclude_type_checking_imports=True, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) - {name} for name in graph.modules}
    TopologicalSorter(imported).prepare()  # raises CycleError, which names a circle
