# SPDX-License-Identifier: BSD-3-Clause
"""Rounds of the search for medians in pieces: the bits of one call, however the rounds are cut and merged."""

from __future__ import annotations

import multiprocessing
import pickle
from functools import reduce
from operator import or_

import numpy as np
import pytest
from test_sweep import check_damage_is_refused, cut, networks

import fastcka
from fastcka import _core

OFFDIAGONAL = fastcka.RBF(0.3, median="offdiag")
KERNELS = ["rbf", OFFDIAGONAL, fastcka.Laplacian(0.5)]


def in_stages(sweep, pieces=3, seed=0, through=lambda part: part):
    """Every stage in some pieces, merged in random order; the complete partials."""
    rng, done = np.random.default_rng(seed), []
    stage = sweep.stages[0]
    while stage is not None:
        given = done[-1] if done else None
        blocks = sweep.blocks(stage, given=given)
        count = min(pieces or len(blocks), len(blocks))
        parts = [through(sweep.run(piece, stage, given=given)) for piece in cut(blocks, count)]
        done.append(reduce(or_, [parts[i] for i in rng.permutation(count)]))
        stage = sweep.next_stage(done[-1])
    return done


def test_which_stages_there_are():
    a, b = networks(True, "float32")
    rounds = ("median-1", "median-2", "median-3", "median-4")
    assert fastcka.Sweep(a, b).stages == ("statistics", "products")
    assert fastcka.Sweep(a, b, kernel=fastcka.RBF(sigma=3.0)).stages == ("statistics", "products")
    assert fastcka.Sweep(a, b, kernel="rbf").stages == ("statistics", *rounds[:2], "products")
    assert fastcka.Sweep(a, b, kernel="rbf", dtype="float64").stages == ("statistics", *rounds, "products")


@pytest.mark.parametrize("pieces", [1, 2, 7, None], ids=["whole", "2", "7", "each block"])
@pytest.mark.parametrize(("dtype", "two"), [("float32", True), ("float64", False)])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_any_cut_has_the_bits_of_the_whole(kernel, dtype, two, pieces):
    a, b = networks(two, dtype)
    sweep = fastcka.Sweep(a, b, kernel=kernel)
    done = in_stages(sweep, pieces, seed=pieces or 0)
    assert tuple(part.stage for part in done) == sweep.stages
    assert len(sweep.blocks("median-1")) >= 7 * len(sweep.blocks("statistics"))
    assert sweep.result(done[-1]).equals(fastcka.cka_matrix(a, b, kernel=kernel))
    for part, whole in zip(done, in_stages(sweep, 1), strict=True):
        assert part.digest == whole.digest


