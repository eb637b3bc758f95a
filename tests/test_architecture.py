"""Who may import whom, as docs/design.md and the folder names promise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "opml"
MAY_IMPORT = {
    "ops": set(),
    "vm": {"ops"},
    "models": {"ops", "vm"},
    "dispute": {"ops", "vm"},
    "chain": {"ops", "vm", "dispute"},
    "cli": {"ops", "vm", "models", "dispute", "chain"},
}


def imported(path: Path) -> set[str]:
    """The opml packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "opml"}
    return {name.split(".")[1] for name in names if name.startswith("opml.")}


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_one_way_in_each_package(package: str) -> None:
    allowed = MAY_IMPORT[package] | {
        package,
        "errors",
        "file_output",
        "json_input",
        "npz_input",
        "__version__",
    }
    for path in sorted((ROOT / package).rglob("*.py")):
        assert imported(path) <= allowed, f"{path.relative_to(ROOT)} imports {imported(path) - allowed}"
