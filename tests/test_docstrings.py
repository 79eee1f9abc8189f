# SPDX-License-Identifier: BSD-3-Clause
"""Every public name is documented in full, and the examples of all docstrings print what they say."""

from __future__ import annotations

import dataclasses
import doctest
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re

import pytest

import fastcka

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastcka.__path__, "fastcka.", onerror=lambda name: None)
    if not module.name.endswith(("__main__", "._core"))
)


# Take whatever they are given.
NO_ERRORS = {"equals", "with_models"}

# What computes a number of the literature: a part of its formula, and of its source.
CKA = "HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))"
SOURCES = {
    "Linear": ("k(x, y) = <x, y>", "Kornblith et al. 2019"),
    "RBF": ("k(x, y) = exp(-||x - y||^2 / (2 sigma^2))", "Kornblith et al. 2019"),
    "Laplacian": ("k(x, y) = exp(-||x - y|| / sigma)", "Rasmussen and Williams 2006"),
    "Polynomial": ("k(x, y) = (gamma <x, y> + coef0)^degree", "Schölkopf and Smola 2002"),
    "Cosine": ("k(x, y) = <x, y> / (||x|| ||y||)", "Shawe-Taylor and Cristianini 2004"),
    "Correlation": ("k(x, y) = <x', y'> / (||x'|| ||y'||)", "Kriegeskorte, Mur and Bandettini 2008"),
    "Distance": ("k(x, y) = (||x||^e + ||y||^e - ||x - y||^e) / 2", "Székely, Rizzo and Bakirov 2007"),
    "gram": ("K[i, j] = k(x_i, x_j)", "Kornblith et al. 2019"),
    "center": ("H = I - 11'/n", "Gretton et al. 2005"),
    "hsic": ("tr(K H L H) / (n-1)^2", "Song et al. 2012"),
    "cka": (CKA, "Kornblith, Norouzi, Lee and Hinton 2019"),
    "cka_matrix": (CKA, "Kornblith et al. 2019"),
    "cka_matrix, rv2": ("<Kc', Lc'> / sqrt(<Kc', Kc'> <Lc', Lc'>)", "Smilde et al. 2009"),
    "cka_matrix, rsa": ("D[i, j] = K[i, i] + K[j, j] - 2 K[i, j]", "Kriegeskorte, Mur and Bandettini 2008"),
    "cka_models": (CKA, "Kornblith et al. 2019"),
    "Sweep": (CKA, "Kornblith et al. 2019"),
    "StreamingCKA": ("CKA = sum_b w_b HSIC_1(X_b, Y_b) / sqrt(", "Nguyen, Raghu and Kornblith 2020"),
    "cka_test": (CKA, "Kazi-Aoual et al. 1995"),
    "cka_test, chi2": ("P(chi-squared_1 > n CKA + 1)", "Shen, Panda and Vogelstein 2022"),
    "cka_test, confounder": ("(c_xy - c_xg c_yg) / sqrt(", "Székely and Rizzo 2014"),
    "calibrated_max": ("max((maximum - tau) / (1 - tau), 0)", "Groeger, Wen and Brbic 2026"),
    "CKAMatrix.effective_dimension": ("tr(Kc)² / ‖Kc‖²", "Gao et al. 2017"),
    "dask.cka_matrix": (CKA, "Kornblith et al. 2019"),
    "torch.cka": (CKA.lower().replace("hsic", "HSIC"), "Kornblith et al. 2019"),
    "torch.cka_loss": ("1 - cka(x, y)", "Kornblith et al. 2019"),
    "torch.compare": (CKA, "Nguyen, Raghu and Kornblith 2020"),
    "torch.compare_models": (CKA, "Nguyen, Raghu and Kornblith 2020"),
    "reference.gram": ("K[i, j] = k(x_i, x_j)", "Kornblith et al. 2019"),
    "reference.center": ("H = I - 11'/n", "Gretton et al. 2005"),
    "reference.hsic": ("tr(K H L H) / (n-1)^2", "Song et al. 2012"),
    "reference.cka": (CKA, "Kornblith et al. 2019"),
    "reference.cka_matrix": ("<A, B> / sqrt(<A, A> <B, B>)", "Smilde et al. 2009"),
    "reference.effective_dimension": ("(tr Kc)^2 / <Kc, Kc>", "Gao et al. 2017"),
}


