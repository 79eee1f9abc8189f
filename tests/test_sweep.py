# SPDX-License-Identifier: BSD-3-Clause
"""A comparison in pieces has the bits of the whole, however it is cut, merged, saved and sent."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import pickle
import re
from functools import reduce
from operator import or_

import numpy as np
import pytest

import fastcka
from fastcka import _core

# At least seven blocks by either route.
N, WIDTHS_A, WIDTHS_B = 700, (40, 7, 400), (30, 300)
KERNELS = [
    "linear",
    "cosine",
    "distance",
    "polynomial",
    "rbf",
    fastcka.RBF(0.3, median="offdiag"),
    fastcka.Laplacian(sigma=3.0),
]


def layers(n, widths, dtype, seed):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 5))
    return {
        f"layer{p}": (shared @ rng.normal(size=(5, p)) + rng.normal(size=(n, p))).astype(dtype)
        for p in widths
    }


def networks(two, dtype, n=N):
    a = layers(n, WIDTHS_A, dtype, 1)
    return (a, layers(n, WIDTHS_B, dtype, 2)) if two else (a, None)


def cut(blocks, pieces):
    edges = [i * len(blocks) // pieces for i in range(pieces + 1)]
    return [range(first, last) for first, last in itertools.pairwise(edges)]


def run_and_save(two, dtype, kernel, blocks, path):
    """Make some blocks in a process of its own."""
    fastcka.Sweep(*networks(two, dtype), kernel=kernel, n_threads=1).run(blocks).save(path)


@pytest.mark.parametrize(("dtype", "two"), [("float32", True), ("float64", False)])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_any_cut_has_the_bits_of_the_whole(kernel, dtype, two):
    a, b = networks(two, dtype)
    whole = {e: fastcka.cka_matrix(a, b, kernel=kernel, estimator=e) for e in ("biased", "unbiased")}
    sweep = fastcka.Sweep(a, b, kernel=kernel)
    blocks = sweep.blocks()
    assert len(blocks) >= 7
    rng = np.random.default_rng(7)
    for pieces in (1, 3, len(blocks)):
        parts = [sweep.run(piece) for piece in cut(blocks, pieces)]
        merged = reduce(or_, [parts[i] for i in rng.permutation(pieces)])
        assert merged.complete
        for estimator, expected in whole.items():
            found = fastcka.Sweep(a, b, kernel=kernel, estimator=estimator).result(merged)
            np.testing.assert_array_equal(found.values, expected.values)
            np.testing.assert_array_equal(found.chance, expected.chance)
            assert found.equals(expected)


@pytest.mark.parametrize("wide", [False, True], ids=["one segment", "segments of samples"])
def test_the_feature_route_in_pieces(wide):
    """Few features: a tile is cut into segments of samples, which are squared when all of them have come."""
    n, p = (9000, 20) if wide else (3000, 300)
    a = layers(n, (p, p + 5), "float32", 3)
    assert fastcka.plan(a).route == "feature"
    sweep, expected = fastcka.Sweep(a), fastcka.cka_matrix(a)
    blocks = sweep.blocks()
    parts = [sweep.run(block) for block in blocks]
    rng = np.random.default_rng(0)
    for _ in range(5):
        merged = reduce(or_, [parts[i] for i in rng.permutation(len(parts))])
        assert sweep.result(merged).equals(expected)


def test_precomputed_in_pieces():
    grams = {name: fastcka.gram(X, kernel="rbf") for name, X in networks(False, "float64")[0].items()}
    sweep = fastcka.Sweep(grams, kernel="precomputed")
    parts = [sweep.run(piece) for piece in cut(sweep.blocks(), 3)]
    expected = fastcka.cka_matrix(grams, kernel="precomputed")
    assert sweep.result(parts[2] | parts[0] | parts[1]).equals(expected)


@pytest.mark.parametrize("n", [150, 3000], ids=["gram route", "feature route"])
def test_every_measure_comes_from_the_same_sums(n):
    a = layers(n, (40, 25), "float64", 4)
    sweep = fastcka.Sweep(a, measure="rsa_pearson")
    parts = [sweep.run(piece) for piece in cut(sweep.blocks(), 3)]
    merged = parts[1] | parts[2] | parts[0]
    for measure in ("cka", "rv2", "rsa_cosine", "rsa_pearson"):
        found = fastcka.Sweep(a, measure=measure).result(merged)
        assert found.measure == measure
        assert found.equals(fastcka.cka_matrix(a, measure=measure))


def test_many_layers_share_a_block_in_pieces():
    rng = np.random.default_rng(5)
    a = [rng.normal(size=(600, 12)).astype(np.float32) for _ in range(60)]
    sweep = fastcka.Sweep(a, kernel="rbf")
    parts = [sweep.run(block) for block in np.asarray(sweep.blocks())]  # integers of NumPy are numbers, too
    assert sweep.result(reduce(or_, reversed(parts))).equals(fastcka.cka_matrix(a, kernel="rbf"))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_massive_sample_takes_the_exact_way_in_pieces(kernel):
    """float32 that needs float64 is found out by the statistics, whichever process has that layer."""
    a, _ = networks(False, "float32")
    a["layer7"][3] *= 3000
    expected = fastcka.cka_matrix(a, kernel=kernel, estimator="unbiased")
    sweep = fastcka.Sweep(a, kernel=kernel, estimator="unbiased")
    statistics = reduce(or_, [sweep.run(i, "statistics") for i in (2, 0, 1)])
    fresh = fastcka.Sweep(a, kernel=kernel, estimator="unbiased")
    parts = [fresh.run(fresh.share(i, 4, given=statistics), given=statistics) for i in range(4)]
    assert fresh.result(reduce(or_, parts)).equals(expected)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_from_several_processes_and_files(tmp_path, kernel):
    a, b = networks(True, "float32")
    sweep = fastcka.Sweep(a, b, kernel=kernel)
    paths = [tmp_path / f"part-{i}.npz" for i in range(3)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        shares = [sweep.share(i, 3) for i in range(3)]
        pool.starmap(
            run_and_save, [(True, "float32", kernel, s, p) for s, p in zip(shares, paths, strict=True)]
        )
    merged = reduce(or_, map(fastcka.Partial.load, reversed(paths)))
    assert sweep.result(merged).equals(fastcka.cka_matrix(a, b, kernel=kernel))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("stage", ["statistics", "products"])
def test_saved_and_pickled_partials_are_the_same(tmp_path, stage, kernel):
    n = 9000 if kernel == "linear" else N  # linear: with a tile that waits for its other segments
    sweep = fastcka.Sweep(layers(n, (20, 25), "float32", 3), kernel=kernel)
    part = sweep.run(range(1), stage)
    part.save(tmp_path / "part.npz")
    for copy in (fastcka.Partial.load(tmp_path / "part.npz"), pickle.loads(pickle.dumps(part))):
        assert (copy.stage, copy.covered, copy.n_blocks) == (part.stage, part.covered, part.n_blocks)
        assert copy.digest == part.digest
    rest = sweep.run(range(1, part.n_blocks), stage)
    assert (fastcka.Partial.load(tmp_path / "part.npz") | rest).digest == (rest | part).digest


# ---------------------------------------------------------------------- what is refused


@pytest.fixture
def sweep():
    return fastcka.Sweep(*networks(True, "float64"), kernel="rbf")


def test_what_is_covered_and_missing(sweep):
    part = sweep.run(range(1, 3)) | sweep.run(5)
    last = len(sweep.blocks())
    assert part.covered == (range(1, 3), range(5, 6))
    assert part.missing == (range(1), range(3, 5), range(6, last))
    assert repr(part) == f"Partial(products, blocks 1 to 2, 5 of {last})"
    with pytest.raises(ValueError, match=rf"blocks 0, 3 to 4, 6 to {last - 1} of {last} are missing"):
        sweep.result(part)


def test_overlaps_are_refused_and_nothing_changes(sweep):
    part = sweep.run(range(3))
    before = part.digest
    with pytest.raises(ValueError, match="both partials hold the sums of block 2"):
        part | sweep.run(range(2, 4))
    with pytest.raises(ValueError, match="both partials hold the sums of blocks 0 to 2"):
        part | part
    assert part.digest == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": "laplacian"}, "another kernel.*laplacian"),
        ({"kernel": fastcka.RBF(0.5)}, "another kernel"),
        ({"dtype": "float32"}, "another dtype"),
        ({"n": 699}, "another number of samples"),
        ({"scale": 2.0}, "statistics of other data"),
        ({"two": False}, "other layers"),
    ],
)
def test_partials_of_other_sweeps_are_refused(sweep, change, words):
    two, n = change.get("two", True), change.get("n", N)
    a, b = networks(two, "float64", n)
    a["layer7"] = a["layer7"] * change.get("scale", 1.0)
    options = {"kernel": "rbf"} | {k: v for k, v in change.items() if k in ("kernel", "dtype")}
    other = fastcka.Sweep(a, b, **options)
    mine, theirs = sweep.run(0), other.run(1)
    with pytest.raises(ValueError, match=words):
        mine | theirs
    if "scale" not in change:  # values are only known to the partials
        with pytest.raises(ValueError, match=words):
            sweep.result(theirs)


def test_levels_do_not_mix(sweep, monkeypatch):
    part = sweep.run(0)
    other = sweep.run(1)
    other._settings["simd_level"] = "v1"
    with pytest.raises(ValueError, match="FASTCKA_SIMD_LEVEL"):
        part | other


def test_stages_do_not_mix(sweep):
    statistics, products = sweep.run(0, "statistics"), sweep.run(0)
    with pytest.raises(ValueError, match="another stage"):
        statistics | products
    with pytest.raises(ValueError, match="the result needs the products"):
        sweep.result(statistics)
    with pytest.raises(ValueError, match="given: the stage 'products' needs the partial of an earlier one"):
        sweep.run(0, given=products)
    with pytest.raises(
        ValueError, match="given: blocks 1 to 4 of the 5 of the stage 'statistics' are missing"
    ):
        sweep.run(0, given=statistics)
    with pytest.raises(TypeError):
        statistics | 3


def test_bad_blocks(sweep):
    last = len(sweep.blocks()) - 1
    with pytest.raises(ValueError, match=rf"within 0 to {last}"):
        sweep.run(range(last + 2))
    with pytest.raises(ValueError, match="within 0 to"):
        sweep.run(-1)
    for blocks in (range(0, 4, 2), [0, 1], True, 1.0):
        with pytest.raises(TypeError, match="consecutive"):
            sweep.run(blocks)
    with pytest.raises(ValueError, match="task must be from 0 to 2 for 3 tasks, got 3"):
        sweep.share(3, 3)
    for task, of, words in (("0", 2, "task must be an integer, got '0'"), (0, 2.5, "of must be a positive")):
        with pytest.raises(TypeError, match=words):
            sweep.share(task, of)
    with pytest.raises(ValueError, match="stage"):
        sweep.run(0, "median")
    with pytest.raises(TypeError, match="given: expected a Partial, got 3"):
        sweep.run(0, given=3)
    with pytest.raises(TypeError, match=r"partial: expected a Partial, got 'sums\.npz'"):
        sweep.result("sums.npz")


def test_values_that_are_not_finite_name_the_layer():
    a, _ = networks(False, "float64")
    a["layer7"][5, 2] = np.nan
    sweep = fastcka.Sweep(a)
    sweep.run(0, "statistics")  # of another layer
    with pytest.raises(ValueError, match=r"layer 'layer7' of layers_a.*sample 5, feature 2"):
        sweep.run(1, "statistics")
    with pytest.raises(ValueError, match="layer 'layer7' of layers_a"):
        sweep.run(0)


def test_degenerate_layers_are_named_once_by_the_result():
    a, _ = networks(False, "float64")
    a["layer7"][:] = 3.0
    sweep = fastcka.Sweep(a)
    whole = sweep.run(sweep.blocks())
    with pytest.warns(fastcka.DegenerateWarning, match="layer 'layer7' of layers_a"):
        matrix = sweep.result(whole)
    assert np.isnan(matrix["layer7", "layer40"])
    with pytest.warns(fastcka.DegenerateWarning):
        assert matrix.equals(fastcka.cka_matrix(a))


def loaded_or_none(path):
    with contextlib.suppress(ValueError):
        return fastcka.Partial.load(path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        fastcka.Partial.load(path)
    return None


def check_damage_is_refused(part, path):
    """Flip a bit at some 50 places of the file of a partial, one at a time."""
    part.save(path)
    content = path.read_bytes()
    refused = 0
    for at in range(0, len(content), max(1, len(content) // 50)):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        if not_refused := loaded_or_none(path):  # a byte that no reader looks at: padding, or a time stamp
            assert not_refused.digest == part.digest
        refused += not_refused is None
    assert refused > 10


def test_damaged_files_are_refused(tmp_path, sweep):
    check_damage_is_refused(sweep.run(0, "statistics"), tmp_path / "part.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        sweep.run(0).save(tmp_path / "part.bin")


def test_suffixes_may_be_capitals_and_older_files_say_so(tmp_path, sweep, monkeypatch):
    part, path = sweep.run(0, "statistics"), tmp_path / "part.NPZ"
    part.save(path)
    assert fastcka.Partial.load(path).digest == part.digest
    with monkeypatch.context() as earlier:
        earlier.setattr(fastcka._partial, "FORMAT_VERSION", 3)
        part.save(path)
    with pytest.raises(ValueError, match=r"part\.NPZ: written by an older fastcka .*format version 3"):
        fastcka.Partial.load(path)


def test_crafted_states_are_refused(sweep):
    """What no run gives: nodes outside of the tree or twice, other shapes, unknown statuses."""
    part = sweep.run(range(3))
    n, blocks = N, part.n_blocks
    good = part._sums.state()

    def restored(**changed):
        return _core.Partial.from_state(blocks, n, list(WIDTHS_A), list(WIDTHS_B), good | changed)

    assert restored().covered() == [(0, 3)]
    for changed in (
        {"levels": good["levels"] + 60},
        {"numbers": good["numbers"] + blocks},
        {"numbers": np.zeros_like(good["numbers"])},
        {"first": good["first"] - 10**6},
        {"first": np.full_like(good["first"], 2**63 - 1)},  # with a count, it leaves 64 bits
        {"products": good["products"] + 1},
        {"product_values": good["product_values"][:-1]},
        {"sample_values": good["sample_values"][1:]},
        {"samples": good["samples"] + 10**6},
        {"samples": np.where(np.arange(len(good["samples"])) % 2, good["samples"], 2**63 - 1)},
        {"statuses": good["statuses"] + 9},
        {"units": good["units"][:-1]},
        {"diagonals": good["diagonals"][:-1]},
        {"open": good["open"][:-1]},
    ):
        with pytest.raises((ValueError, RuntimeError)):
            restored(**changed)


@pytest.mark.parametrize("kernel", ["linear", "cosine", "distance"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_follows_the_pieces(rng, kernel, dtype):
    layers = [rng.normal(size=(500, p)).astype(dtype) for p in (5, 60, 700)]
    others = [layers[1] + rng.normal(size=(500, 60)).astype(dtype)]
    for groups in (None, np.arange(500) // 9):
        sweep = fastcka.Sweep(layers, others, kernel=kernel, inference=True, groups=groups)
        parts = [sweep.run(sweep.share(task, 3)) for task in range(3)]
        whole = fastcka.cka_matrix(layers, others, kernel=kernel, inference=True, groups=groups)
        assert sweep.result(parts[2] | parts[0] | parts[1]).equals(whole)
    plain = fastcka.Sweep(layers, others, kernel=kernel)
    with pytest.raises(ValueError, match="other groups"):
        plain.result(parts[0] | parts[1] | parts[2])
    sweep = fastcka.Sweep(layers, others, kernel=kernel, inference="moments")
    whole = fastcka.cka_matrix(layers, others, kernel=kernel, inference="moments")
    assert whole.pvalue_method == "moments"
    assert sweep.result(sweep.run(sweep.blocks())).equals(whole)
    small = fastcka.Sweep(layers, others, kernel=kernel, max_bytes=100_000_000, inference=True)
    assert small.result(small.run(small.blocks())).stderr.shape == (3, 1)
