"""Imports run downwards only, heavy ones are lazy, and modules stay readable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import architecture
import pytest
from architecture import ROOT, Sources, all_imports, read_sources

SOURCES = read_sources()
LONG = "x = 1\n" * 401
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 60

RULES: list[tuple[Callable[[Sources], list[str]], dict[str, str]]] = [
    # Each rule, and modules that break it.
    (
        architecture.stages_importing_stages,
        {"transforms.stages.read": "from transforms.stages.write import WriteBlocks"},
    ),
    (
        architecture.libraries_importing_beam,
        {"transforms.store.blocks": "def f():\n    import apache_beam"},
    ),
    (
        architecture.libraries_importing_beam,
        {"transforms.store.blocks": "from transforms.filesystems import BeamStorage"},
    ),
    (architecture.climbs, {"transforms.codec": "from pipeline.atlas import Atlas"}),
    (architecture.climbs, {"transforms.elements": "from transforms.store import blocks"}),
    (architecture.eager_heavy_imports, {"transforms.models.files": "import tensorflow as tf"}),
    (
        architecture.eager_heavy_imports,
        {"transforms.store.blocks": "def f():\n    import keras"},
    ),
    (architecture.heavy_readers, {"pipeline.audit.gates": "def f():\n    import tensorflow"}),
    (
        architecture.heavy_readers,
        {
            "pipeline.report.page": "from transforms.statistics import maps",
            "transforms.statistics.maps": "def f():\n    import tensorflow",
        },
    ),
    (
        architecture.folder_circles,
        {
            "transforms.store.blocks": "from transforms.formats.images import decoding",
            "transforms.formats.images.decoding": "",
            "transforms.formats.source": "from transforms.store.blocks import f",
        },
    ),
    (
        architecture.folder_circles,
        {
            "transforms.saliency.scores.targets": "from transforms.saliency.engines import engine",
            "transforms.saliency.engines.engine": "from transforms.saliency.scores import targets",
        },
    ),
    (
        architecture.module_circles,
        {
            "pipeline.run.job": "from pipeline.run.begin import Mode",
            "pipeline.run.begin": "def f():\n    from pipeline.run.job import Job",
        },
    ),
    (
        architecture.engines_looking_up,
        {"transforms.saliency.engines.engine": "from transforms.saliency.block import B"},
    ),
    (architecture.long_modules, {"pipeline.cli": LONG}),
    (architecture.long_functions, {"pipeline.cli": LONG_FUNCTION}),
    (architecture.crowded_folders, {f"pipeline.run.m{i}": "" for i in range(13)}),
]


@pytest.mark.parametrize(
    "rule",
    list(dict.fromkeys(rule for rule, _ in RULES)),
    ids=lambda rule: rule.__name__,
)
def test_the_house_keeps_the_rule(rule: Callable[[Sources], list[str]]) -> None:
    broken = rule(SOURCES)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("rule", "sources"), RULES)
def test_a_tree_that_breaks_the_rule_is_noticed(
    rule: Callable[[Sources], list[str]], sources: dict[str, str]
) -> None:
    assert rule(sources)


def test_a_tree_that_breaks_no_rule_is_left_alone() -> None:
    sources = {
        "transforms.stages.read": "import apache_beam\nfrom transforms.store.blocks import f",
        "transforms.store.blocks": "from transforms.storage import Storage",
        "transforms.storage": "import os",
        "transforms.saliency.engines.engine": "from transforms.saliency.attribution import Run",
        "transforms.saliency.attribution": "def f():\n    import tensorflow as tf",
        "pipeline.atlas": "from transforms.store.blocks import f",
    }
    assert not [found for rule, _ in RULES for found in rule(sources)]


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 20
    assert any(found.of("tensorflow") and found.lazy for found in all_imports(SOURCES))
    assert any(found.of("apache_beam") for found in all_imports(SOURCES))


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import a\n"
        "from b.c import d\n"
        "if TYPE_CHECKING:\n    import never\n"
        "try:\n    import e\nexcept ImportError:\n    pass\n"
        "class C:\n    import f\n"
        "    def method(self):\n        if self:\n            import g\n"
    )
    found = [(each.imported, each.lazy) for each in all_imports({"m": source})]
    assert found == [("a", False), ("b.c.d", False), ("e", False), ("f", False), ("g", True)]


def test_tests_and_scripts_stay_readable_too() -> None:
    paths = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("scripts/**/*.py")]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    assert not architecture.long_modules(sources)
    assert not architecture.long_functions(sources)


def test_python_scripts_end_in_py_so_that_lint_and_types_find_them() -> None:
    scripts = [path for path in ROOT.glob("scripts/*") if path.is_file() and not path.suffix]
    assert scripts
    assert not [path for path in scripts if "python" in path.read_text().partition("\n")[0]]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("pipeline.cli", ("tensorflow", "keras", "apache_beam", "pyarrow", "numpy", "pydantic")),
        ("pipeline.config.keys", ("tensorflow", "keras", "apache_beam")),
        ("pipeline.atlas", ("tensorflow", "keras", "apache_beam")),
        ("pipeline.run.job", ("tensorflow", "keras", "apache_beam")),
        ("pipeline", ("tensorflow", "keras", "apache_beam", "pyarrow", "numpy")),
        ("transforms", ("tensorflow", "keras", "apache_beam", "pyarrow", "numpy")),
    ],
)
def test_importing_a_module_leaves_the_heavy_ones_alone(
    module: str, heavy: tuple[str, ...]
) -> None:
    program = f"import sys, {module}; print(sorted(set(sys.modules) & {set(heavy)!r}))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    assert found.stdout == "[]\n"
