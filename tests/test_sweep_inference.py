# SPDX-License-Identifier: BSD-3-Clause
"""The second pass of inference in pieces: the bits of one call, however it is cut, merged and saved."""

from __future__ import annotations

import multiprocessing
import pickle
from functools import reduce
from operator import or_

import numpy as np
import pytest
from test_sweep import check_damage_is_refused, cut, layers
from test_sweep import networks as networks_of

import fastcka
from fastcka import _core
from fastcka._headers import Refused
from fastcka._partial import restored as of_file

N = 1500  # eight strips of rows or more at any SIMD level
KERNELS = ["distance", "polynomial", fastcka.RBF(0.4, median="offdiag"), fastcka.Laplacian(sigma=3.0)]


def networks(two, dtype):
    return networks_of(two, dtype, N)


def products_of(sweep):
    """All stages before the last one."""
    given, stage = None, sweep.stages[0]
    while stage != "inference":
        given = sweep.run(sweep.blocks(stage, given=given), stage, given=given)
        stage = sweep.next_stage(given)
    return given


def labels(n, groups):
    """Labels of groups of unequal sizes, which do not lie side by side."""
    return None if groups is None else np.arange(n) % 97 * groups // 97


@pytest.mark.parametrize("groups", [None, 2, 5, 60], ids=lambda groups: f"{groups} groups")
@pytest.mark.parametrize(("dtype", "two"), [("float32", True), ("float64", False)])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_any_cut_has_the_bits_of_the_whole(kernel, dtype, two, groups):
    a, b = networks(two, dtype)
    options = {"kernel": kernel, "inference": True, "groups": labels(N, groups)}
    whole = fastcka.cka_matrix(a, b, **options)
    sweep = fastcka.Sweep(a, b, **options)
    assert sweep.stages[-2:] == ("products", "inference")
    products = products_of(sweep)
    blocks = sweep.blocks(given=products)
    assert len(blocks) >= min(7, groups or 7)
    rng = np.random.default_rng(1)
    for count in {1, 2, min(7, len(blocks)), len(blocks)}:
        parts = [sweep.run(piece, given=products) for piece in cut(blocks, count)]
        merged = reduce(or_, [parts[i] for i in rng.permutation(count)])
        assert sweep.next_stage(merged) is None
        assert sweep.result(merged).equals(whole)
    fresh = fastcka.Sweep(a, b, **options)
    assert fresh.result(products).equals(whole)  # in one process
    assert fresh.run(fresh.blocks()).digest == merged.digest  # all of it


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("n", "widths", "groups"),
    [(3000, (30, 50), None), (3000, (30, 50), 40), (700, (40, 7, 400), 9)],
    ids=["features", "features and groups", "groups"],
)
def test_linear_kernels(kernel, n, widths, groups):
    """By the feature route sums of single samples need a sweep of their own, and groups a pass."""
    a = layers(n, widths, "float32", 3)
    options = {"kernel": kernel, "inference": True, "groups": labels(n, groups)}
    whole, sweep = fastcka.cka_matrix(a, **options), fastcka.Sweep(a, **options)
    assert sweep.stages == ("statistics", "products", "inference")
    products = products_of(sweep)
    blocks = sweep.blocks(given=products)
    for count in (1, 3, len(blocks)):
        parts = [sweep.run(piece, given=products) for piece in cut(blocks, count)]
        assert sweep.result(reduce(or_, reversed(parts))).equals(whole)


@pytest.mark.parametrize("kernel", ["distance", fastcka.RBF(0.4), "linear"], ids=str)
def test_moments(kernel):
    """The sums that moments under permutation are made of come out of the same pass."""
    a, b = (layers(1500, widths, "float32", 4) for widths in ((40, 5), (9, 30)))
    options = {"kernel": kernel, "inference": "moments"}
    whole, sweep = fastcka.cka_matrix(a, b, **options), fastcka.Sweep(a, b, **options)
    assert whole.pvalue_method == "moments"
    products = products_of(sweep)
    parts = [sweep.run(piece, given=products) for piece in cut(sweep.blocks(given=products), 7)]
    merged = reduce(or_, [parts[i] for i in (3, 0, 6, 1, 5, 2, 4)])
    assert sweep.result(pickle.loads(pickle.dumps(merged))).equals(whole)
    assert sweep.result(products).equals(whole)
    other = fastcka.Sweep(a, b, **options | {"inference": "chi2"})
    with pytest.raises(ValueError, match=r"other p-values \(pvalues: 'chi2' and 'moments'\)"):
        other.result(merged)
    with pytest.raises(ValueError, match="other p-values"):
        other.run(0, given=products) | parts[1]
    assert other.result(products).equals(fastcka.cka_matrix(a, b, kernel=kernel, inference="chi2"))


