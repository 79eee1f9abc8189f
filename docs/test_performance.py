# SPDX-License-Identifier: BSD-3-Clause
"""The pages about performance say what was measured, and all links within the repository lead somewhere.

Sphinx checks links inside docs/ only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import report  # type: ignore[import-not-found]  # noqa: E402

HOMEPAGE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", report.PAGES, ids=name_of)
def test_tables_are_those_of_the_results(page):
    assert report.filled(page.read_text(), report.kept(page)) == page.read_text(), (
        "run python benchmarks/report.py"
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)", page.read_text(), flags=re.M)
    lost = [link for link in map("".join, links) if not leads_somewhere(link, page)]
    assert not lost


def leads_somewhere(link: str, page: Path) -> bool:
    if not link.startswith(("http:", "https:", "mailto:")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
    elif found := re.match(re.escape(HOMEPAGE) + r"/(?:blob|tree|raw)/main/([^#]*)#?(.*)", link):
        target, anchor = ROOT / found[1], found[2]
    else:
        return True
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


@cache
def anchors(page: Path) -> set[str]:
    """The headings as the hosts of repositories and MyST link to them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