def public():
    """Every public function and class, by the name that users give it."""
    found = {f"fastcka.{name}": getattr(fastcka, name) for name in fastcka.__all__}
    extras = [name for name in ("dask", "torch") if importlib.util.find_spec(name)]
    for name in ("reference", *extras):
        module = importlib.import_module(f"fastcka.{name}")
        found |= {f"fastcka.{name}.{own}": getattr(module, own) for own in module.__all__}
    return {name: thing for name, thing in found.items() if callable(thing)}


def members(kind):
    """The public methods and properties of a class, without those of another public class that it extends."""
    known = [base for base in kind.__mro__[1:] if base in PUBLIC.values()]
    for name, member in inspect.getmembers_static(kind):
        if any(inspect.getattr_static(base, name, None) is member for base in known):
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(function, property):
            function = function.fget
        elif isinstance(function, functools.cached_property):
            function = function.func
        if not name.startswith("_") and getattr(function, "__module__", "").startswith("fastcka"):
            yield name, member, function


PUBLIC = public()
MEMBERS = {
    f"{path}.{name}": (kind, member, function)
    for path, kind in PUBLIC.items()
    if inspect.isclass(kind)
    for name, member, function in members(kind)
}
CALLABLE = {path: thing for path, thing in PUBLIC.items() if inspect.isfunction(thing)}
CALLABLE |= {
    path: function
    for path, (_, member, function) in MEMBERS.items()
    if isinstance(member, staticmethod | classmethod) or inspect.isfunction(member)
}


def section(doc, title):
    """The text of a section of a docstring as NumPy writes them; None where there is none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", doc, re.S | re.M)
    return found and found[1]


def named(text):
    """The names that the lines of a section begin with: "X, Y : array_like" has two."""
    heads = re.findall(r"^\*{0,2}(\w[\w, ]*)(?: : .*)?$", text or "", re.M)
    return {name for head in heads for name in head.split(", ")}


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_has_an_example(path):
    assert ">>> " in (section(inspect.getdoc(PUBLIC[path]) or "", "Examples") or "")


@pytest.mark.parametrize("path", CALLABLE)
def test_a_function_documents_parameters_result_and_errors(path):
    function = CALLABLE[path]
    doc, signature = inspect.getdoc(function) or "", inspect.signature(function)
    parameters = set(signature.parameters) - {"self", "cls"}
    missing = parameters - named(section(doc, "Parameters"))
    assert not missing, f"no line in Parameters for {missing}"
    if signature.return_annotation not in ("None", None):
        assert section(doc, "Returns") or re.match(r"(Return|Read)\b", doc), "nothing is said of the result"
    if parameters and function.__name__ not in NO_ERRORS:
        assert section(doc, "Raises"), "nothing is said of errors"


@pytest.mark.parametrize("name", SOURCES)
def test_a_measure_gives_its_formula_and_its_source(name):
    formula, source = SOURCES[name]
    path = f"fastcka.{name.partition(',')[0]}"
    if path.startswith(("fastcka.torch", "fastcka.dask")):
        pytest.importorskip(path.split(".")[1])
    doc = " ".join(inspect.getdoc({**PUBLIC, **CALLABLE}[path]).split())
    text, _, references = doc.partition("References ----------")
    assert formula in text
    assert source in references.partition("Examples --------")[0]


def test_every_kernel_and_reference_has_a_source():
    kernels = {type(kernel).__name__ for kernel in fastcka.kernels._KERNELS.values()} - {"Precomputed"}
    assert SOURCES.keys() >= kernels | {f"reference.{name}" for name in fastcka.reference.__all__}


@pytest.mark.parametrize("path", [path for path, thing in PUBLIC.items() if inspect.isclass(thing)])
def test_a_class_documents_what_it_holds(path):
    kind = PUBLIC[path]
    doc = inspect.getdoc(kind) or ""
    known = named(section(doc, "Attributes")) | named(section(doc, "Parameters"))
    for base in kind.__mro__[1:]:
        if base in PUBLIC.values():
            known |= named(section(inspect.getdoc(base), "Attributes"))
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    missing = {name for name in fields if not name.startswith("_")} - known
    assert not missing, f"no line for {missing}"


@pytest.mark.parametrize("path", MEMBERS)
def test_a_method_is_shown_in_an_example(path):
    """Its own, or one of its class: whoever reads the page of the class sees how it is called."""
    kind, _, function = MEMBERS[path]
    name = path.rpartition(".")[2]
    examples = f"{inspect.getdoc(kind)}\n{inspect.getdoc(function)}"
    assert inspect.getdoc(function), "no docstring"
    called = re.search(rf"^(?:>>>|\.\.\.) .*\.{name}\b", examples, re.M)
    assert called or path not in CALLABLE, "no example calls it"


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    if "torch" in name:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