def test_where_the_products_tell_it_there_is_no_such_stage():
    a, b = networks(True, "float32")
    assert fastcka.Sweep(layers(300, (900, 40), "float32", 1), inference=True).stages == (
        "statistics",
        "products",
    )
    assert fastcka.Sweep(a, b, kernel="rbf").stages[-1] == "products"
    with pytest.raises(ValueError, match="stage"):
        fastcka.Sweep(a, b, kernel="distance").run(0, "inference")


@pytest.mark.parametrize(
    "kernel", ["distance", fastcka.RBF(0.05)], ids=["a massive sample", "a narrow bandwidth"]
)
def test_float32_that_needs_float64(kernel):
    a, b = networks(True, "float32")
    a["layer7"][3] *= 3000
    options = {"kernel": kernel, "inference": True}
    sweep = fastcka.Sweep(a, b, **options)
    products = products_of(sweep)
    parts = [sweep.run(sweep.share(i, 3, given=products), given=products) for i in range(3)]
    expected = fastcka.cka_matrix(a, b, **options)
    assert expected.provenance["dtype"] == "float64"
    assert sweep.result(reduce(or_, parts)).equals(expected)


def test_many_layers_and_degenerate_ones():
    rng = np.random.default_rng(5)
    a = [rng.normal(size=(300, 12)).astype(np.float32) for _ in range(40)]
    a[7] = np.ones((300, 3), np.float32)
    sweep = fastcka.Sweep(a, kernel="distance", inference=True)
    parts = [sweep.run(block) for block in sweep.blocks()]
    with pytest.warns(fastcka.DegenerateWarning):
        assert sweep.result(reduce(or_, reversed(parts))).equals(
            fastcka.cka_matrix(a, kernel="distance", inference=True)
        )


def test_memory_and_threads_leave_the_same_bits():
    a, b = networks(True, "float64")
    options = {"kernel": "distance", "inference": True}
    whole = fastcka.cka_matrix(a, b, **options)
    small = fastcka.Sweep(a, b, n_threads=1, max_bytes=100_000_000, **options)
    assert small.result(small.run(small.blocks())).equals(whole)
    tight, products = fastcka.Sweep(a, b, max_bytes=2_000_000, **options), products_of(small)
    with pytest.raises(MemoryError, match="max_bytes is"):
        tight.run(0, given=products)


def run_and_save(blocks, given, path):
    """Make some blocks in a process of its own."""
    sweep = fastcka.Sweep(*networks(True, "float32"), kernel="distance", inference=True, n_threads=1)
    sweep.run(blocks, given=fastcka.Partial.load(given)).save(path)


