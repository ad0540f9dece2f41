"""Who imports whom: `lint-imports` (pyproject.toml) holds what stands above what; here is what it has no contract for."""

from graphlib import TopologicalSorter

import grimp


def test_no_file_is_imported_by_what_it_imports() -> None:
    """A room's own `__init__.py` counts as a file, imports inside functions count, those for types alone do not."""
    graph = grimp.build_graph("msm_ray", exclude_type_checking_imports=True, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) - {name} for name in graph.modules}
    TopologicalSorter(imported).prepare()  # raises CycleError, which names a circle
