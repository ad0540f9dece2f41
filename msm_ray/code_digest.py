"""What a piece of code does, as a digest: part of the identity of what it makes, so that nobody has to count versions up."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@lru_cache
def code_digest(*files: str) -> str:
    """Digest of modules (paths below the package) without their comments, docstrings and layout; other files byte for byte.

    `module.py:Name` is one class or function of a module."""
    total = hashlib.sha256()
    for file in files:
        path, _, name = file.partition(":")
        content = (PACKAGE / path).read_bytes()
        total.update(_without_docstrings(content, name).encode() if path.endswith(".py") else content)
    return total.hexdigest()[:16]


@lru_cache
def package_digest() -> str:
    """Digest of all of the package's code: for what is kept from one run to the next and made anew at no great cost."""
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def _without_docstrings(source: bytes, name: str) -> str:
    tree: ast.AST = ast.parse(source)
    if name:
        tree = next(
            one for one in ast.walk(tree) if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == name
        )
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
