"""The package keeps the order that docs/architecture.md tells: imports run one way, and starting up is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cadenza_remix"
LAYERS = [
    {"errors", "units", "atomic", "compiled", "yaml_files"},
    {"audio"},
    {"hearing"},
    {"separation"},
    {"remix"},
    {"metrics"},
    {"challenge"},
    {"runs"},
    {"slurm"},
    {"report"},
    {"training"},
    {"listen"},
    {"console", "demo"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported_parts(path: Path) -> set[str]:
    """Return the parts of the package (second name of the dotted path) that a module imports, lazily or not."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        parts |= {name.split(".")[1] for name in names if name.startswith("cadenza_remix.")}
    return parts


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in {"__init__", "resources"}:
        return
    assert part in LEVEL, f"{part} has no place among the layers"
    upwards = {name for name in imported_parts(path) if LEVEL[name] > LEVEL[part]}
    assert not upwards, f"{part} imports from above: {upwards}"


def test_package_never_names_recipes_or_evaluation():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in {"recipes", "evaluation"}


@pytest.mark.parametrize("module", ["cadenza_remix", "cadenza_remix.cli"])
def test_importing_loads_nothing_heavy(module):
    heavy = ("tensorflow", "keras", "numba", "pandas", "scipy", "matplotlib", "fastapi", "pyloudnorm")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_public_names_are_all_there():
    import cadenza_remix

    for name in cadenza_remix.__all__:
        assert getattr(cadenza_remix, name) is not None
    with pytest.raises(AttributeError):
        cadenza_remix.no_such_name  # noqa: B018
