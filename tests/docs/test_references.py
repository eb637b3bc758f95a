"""What the documentation and the code's citations point at is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.docs.page import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CODE = [
    path
    for folder, kinds in (
        ("opml", ("*.py", "*.hpp", "*.cpp")),
        ("contracts", ("*.sol",)),
        ("tests", ("*.py",)),
    )
    for kind in kinds
    for path in sorted((ROOT / folder).rglob(kind))
    if "node_modules" not in path.parts
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:opml|tests|scripts|benchmarks|contracts|docs)/[\w./-]+\.\w+)`")
NAME = re.compile(r"`(opml(?:\.\w+)+)`")
CITED = re.compile(r"\bdocs/(?!gguf\.md)(\w+)\.md(?:#([\w.-]+))?")  # docs/gguf.md is of ggml


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings as forges make them, and the numbers that headings begin with."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        text = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(re.sub(r"\s", "-", text))
        if number := re.match(r"([\d.]+)\s", heading):
            found.add(number[1].rstrip("."))
    return found


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(value, part) and part not in getattr(value, "__dataclass_fields__", {}):
                return False
            value = getattr(value, part, None)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [file for file in FILE.findall(text) if not (ROOT / file).exists()] == []
    assert [name for name in NAME.findall(text) if not resolves(name)] == []


def test_citations_of_the_documentation_in_code_lead_somewhere() -> None:
    lost = []
    for path in CODE:
        for page, anchor in CITED.findall(path.read_text(encoding="utf-8")):
            target = ROOT / "docs" / f"{page}.md"
            if not target.exists() or (anchor and anchor.rstrip(".") not in anchors(target)):
                lost.append(f"{path.relative_to(ROOT)}: docs/{page}.md#{anchor}")
    assert lost == []
