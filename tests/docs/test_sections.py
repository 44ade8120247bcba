"""Sections of pages that benchmarks write."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"<!-- begin ([\w-]+) -->(.*?)<!-- end \1 -->", re.DOTALL)
PAGES = [
    page for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if SECTION.search(page.read_text("utf-8"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_section_is_empty(page):
    text = page.read_text("utf-8")
    sections = SECTION.findall(text)
    assert len(sections) == text.count("<!-- begin") == text.count("<!-- end")
    assert [name for name, content in sections if not content.strip()] == []