def test_from_several_processes_and_files(tmp_path):
    sweep = fastcka.Sweep(*networks(True, "float32"), kernel="distance", inference=True)
    given = tmp_path / "products.npz"
    products_of(sweep).save(given)
    products = fastcka.Partial.load(given)
    paths = [tmp_path / f"part-{i}.npz" for i in range(3)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        shares = [sweep.share(i, 3, given=products) for i in range(3)]
        pool.starmap(run_and_save, [(s, given, p) for s, p in zip(shares, paths, strict=True)])
    merged = reduce(or_, map(fastcka.Partial.load, reversed(paths)))
    expected = fastcka.cka_matrix(*networks(True, "float32"), kernel="distance", inference=True)
    assert sweep.result(merged).equals(expected)


# ---------------------------------------------------------------------- files, and what is refused


@pytest.fixture(scope="module")
def sweep():
    return fastcka.Sweep(*networks(True, "float64"), kernel="distance", inference=True)


@pytest.fixture(scope="module")
def products(sweep):
    return products_of(sweep)


@pytest.mark.parametrize("route", ["pass", "sweep"])
def test_saved_and_pickled_partials_are_the_same(tmp_path, sweep, products, route):
    if route == "sweep":
        sweep = fastcka.Sweep(layers(3000, (30, 50), "float32", 3), inference=True)
        products = products_of(sweep)
    part = sweep.run(range(1, 3), given=products)
    part.save(tmp_path / "part.npz")
    for copy in (fastcka.Partial.load(tmp_path / "part.npz"), pickle.loads(pickle.dumps(part))):
        assert (copy.stage, copy.covered, copy.n_blocks) == (part.stage, part.covered, part.n_blocks)
        assert copy.digest == part.digest
    rest = sweep.run(range(3, part.n_blocks), given=products) | sweep.run(0, given=products)
    merged = fastcka.Partial.load(tmp_path / "part.npz") | rest
    assert merged.digest == (rest | part).digest
    assert sweep.result(merged).equals(sweep.result(products))


def test_damaged_files_are_refused(tmp_path, sweep, products):
    check_damage_is_refused(sweep.run(range(4), given=products), tmp_path / "part.npz")


def test_what_does_not_fit_is_refused(sweep, products):
    part = sweep.run(range(3), given=products)
    before = part.digest
    with pytest.raises(ValueError, match="both partials hold the sums of block 2"):
        part | sweep.run(range(2, 4), given=products)
    assert part.digest == before
    with pytest.raises(ValueError, match=r"blocks 3 to \d+ of \d+ are missing"):
        sweep.result(part)
    a, b = networks(True, "float64")
    other = fastcka.Sweep(a, b, kernel="distance", inference=True, groups=np.arange(N) // 7)
    with pytest.raises(ValueError, match="other groups"):
        part | other.run(range(3, 5))
    with pytest.raises(ValueError, match="other groups"):
        other.run(0, given=products)
    with pytest.raises(ValueError, match="other groups"):
        other.result(part)
    a["layer7"] = 2 * a["layer7"]
    changed = fastcka.Sweep(a, b, kernel="distance", inference=True)
    with pytest.raises(ValueError, match="of other data"):
        part | changed.run(range(3, 5))
    with pytest.raises(ValueError, match="another kernel"):
        part | fastcka.Sweep(*networks(True, "float64"), kernel="polynomial", inference=True).run(3)
    plain = fastcka.Sweep(*networks(True, "float64"), kernel="distance")
    whole = sweep.run(sweep.blocks(given=products), given=products)
    assert plain.result(whole).equals(plain.result(products))  # which it holds
    with pytest.raises(ValueError, match="another stage"):
        part | products
    some = plain.run(range(2))
    with pytest.raises(
        ValueError, match=r"given: blocks 2 to \d+ of the \d+ of the stage 'products' are missing"
    ):
        sweep.run(0, given=some)
    with pytest.raises(
        ValueError, match="needs the partial of an earlier one, this partial is of 'inference'"
    ):
        sweep.run(3, given=part)
    last = len(sweep.blocks(given=products)) - 1
    with pytest.raises(ValueError, match=rf"within 0 to {last}"):
        sweep.run(last + 1, given=products)


def test_products_of_values_that_have_changed_are_refused():
    a = layers(3000, (30, 50), "float32", 3)
    products = products_of(fastcka.Sweep(a, inference=True))
    changed = fastcka.Sweep({name: 2 * X for name, X in a.items()}, inference=True)
    with pytest.raises(ValueError, match="the products are of other data than these layers"):
        changed.run(0, given=products)


def test_crafted_states_are_refused(sweep, products):
    part = sweep.run(range(3), given=products)
    a, b = networks(True, "float64")
    widths = [X.shape[1] for X in a.values()], [X.shape[1] for X in b.values()]
    good = part._sums.state()

    def restored(**changed):
        return _core.SecondPass.from_state(part.n_blocks, N, *widths, good | changed)

    assert restored().covered() == [(0, 3)]
    nodes = good["nodes"].reshape(-1, 6)

    def moved(level=0, number=0, first=0, samples=0, layers=0):
        return np.add(nodes, [level, number, 0, first, samples, layers]).ravel()

    for changed in (
        {"nodes": good["nodes"][:-1]},
        {"nodes": moved(level=60)},
        {"nodes": moved(number=part.n_blocks)},
        {"nodes": np.repeat(nodes[:1], len(nodes), axis=0).ravel()},
        {"nodes": (nodes * [1, 1, 0, 1, 1, 1]).ravel()},  # no deviations, but their values
        {"nodes": moved(samples=N + 1)},
        {"nodes": moved(first=2**63 - 1 - nodes[:, 3].max())},  # with the samples, it leaves 64 bits
        {"nodes": moved(layers=1)},
        {"values": good["values"][:-1]},
        {"values": np.append(good["values"], 1.0)},
    ):
        with pytest.raises((ValueError, RuntimeError)):
            restored(**changed)
    settings, state = part._settings, part._state()
    assert of_file(settings, state).digest == part.digest
    with pytest.raises(Refused, match="other products than it was made from"):
        of_file(settings, state | {"given.diagonals": state["given.diagonals"] * 2})