def samples_with(what, n, rng):
    if what == "ties":
        return rng.integers(0, 2, size=(n, 2)).astype(float)
    if what == "coincident samples":
        return np.where(np.arange(n)[:, None] < n // 3, 0.0, rng.normal(size=(n, 3)))
    if what == "lengths far apart":
        return rng.normal(size=(n, 4)) * 10.0 ** (np.arange(n)[:, None] % 8 - 4)
    return np.arange(n, dtype=float)[:, None]


@pytest.mark.parametrize("n", [17, 410, 411])
@pytest.mark.parametrize("what", ["ties", "coincident samples", "lengths far apart", "a line"])
@pytest.mark.parametrize("median", ["all", "offdiag"])
def test_distances_that_are_hard_to_search(rng, what, n, median):
    a = [samples_with(what, n, rng), rng.normal(size=(n, 5))]
    kernel = fastcka.RBF(median=median)
    sweep = fastcka.Sweep(a, kernel=kernel, dtype="float64")
    expected = fastcka.cka_matrix(a, kernel=kernel, dtype="float64")
    found = sweep.result(in_stages(sweep, None)[-1])
    assert found.equals(expected)
    assert found.provenance["rows"]["sigma"] == expected.provenance["rows"]["sigma"]


def test_a_median_of_zero_and_a_constant_layer(rng):
    a = {"x": rng.normal(size=(300, 5)), "same": np.ones((300, 2)), "mostly": np.zeros((300, 2))}
    a["mostly"][:60] = rng.normal(size=(60, 2))
    sweep = fastcka.Sweep(a, kernel="rbf")
    with pytest.warns(fastcka.DegenerateWarning) as caught:
        found = sweep.result(in_stages(sweep, 3)[-1])
    assert "median distance is zero" in str(caught[0].message)
    with pytest.warns(fastcka.DegenerateWarning):
        assert found.equals(fastcka.cka_matrix(a, kernel="rbf"))


@pytest.mark.parametrize(
    ("kernel", "scale", "rounds"),
    [("rbf", 3000, 4), (fastcka.RBF(0.05), 1, 6)],
    ids=["a massive sample", "a narrow bandwidth"],
)
def test_where_float32_would_lose_digits_there_are_more_rounds(kernel, scale, rounds):
    a, _ = networks(False, "float32")
    a["layer7"][3] *= scale
    sweep = fastcka.Sweep(a, kernel=kernel)
    expected = fastcka.cka_matrix(a, kernel=kernel)
    assert expected.provenance["dtype"] == "float64"
    done = in_stages(sweep, 2)
    assert [part.stage for part in done[1:-1]] == [f"median-{i + 1}" for i in range(rounds)]
    assert sweep.result(done[-1]).equals(expected)
    early = fastcka.Sweep(a, kernel=kernel)  # the rounds that are left are made there
    assert early.result(early.run(early.blocks(given=done[2]), given=done[2])).equals(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stages_between_are_made_where_they_are_not_given(dtype):
    a, b = networks(True, dtype)
    sweep = fastcka.Sweep(a, b, kernel="rbf")
    done = in_stages(sweep)
    for given in (None, *done[:-1]):
        fresh = fastcka.Sweep(a, b, kernel="rbf")
        parts = [fresh.run(fresh.share(i, 2, given=given), given=given) for i in range(2)]
        assert (parts[1] | parts[0]).digest == done[-1].digest
    for given in (None, done[0]):
        fresh = fastcka.Sweep(a, b, kernel="rbf")
        assert fresh.run(fresh.blocks("median-2"), "median-2", given=given).digest == done[2].digest
    more = sweep.run(sweep.blocks("median-6"), "median-6", given=done[2 if dtype == "float32" else 4])
    assert sweep.next_stage(more) == "products"  # nothing was left to find


def test_a_process_reads_the_layers_of_its_blocks_only():
    a, _ = networks(False, "float64")
    sweep = fastcka.Sweep(a, kernel="rbf")
    statistics = sweep.run(sweep.blocks("statistics"), "statistics")
    each = len(sweep.blocks("median-1")) // len(a)
    share = range(each, 2 * each)  # of the second layer
    others = {name: X if name == "layer7" else np.full_like(X, np.nan) for name, X in a.items()}
    alone = fastcka.Sweep(others, kernel="rbf").run(share, "median-1", given=statistics)
    assert alone.digest == sweep.run(share, "median-1", given=statistics).digest


def run_and_save(kernel, blocks, stage, given, path):
    """Make some blocks in a process of its own."""
    given = None if given is None else fastcka.Partial.load(given)
    sweep = fastcka.Sweep(*networks(True, "float32"), kernel=kernel, n_threads=1)
    sweep.run(blocks, stage, given=given).save(path)


def test_from_several_processes_and_small_files(tmp_path):
    sweep, given, stage = fastcka.Sweep(*networks(True, "float32"), kernel=OFFDIAGONAL), None, "statistics"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        while stage is not None:
            whole = None if given is None else fastcka.Partial.load(given)
            paths = [tmp_path / f"{stage}-{i}.npz" for i in range(3)]
            shares = [sweep.share(i, 3, stage, given=whole) for i in range(3)]
            tasks = zip(shares, paths, strict=True)
            pool.starmap(run_and_save, [(OFFDIAGONAL, s, stage, given, p) for s, p in tasks])
            merged = reduce(or_, map(fastcka.Partial.load, reversed(paths)))
            given = tmp_path / f"{stage}.npz"
            merged.save(given)
            if stage.startswith("median"):
                assert given.stat().st_size < 40_000  # 777 features, and no counts any more
            stage = sweep.next_stage(merged)
    assert sweep.result(fastcka.Partial.load(given)).equals(
        fastcka.cka_matrix(*networks(True, "float32"), kernel=OFFDIAGONAL)
    )


# ---------------------------------------------------------------------- files, and what is refused


@pytest.fixture(scope="module")
def sweep():
    return fastcka.Sweep(*networks(True, "float64"), kernel="rbf")


@pytest.fixture(scope="module")
def statistics(sweep):
    return sweep.run(sweep.blocks("statistics"), "statistics")


@pytest.mark.parametrize("blocks", [range(3), range(2, 20), range(0)])
def test_saved_and_pickled_rounds_are_the_same(tmp_path, sweep, statistics, blocks):
    part = sweep.run(blocks, "median-1", given=statistics)
    part.save(tmp_path / "part.npz")
    for copy in (fastcka.Partial.load(tmp_path / "part.npz"), pickle.loads(pickle.dumps(part))):
        assert (copy.stage, copy.covered, copy.n_blocks) == (part.stage, part.covered, part.n_blocks)
        assert copy.digest == part.digest
    rest = sweep.run(range(blocks.stop, part.n_blocks), "median-1", given=statistics)
    if not blocks.start:
        assert (fastcka.Partial.load(tmp_path / "part.npz") | rest).complete


def test_damaged_files_are_refused(tmp_path, sweep, statistics):
    check_damage_is_refused(sweep.run(range(4), "median-1", given=statistics), tmp_path / "part.npz")


def test_overlaps_and_other_sweeps_are_refused(sweep, statistics):
    part = sweep.run(range(3), "median-1", given=statistics)
    before = part.digest
    with pytest.raises(ValueError, match="both partials hold the sums of block 2"):
        part | sweep.run(range(2, 9), "median-1", given=statistics)
    assert part.digest == before
    a, b = networks(True, "float64")
    a["layer7"] = 2 * a["layer7"]
    other = fastcka.Sweep(a, b, kernel="rbf")
    with pytest.raises(ValueError, match="statistics of other data"):
        part | other.run(range(3, 9), "median-1")
    narrow = fastcka.Sweep(*networks(True, "float64"), kernel=fastcka.RBF(0.5))
    with pytest.raises(ValueError, match="another kernel"):
        part | narrow.run(range(3, 9), "median-1")
    with pytest.raises(ValueError, match="another stage"):
        part | statistics
    with pytest.raises(ValueError, match="another kernel"):
        narrow.run(range(3), "median-2", given=sweep.run(sweep.blocks("median-1"), "median-1"))


def test_what_is_given_must_be_complete_and_earlier(sweep, statistics):
    part = sweep.run(range(3), "median-1", given=statistics)
    with pytest.raises(
        ValueError, match=r"given: blocks 3 to \d+ of the \d+ of the stage 'median-1' are missing"
    ):
        sweep.run(0, "median-2", given=part)
    with pytest.raises(ValueError, match="are missing"):
        sweep.next_stage(part)
    whole = sweep.run(sweep.blocks("median-1"), "median-1", given=statistics)
    for stage in ("statistics", "median-1"):
        if stage != "statistics":
            with pytest.raises(
                ValueError, match="needs the partial of an earlier one, this partial is of 'median-1'"
            ):
                sweep.run(0, stage, given=whole)
    with pytest.raises(ValueError, match="the result needs the products, this partial holds the median-1"):
        sweep.result(whole)
    with pytest.raises(ValueError, match="stage"):
        fastcka.Sweep(*networks(True, "float64")).run(0, "median-1")


def test_crafted_states_are_refused(sweep, statistics):
    """What no run gives: blocks outside or twice, digits that are not there, counts of complete layers."""
    part = sweep.run(range(3), "median-1", given=statistics)
    n, (a, b) = 700, networks(True, "float64")
    widths = [X.shape[1] for X in a.values()], [X.shape[1] for X in b.values()]
    good = part._sums.state()

    def restored(**changed):
        return _core.MedianRound.from_state(n, *widths, good | changed)

    assert restored().covered() == [(0, 3)]
    blocks = int(good["round"][3])
    for changed in (
        {"round": good["round"][:-1]},
        {"round": good["round"] * [2, 1, 1, 1]},
        {"round": good["round"] * [1, 1, 1, 0]},
        {"ranges": good["ranges"] + [9, 0, 0]},
        {"ranges": good["ranges"] + [0, 0, blocks]},
        {"ranges": np.tile(good["ranges"], 2)},
        {"ranges": np.array([0, 0, blocks])},  # all of them, but counts are there
        {"ranges": good["ranges"][:-1]},
        {"counts": good["counts"][:-1]},
        {"counts": np.array([0, 1 << 16, 1])},
        {"counts": np.array([0, 5, -1])},
        {"counts": np.array([1, 5, 1])},  # of a layer none of whose blocks are in
        {"above": np.array([9, 1])},
        {"above": np.array([0, -1])},
        {"digits": good["digits"] + 4},
        {"digits": good["digits"] - 1},
        {"below": good["below"] - 1},
        {"lowest": good["lowest"][:-1]},
        {"medians": good["medians"][:-1]},
        {"mean_distances": -np.ones_like(good["mean_distances"])},
    ):
        with pytest.raises((ValueError, RuntimeError)):
            restored(**changed)
