"""The rules of the house, each a function from the sources to the places that break it.

Sources are texts by module name, so that a test can hand in a tree that breaks a rule.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "transforms")

MAX_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MODULES_IN_A_FOLDER = 12

STAGES = "transforms.stages"
# The second adapts Beam's file systems to Storage.
BEAM_MODULES = (STAGES, "transforms.filesystems", "transforms.block_coder")
# Arithmetic in TensorFlow is in libraries; the command line starts it, to keep it quiet.
TENSORFLOW_MODULES = (
    "transforms.models",
    "transforms.saliency",
    "transforms.formats",
    "transforms.statistics.maps",
    "pipeline.commands.native_stderr",
)
# They run on a laptop, at night, without the model.
READERS_OF_ATLASES = ("pipeline.atlas", "pipeline.audit", "pipeline.report")
HEAVY = ("tensorflow", "keras", "apache_beam")
NOUNS = (
    "transforms.digests",
    "transforms.elements",
    "transforms.extents",
    "transforms.errors",
    "transforms.storage",
    "transforms.disk",
    "transforms.listing",
    "transforms.codec",
)

Sources = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    importer: str
    imported: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"

    def of(self, *packages: str) -> bool:
        """Whether what is imported is one of these, or in one of them."""
        return within(self.imported, packages)

    def by(self, *packages: str) -> bool:
        """Whether who imports is one of these, or in one of them."""
        return within(self.importer, packages)


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages, or in one of them."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def read_sources(root: Path = ROOT) -> dict[str, str]:
    """The packages' modules; a package itself ends in `.__init__`."""
    paths = [path for package in PACKAGES for path in sorted(root.glob(f"{package}/**/*.py"))]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path.read_text() for path in paths
    }


def all_imports(sources: Sources) -> list[Import]:
    """Every import of every module, wherever it stands, but those that only type checkers see."""
    return [
        found for module, source in sources.items() for found in _walk(module, ast.parse(source))
    ]


def _walk(module: str, node: ast.AST, lazy: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # Never executed.
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, alias.name, child.lineno, lazy)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}:{child.lineno}: imports are absolute here"
            for alias in child.names:  # `from a import b` may import the module a.b
                yield Import(module, f"{child.module}.{alias.name}", child.lineno, lazy)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(module, child, lazy or function)


def stages_importing_stages(sources: Sources) -> list[str]:
    """Stages meet in the graph only."""
    return [
        str(found)
        for found in all_imports(sources)
        if found.by(STAGES)
        and found.of(STAGES)
        and _target(found, sources) not in (found.importer, f"{STAGES}.__init__")
        and found.importer != f"{STAGES}.__init__"
    ]


def libraries_importing_beam(sources: Sources) -> list[str]:
    """Libraries know neither Beam nor stages; a package's `__init__` may name what it exports."""
    return [
        str(found)
        for found in all_imports(sources)
        if found.by("transforms")
        and not found.by(*BEAM_MODULES)
        and found.of("apache_beam", *BEAM_MODULES)
    ]


def climbs(sources: Sources) -> list[str]:
    """Imports run downwards: transforms know nothing of pipeline, nouns of nothing but nouns."""
    return [
        str(found)
        for found in all_imports(sources)
        if (found.by("transforms") and found.of("pipeline"))
        or (found.by(*NOUNS) and found.of(*PACKAGES) and not found.of(*NOUNS))
    ]


def eager_heavy_imports(sources: Sources) -> list[str]:
    """TensorFlow is imported where the arithmetic is, and there when it is needed."""
    return [
        str(found)
        for found in all_imports(sources)
        if found.of("tensorflow", "keras") and not (found.lazy and found.by(*TENSORFLOW_MODULES))
    ]


def heavy_readers(sources: Sources) -> list[str]:
    """Who reads atlases imports neither TensorFlow nor Beam, at any depth."""
    reached = _reached(sources, READERS_OF_ATLASES)
    return [
        f"{found} ({' <- '.join(reached[found.importer])})"
        for found in all_imports(sources)
        if found.importer in reached and found.of(*HEAVY)
    ]


