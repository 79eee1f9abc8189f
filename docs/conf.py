# SPDX-License-Identifier: BSD-3-Clause
"""The documentation site: `nox -s docs` builds it in build/site, without a network."""

import os
import re
import tomllib
from pathlib import Path

import fastcka  # noqa: F401  what is documented is the installed package

root = Path(__file__).parent.parent
metadata = tomllib.loads((root / "pyproject.toml").read_text())["project"]
repository = metadata["urls"]["Homepage"] + "/blob/main/"

project = "fastcka"
author = "fastcka developers"
copyright = author
release = metadata["version"]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["test_*.py"]
html_theme = "furo"
html_title = f"fastcka {release}"
html_theme_options = {
    "source_repository": metadata["urls"]["Homepage"],
    "source_branch": "main",
    "source_directory": "docs/",
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the docstrings, in words
# Of the classes that these extend, members stand on their own page or belong to Python.
autodoc_default_options = {
    "members": True,
    "inherited-members": "CKAMatrix, Kernel, Mapping, UserWarning, tuple",
}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# References to our own names must be found. Those to other packages become links where their inventories can
# be read, which takes a network: the hosted build has one and says so.
nitpicky = True
suppress_warnings = ["ref.python"]  # types of parameters are words: "path" is no attribute
nitpick_ignore_regex = [("py:.*", r"(?!fastcka\b).*")]
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
    }
    if os.environ.get("FASTCKA_DOCS_ONLINE")
    else {}
)


def prepare(app: object, name: str, source: list[str]) -> None:
    """Make a page of the repository one of the site."""
    # Files outside of docs/ are no pages: links to them lead to the repository.
    outside = re.escape("](" + "../" * (name.count("/") + 1)) + r"(?!\.\./)"
    text = re.sub(outside, f"]({repository}", source[0])
    source[0] = text.replace("\n\n```\n", "\n```\n")  # the empty line that ends an example for doctest


def setup(app) -> None:
    app.connect("source-read", prepare)
