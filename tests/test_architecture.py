"""Imports run downwards only, heavy ones are lazy, and modules stay readable."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400

STAGES = frozenset(
    f"transforms.{name}"
    for name in ("read", "explain", "write", "aggregate", "publish", "inference")
)
BEAM_MODULES = STAGES | {"transforms.filesystems"}  # which adapts Beam's file systems to Storage
# Arithmetic in TensorFlow is in libraries; the command line starts it, to keep it quiet.
TENSORFLOW_MODULES = (
    "transforms.model",
    "transforms.saliency.",
    "transforms.formats.",
    "transforms.statistics.maps",
    "pipeline.quiet",
)
READERS_OF_ATLASES = ("pipeline.report.", "pipeline.audit.")


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
        return any(
            self.imported == package or self.imported.startswith(f"{package}.")
            for package in packages
        )


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _sources() -> dict[str, str]:
    paths = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("transforms/**/*.py")]
    return {_module_name(path): path.read_text() for path in paths}


def _imports(module: str, source: str) -> Iterator[Import]:
    yield from _walk(module, ast.parse(source), lazy=False)


def _walk(module: str, node: ast.AST, lazy: bool) -> Iterator[Import]:
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


SOURCES = _sources()
IMPORTS = [found for module, source in SOURCES.items() for found in _imports(module, source)]


def _within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(prefix) for prefix in prefixes)


def _listed(wrong: list[Import]) -> str:
    return "\n".join(map(str, wrong))


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 20
    assert set(SOURCES) >= STAGES
    assert any(found.of("tensorflow") and found.lazy for found in IMPORTS)
    assert any(found.of("apache_beam") for found in IMPORTS)


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import a\n"
        "from b.c import d\n"
        "if TYPE_CHECKING:\n    import never\n"
        "try:\n    import e\nexcept ImportError:\n    pass\n"
        "class C:\n    import f\n"
        "    def method(self):\n        if self:\n            import g\n"
    )
    found = [(each.imported, each.lazy) for each in _imports("m", source)]
    assert found == [("a", False), ("b.c.d", False), ("e", False), ("f", False), ("g", True)]


def test_stages_never_import_each_other() -> None:
    wrong = [found for found in IMPORTS if found.importer in STAGES and found.of(*STAGES)]
    assert not wrong, _listed(wrong)


def test_libraries_import_neither_beam_nor_stages() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.importer.startswith("transforms.")
        and found.importer not in BEAM_MODULES
        and found.of("apache_beam", *BEAM_MODULES)
    ]
    assert not wrong, _listed(wrong)


def test_transforms_never_import_pipeline() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.importer.startswith("transforms") and found.of("pipeline")
    ]
    assert not wrong, _listed(wrong)


def test_nouns_import_nothing_of_the_project_but_nouns() -> None:
    nouns = ("transforms.elements", "transforms.errors", "transforms.storage")
    wrong = [
        found
        for found in IMPORTS
        if found.importer in nouns and found.of("transforms", "pipeline") and not found.of(*nouns)
    ]
    assert not wrong, _listed(wrong)


def test_tensorflow_and_keras_are_imported_lazily() -> None:
    wrong = [found for found in IMPORTS if found.of("tensorflow", "keras") and not found.lazy]
    assert not wrong, _listed(wrong)


def test_tensorflow_and_keras_are_imported_where_the_arithmetic_is() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.of("tensorflow", "keras") and not found.importer.startswith(TENSORFLOW_MODULES)
    ]
    assert not wrong, _listed(wrong)


def test_what_judges_and_draws_atlases_reads_them_through_atlas_only() -> None:
    allowed = ("pipeline.atlas", "pipeline.report", "pipeline.audit")
    wrong = [
        found
        for found in IMPORTS
        if _within(found.importer, READERS_OF_ATLASES)
        and found.of("pipeline", "transforms")
        and not found.of(*allowed, "transforms.errors")
    ]
    assert not wrong, _listed(wrong)


def test_no_module_is_too_long() -> None:
    paths = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("transforms/**/*.py")]
    paths += [*ROOT.glob("tests/**/*.py"), *filter(Path.is_file, ROOT.glob("scripts/*"))]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in paths}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_python_scripts_end_in_py_so_that_lint_and_types_find_them() -> None:
    scripts = [path for path in ROOT.glob("scripts/*") if path.is_file() and not path.suffix]
    assert scripts
    assert not [path for path in scripts if "python" in path.read_text().partition("\n")[0]]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("pipeline.cli", ("tensorflow", "keras", "apache_beam", "pyarrow", "numpy", "pydantic")),
        ("pipeline.config", ("tensorflow", "keras", "apache_beam")),
        ("pipeline.atlas", ("tensorflow", "keras", "apache_beam")),
        ("pipeline.job", ("tensorflow", "keras", "apache_beam")),
    ],
)
def test_importing_a_module_leaves_the_heavy_ones_alone(
    module: str, heavy: tuple[str, ...]
) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {set(heavy)!r}))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    assert found.stdout == "[]\n"