def _reached(sources: Sources, start: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Modules that some modules import, at any depth, each with the chain that leads to it."""
    imports: dict[str, list[str]] = {}
    for found in all_imports(sources):
        target = _target(found, sources)
        if target is not None:
            imports.setdefault(found.importer, []).append(target)
    reached: dict[str, tuple[str, ...]] = {
        module: (module,) for module in sources if within(module, start)
    }
    waiting = list(reached)
    while waiting:
        module = waiting.pop()
        for target in imports.get(module, []):
            if target not in reached:
                reached[target] = (target, *reached[module])
                waiting.append(target)
    return reached


def _target(found: Import, sources: Sources) -> str | None:
    """The module of ours that an import executes; None for those of others."""
    parent = found.imported.rpartition(".")[0]
    names = (found.imported, f"{found.imported}.__init__", parent, f"{parent}.__init__")
    return next((name for name in names if name in sources), None)


def module_circles(sources: Sources) -> list[str]:
    """Modules that import each other, directly or by others."""
    edges: dict[str, set[str]] = {}
    for found in all_imports(sources):
        target = _target(found, sources)
        # A package's `__init__` may name what is in it.
        if target not in (None, found.importer) and not found.importer.endswith(".__init__"):
            edges.setdefault(found.importer, set()).add(str(target))
    return _circles(edges)


def folder_circles(sources: Sources) -> list[str]:
    """Folders that import each other; a folder and the folders in it count as one room.

    An import leads from a room to another: the outermost folders in which the two modules differ.
    """
    edges: dict[str, set[str]] = {}
    for found in all_imports(sources):
        target = _target(found, sources)
        if target is None:
            continue
        here, there = (module.split(".")[:-1] for module in (found.importer, target))
        depth = next(
            (i for i, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None
        )
        if depth is not None:
            room, other = ".".join(here[: depth + 1]), ".".join(there[: depth + 1])
            edges.setdefault(room, set()).add(other)
    return _circles(edges)


def _circles(edges: Mapping[str, set[str]]) -> list[str]:
    """Every edge that lies on a circle, as the shortest circle through it."""
    found: dict[frozenset[str], str] = {}
    for start in sorted(edges):
        paths: dict[str, tuple[str, ...]] = {start: (start,)}
        waiting = [start]
        while waiting:
            node = waiting.pop(0)
            for other in sorted(edges.get(node, ())):
                if other == start:
                    circle = paths[node]
                    found.setdefault(frozenset(circle), " -> ".join((*circle, start)))
                elif other not in paths:
                    paths[other] = (*paths[node], other)
                    waiting.append(other)
    return sorted(found.values())


def long_modules(sources: Sources) -> list[str]:
    """Modules of more than 400 lines."""
    lengths = {module: len(source.splitlines()) for module, source in sources.items()}
    return [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > MAX_LINES]


def long_functions(sources: Sources) -> list[str]:
    """Functions of more than 60 lines, docstring included."""
    return [
        f"{module}:{node.lineno} {node.name} has {lines} lines"
        for module, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def crowded_folders(sources: Sources) -> list[str]:
    """Folders with more than twelve modules side by side."""
    counts: dict[str, int] = {}
    for module in sources:
        folder, _, name = module.rpartition(".")
        counts[folder] = counts.get(folder, 0) + (name != "__init__")
    return [
        f"{folder} has {count} modules"
        for folder, count in counts.items()
        if count > MAX_MODULES_IN_A_FOLDER
    ]


def engines_looking_up(sources: Sources) -> list[str]:
    """Engines know the contract of explanations, and nothing else of the room above them."""
    room, engines = "transforms.saliency", "transforms.saliency.engines"
    return [
        str(found)
        for found in all_imports(sources)
        if found.by(engines) and found.of(room) and not found.of(engines, f"{room}.attribution")
    ]
