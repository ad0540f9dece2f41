"""What one can keep in one's head: files of at most 300 lines, functions of at most 60."""

import ast
from collections.abc import Iterator
from pathlib import Path

MOST_OF_A_FILE, MOST_OF_A_FUNCTION = 300, 60


def too_long(root: Path) -> Iterator[tuple[str, str]]:
    """File and what is too long there."""
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        if (lines := len(text.splitlines())) > MOST_OF_A_FILE:
            yield name, f"{lines} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_OF_A_FUNCTION:
                    yield name, f"{node.name} has {length} lines"


def test_files_and_functions_are_short() -> None:
    assert list(too_long(Path("msm_ray"))) == []
