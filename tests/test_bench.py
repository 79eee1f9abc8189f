# SPDX-License-Identifier: BSD-3-Clause
"""A benchmark compares values before it times, and its arithmetic is right; no time decides a test."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import threadpoolctl

import fastcka
from fastcka import bench, cli
from fastcka.bench import cases, machine, numpy_forms, peers, timing
from fastcka.bench.timing import Case, ValuesDiffer


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    """The rest and the warm-up before a timing are for the sake of the times, which no test looks at."""
    monkeypatch.setattr(timing, "REST", 0)
    monkeypatch.setattr(timing, "WARM_UP", 0)


def no_peers():
    return [], {}


# ------------------------------------------------------------------------------------------------- timing


def test_ratio_is_the_median_of_ratios_not_the_ratio_of_medians():
    # a disturbed second repeat, twice as slow for both sides, and an outlier of theirs
    ratio = timing.ratio(theirs=[3.0, 6.0, 40.0], ours=[1.0, 2.0, 4.0])
    assert ratio == timing.Ratio(seconds=6.0, ratio=3.0, lowest=3.0, highest=10.0)


@pytest.mark.parametrize("wrong", [0.6, float("nan")])
@pytest.mark.parametrize("where", ["opponents", "beside"])
def test_wrong_value_is_refused_before_timing(wrong, where):
    calls = []

    def ours():
        calls.append("ours")
        return 0.5

    others = {"opponents": {"right": lambda: 0.5}, where: {"other": lambda: wrong}}
    case = Case("a pair", ours, agreement=1e-3, **others)
    with pytest.raises(ValuesDiffer, match="a pair: the value of other differs by"):
        timing.measure(case)
    assert calls == ["ours"]  # once, for its value


def test_every_value_of_a_matrix_counts():
    ours, other = np.eye(3), np.eye(3)
    other[2, 0] = 0.1
    with pytest.raises(ValuesDiffer, match=r"differs by 0\.1, more than 0\.01"):
        timing.check_values(Case("pairs", lambda: ours, {"other": lambda: other}, 0.01))


def test_both_sides_take_turns(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "SHORTEST", 0)  # one timed call each, and one to warm up
    timing.interleaved([lambda: order.append("a"), lambda: order.append("b")], repeats=3)
    assert "".join(order) == "aabb" + "bbaa" + "aabb"


def test_fastest_opponent_counts_and_those_beside_do_not():
    ratios = {"slow": timing.Ratio(3, 3, 3, 3), "fast": timing.Ratio(2, 2, 2, 2)}
    measured = timing.Measurement("pair", 1.0, ratios, {"torch": timing.Ratio(1, 1, 1, 1)}, target=1.5)
    assert measured.best == "fast"
    assert json.loads(json.dumps(measured.to_dict()))["best"] == "fast"
    assert [line.split()[-1] for line in bench.lines(measured)] == ["slow", "fast", "torch"]


def test_threads_are_equal_and_given_back():
    def blas_threads():
        return {i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"}

    before = blas_threads()
    with timing.equal_threads(1):
        assert blas_threads() == {1}
    assert blas_threads() == before


# -------------------------------------------------------------------------------------------------- cases


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_numpy_forms_compute_cka(kernel):
    layers = [X.astype(np.float64) for X in cases.layers(3, 40, 8)]
    expected = [[fastcka.reference.cka(X, Y, kernel=kernel) for Y in layers] for X in layers]
    forms = {
        "linear": [numpy_forms.linear_all_pairs, numpy_forms.linear_all_pairs_by_features],
        "rbf": [numpy_forms.rbf_all_pairs],
    }
    for form in forms[kernel]:
        np.testing.assert_allclose(form(layers), expected, rtol=0, atol=1e-12)  # float64, a few hundred terms


def test_forms_that_take_far_more_operations_are_left_out():
    def names(n, p):
        return list(cases.linear_pair(n, p, "float32", 1).opponents)

    assert names(10, 40) == ["NumPy, Gram form"]
    assert names(40, 20) == ["NumPy, Gram form", "NumPy, feature form"]
    assert names(90, 20) == ["NumPy, feature form"]


def test_peer_that_cannot_be_imported_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "repsim", None)
    found, missing = peers.load()
    assert "repsim" not in [peer.name for peer in found]
    assert missing["repsim"].startswith("ModuleNotFoundError: ")


# -------------------------------------------------------------------------------------------------- command


def test_quick_run_writes_what_it_prints(capsys, tmp_path):
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "--quick", "--threads", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["machine"]["threads"] == 1
    assert result["machine"]["versions"]["numpy"] == np.__version__
    assert result["differ"] == []
    printed = capsys.readouterr().out
    for row in result["rows"]:
        assert row["name"] in printed
        for ratio in (*row["opponents"].values(), *row["beside"].values()):
            assert 0 < ratio["lowest"] <= ratio["ratio"] <= ratio["highest"]
    names = " ".join(row["name"] for row in result["rows"])
    assert all(work in names for work in ("linear pair", "float64", "RBF pair", "all linear", "all RBF"))


def test_value_that_differs_is_status_1(capsys, monkeypatch):
    wrong = Case("a pair", lambda: 0.5, {"somebody": lambda: 0.6}, 1e-3)
    right = Case("another", lambda: 0.5, {"somebody": lambda: 0.5}, 1e-3)
    monkeypatch.setattr(bench, "short_form", lambda threads, quick, found: [wrong, right])
    monkeypatch.setattr(peers, "load", no_peers)
    assert cli.main(["bench"]) == 1
    output = capsys.readouterr().out
    assert "a pair: the value of somebody differs by 0.1" in output
    assert "another" in output  # the other cases are timed all the same


def test_missing_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert cli.main(["bench"]) == 2
    assert 'pip install "fastcka[bench]"' in capsys.readouterr().err


def test_commit_is_that_of_this_checkout_or_none(monkeypatch, tmp_path):
    monkeypatch.setattr(
        machine, "__file__", str(tmp_path / "machine.py")
    )  # an installed copy, in no checkout
    assert machine.commit() is None
