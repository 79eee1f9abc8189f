# SPDX-License-Identifier: BSD-3-Clause
"""Many models in one sweep: the values of separate calls, what is read from them, and what is refused."""

from __future__ import annotations

import copy
import itertools
import json
import pickle

import numpy as np
import pandas
import pytest
import scipy.cluster.hierarchy
import scipy.spatial.distance
import xarray
from sklearn.manifold import MDS

import fastcka
from fastcka import CKAMatrix, CKAModels, DegenerateWarning, ModelSummary
from fastcka.results import summary

N = 40
# The promise of the core (float64: 1e-12, float32: 1e-6), for ordinary data.
BOUND = {np.float64: 1e-12, np.float32: 1e-6}


def networks(dtype=np.float64, n=N):
    """Three networks of different depth and width that see the same signal."""
    rng = np.random.default_rng(16)
    signal = rng.normal(size=(n, 6))

    def layer(p):
        return (signal @ rng.normal(size=(6, p)) + rng.normal(size=(n, p))).astype(dtype)

    return {
        "cnn": {"conv1": layer(5), "conv2": layer(7), "fc": layer(3)},
        "vit": {"block": layer(9), "fc": layer(4)},
        "mlp": {"fc": layer(6)},
    }


def made(values, layers, **settings):
    """A result with these values; layers of one letter may be one text."""
    layers = {model: list(names) for model, names in layers.items()}
    names = [name for layers_of_one in layers.values() for name in layers_of_one]
    settings = {"kernel": "linear", "estimator": "biased", "n_samples": 10, **settings}
    return CKAModels(CKAMatrix(np.array(values, float), tuple(names), tuple(names), **settings), layers)


def random_angles(rng, layers, size=5):
    """CKA values of random Gram-like vectors: cosines of angles that exist."""
    count = sum(map(len, layers.values()))
    vectors = np.abs(rng.normal(size=(count, size)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return made(vectors @ vectors.T, layers)


# Values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "distance"])
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_pairs_have_the_values_of_separate_calls(kernel, estimator, dtype):
    nets = networks(dtype)
    models = fastcka.cka_models(nets, kernel=kernel, estimator=estimator)
    for a, b in itertools.product(nets, nets):
        pair = models.pair(a, b)
        alone = fastcka.cka_matrix(nets[a], dict(nets[b]), kernel=kernel, estimator=estimator)
        np.testing.assert_allclose(pair.values, alone.values, rtol=0, atol=BOUND[dtype])
        np.testing.assert_allclose(pair.chance, alone.chance, rtol=0, atol=BOUND[dtype])
        expected = alone.with_models(a, b)
        assert pair.settings() == {**expected.settings(), "provenance": pair.settings()["provenance"]}


def test_the_bits_are_those_of_one_matrix_of_all_layers_for_any_number_of_threads():
    nets = networks(np.float32, n=300)
    layers = [X for net in nets.values() for X in net.values()]
    for kernel in ("linear", "rbf"):
        joint = fastcka.cka_matrix(layers, kernel=kernel, n_threads=1)
        for threads in (1, 2):
            models = fastcka.cka_models(nets, kernel=kernel, n_threads=threads)
            np.testing.assert_array_equal(np.asarray(models), joint.values)
            np.testing.assert_array_equal(models.matrix.chance, joint.chance)
        np.testing.assert_array_equal(models.pair("vit", "cnn").values, joint.values[3:5, :3])
        assert models.pair("vit", "cnn").T.equals(models.pair("cnn", "vit"))


def test_each_representation_is_given_to_the_core_once(monkeypatch):
    calls = []
    run = fastcka._core.pairwise
    monkeypatch.setattr(
        fastcka._core, "pairwise", lambda a, b, *x, **y: calls.append((a, b)) or run(a, b, *x, **y)
    )
    nets = networks()
    fastcka.cka_models(nets)
    ((a, b),) = calls
    assert b is None
    given = [X for net in nets.values() for X in net.values()]
    assert len(a) == len(given)
    assert all(x is y for x, y in zip(a, given, strict=True))


def test_layers_may_be_sequences_and_one_object_may_be_two_models():
    nets = networks()
    models = fastcka.cka_models({0: list(nets["vit"].values()), 1: nets["vit"], 2: nets["vit"]})
    assert models.models == ("0", "1", "2")
    assert models.layers("0") == ("0", "1")
    np.testing.assert_allclose(
        models.pair("1", "2").values, models.pair("1", "1").values, rtol=0, atol=BOUND[np.float64]
    )
    np.testing.assert_allclose(models.summary().values, 1, rtol=0, atol=1e-12)


def test_progress_reports_to_the_end():
    seen = []
    fastcka.cka_models(
        networks(n=2000), kernel="rbf", progress=lambda done, total: seen.append((done, total))
    )
    assert seen
    assert seen[-1][0] == seen[-1][1]


# What it says -----------------------------------------------------------------------------------------------


def test_names_settings_and_text():
    models = fastcka.cka_models(networks(), kernel=fastcka.RBF(bandwidth=0.5), estimator="unbiased")
    assert models.models == ("cnn", "vit", "mlp")
    assert models.layers("cnn") == ("conv1", "conv2", "fc")
    assert (models.kernel, models.estimator) == (str(fastcka.RBF(bandwidth=0.5)), "unbiased")
    assert (models.method, models.n_samples, models.warnings) == ("exact", N, ())
    assert models.provenance == models.matrix.provenance
    assert models.matrix["cnn/conv1", "vit/fc"] == models.pair("cnn", "vit")["conv1", "fc"]
    assert repr(models).startswith("CKAModels(cnn: 3 layers, vit: 2 layers, mlp: 1 layer, RBF(")
    assert "mean best match" in str(models)
    assert all(name in str(models) for name in models.models)
    assert "<th>vit</th>" in models._repr_html_()
    many = made(np.eye(6), {f"m{i}": ["fc"] for i in range(6)})
    assert repr(many).startswith("CKAModels(m0: 1 layer, m1: 1 layer, m2: 1 layer, ... 6 models, linear")
    for unknown in (lambda: models.pair("cnn", "resnet"), lambda: models.layers("resnet")):
        with pytest.raises(KeyError, match="no model 'resnet'; there are cnn, vit, mlp"):
            unknown()


def test_nothing_can_be_changed():
    models = fastcka.cka_models(networks())
    for same in (models, copy.deepcopy(models), pickle.loads(pickle.dumps(models))):
        assert same.equals(models)
        with pytest.raises(AttributeError):
            same.models = ("a",)
        with pytest.raises(AttributeError):
            same.note = 1
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(same)[0, 0] = 7.0


def test_equals():
    models = fastcka.cka_models(networks())
    assert models.equals(fastcka.cka_models(networks()))
    renamed = {name.upper(): layers for name, layers in networks().items()}
    assert not models.equals(fastcka.cka_models(renamed))
    assert not models.equals(fastcka.cka_models(networks(), estimator="unbiased"))
    assert not models.equals(models.matrix)
    # The same layers in all, cut into models elsewhere.
    assert not made(np.eye(3), {"a": "xy", "b": "z"}).equals(made(np.eye(3), {"a": "x", "b": "yz"}))


def test_the_number_of_layers_must_be_that_of_the_matrix():
    with pytest.raises(ValueError, match=r"expected 3 rows and columns.*got shape \(2, 2\)"):
        CKAModels(
            CKAMatrix(np.eye(2), ("a", "b"), ("a", "b"), "linear", "biased", 9), {"m": ["a", "b"], "n": ["c"]}
        )


# Summaries --------------------------------------------------------------------------------------------------


# Rows: x, y of model a, then x, y, z of model b.
VALUES = [
    [1.0, 0.3, 0.9, 0.5, 0.2],
    [0.3, 1.0, 0.1, 0.4, 0.6],
    [0.9, 0.1, 1.0, 0.0, 0.0],
    [0.5, 0.4, 0.0, 1.0, 0.0],
    [0.2, 0.6, 0.0, 0.0, 1.0],
]


def test_summaries_by_hand():
    models = made(VALUES, {"a": "xy", "b": "yzx"}, chance=np.full((5, 5), 0.1))
    expected = {
        "best_match": ((0.9 + 0.6) / 2 + (0.9 + 0.5 + 0.6) / 3) / 2,
        "namesakes": (0.2 + 0.1) / 2,
        "max": 0.9,
    }
    for how, value in expected.items():
        found = models.summary(how)
        assert isinstance(found, ModelSummary)
        assert (found.rows, found.columns, found.how) == (("a", "b"), ("a", "b"), how)
        np.testing.assert_allclose(found.values, [[1, value], [value, 1]], rtol=1e-15)
    assert models.summary().equals(models.summary("best_match"))
    # Only of a mean of given pairs does the chance level follow from theirs.
    np.testing.assert_allclose(models.summary("namesakes").chance, 0.1)
    assert models.summary("best_match").chance is None
    assert models.summary("max").chance is None


def test_the_chance_level_of_namesakes_is_the_mean_over_permutations(rng):
    X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    nets = {"a": {"x": X, "y": Y}, "b": {"x": Y, "y": X @ rng.normal(size=(3, 4))}}
    level = fastcka.cka_models(nets).summary("namesakes").chance[0, 1]
    values = []
    for order in itertools.permutations(range(5)):
        moved = {name: Z[list(order)] for name, Z in nets["b"].items()}
        values.append(np.mean([fastcka.cka(nets["a"][name], moved[name]) for name in "xy"]))
    assert level == pytest.approx(np.mean(values), abs=1e-12)


def test_a_function_sees_every_pair_in_both_orders():
    models = made(VALUES, {"a": "xy", "b": "xyz"})
    seen = []

    def share(pair):
        seen.append(pair.models)
        return pair.shape[0] / pair.shape[1]

    found = models.summary(share)
    assert seen == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    np.testing.assert_array_equal(found.values, [[1, 2 / 3], [3 / 2, 1]])
    assert found.how == "share"
    assert found.title == "share, CKA, linear"


def test_undefined_layers_are_left_out():
    values = np.array(VALUES)
    values[1], values[:, 1] = np.nan, np.nan  # y of a
    models = made(values, {"a": "xy", "b": "xyz"}, chance=np.full((5, 5), 0.1))
    assert models.summary()["a", "b"] == pytest.approx((0.9 + (0.9 + 0.5 + 0.2) / 3) / 2)
    assert models.summary("namesakes")["a", "b"] == 0.9
    assert models.summary("max")["a", "b"] == 0.9
    nothing = made(np.where(np.eye(2) == 1, [[np.nan, 0], [0, 1]], np.nan), {"a": "x", "b": "x"})
    for how in ("best_match", "namesakes", "max"):
        np.testing.assert_array_equal(nothing.summary(how).values, [[np.nan, np.nan], [np.nan, 1]])


def test_a_summary_is_a_matrix_with_names(tmp_path):
    found = made(VALUES, {"a": "xy", "b": "xyz"}).summary("max")
    assert found["a", "b"] == 0.9
    assert repr(found).startswith("ModelSummary(max, models: 2 layers x")
    assert "highest pair, CKA, linear" in str(found)
    assert found.to_pandas().loc["a", "b"] == 0.9
    for suffix in (".npz", ".json"):
        found.save(tmp_path / f"s{suffix}")
        assert ModelSummary.load(tmp_path / f"s{suffix}").equals(found)
        with pytest.raises(ValueError, match=r"not a CKAMatrix .* 'fastcka\.ModelSummary'"):
            CKAMatrix.load(tmp_path / f"s{suffix}")


def test_a_wrong_summary_is_refused():
    models = made(VALUES, {"a": "xy", "b": "xyz"})
    with pytest.raises(
        ValueError, match=r"how: expected 'best_match', 'namesakes', 'max' or a function.*'mean'"
    ):
        models.summary("mean")
    with pytest.raises(TypeError, match=r"how: expected 'best_match'.*got 3"):
        models.summary(3)
    with pytest.raises(TypeError, match=r"how: .*lambda.* must return a number, got 'high'"):
        models.summary(lambda pair: "high")
    with pytest.raises(ValueError, match="a and b have no layer of the same name"):
        made(np.eye(2), {"a": "x", "b": "y"}).summary("namesakes")


# Distances --------------------------------------------------------------------------------------------------


def test_distances_are_angles_that_scipy_and_scikit_learn_take(rng):
    models = random_angles(rng, {f"m{i}": "xyz" for i in range(6)})
    for how in ("best_match", "namesakes", "max", summary.best_match):
        square, condensed = models.distance(how), models.distance(how, condensed=True)
        np.testing.assert_allclose(np.cos(square), models.summary(how).values, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(np.diag(square), 0)
        np.testing.assert_array_equal(scipy.spatial.distance.squareform(square), condensed)
        tree = scipy.cluster.hierarchy.linkage(condensed, "average")
        assert scipy.cluster.hierarchy.is_valid_linkage(tree)
    name = "metric" if "metric_mds" in MDS().get_params() else "dissimilarity"  # before scikit-learn 1.8
    flat = MDS(**{name: "precomputed"}, n_init=1, init="random", random_state=0).fit_transform(square)
    assert flat.shape == (6, 2)


def violations(distance):
    """How far the worst triangle is from closing."""
    return max(
        distance[i, k] - distance[i, j] - distance[j, k]
        for i, j, k in itertools.permutations(range(len(distance)), 3)
    )


def test_the_angle_of_namesakes_is_a_metric_and_those_of_maxima_are_not(rng):
    worst = [
        violations(random_angles(rng, {f"m{i}": "xyz" for i in range(5)}, size=2).distance("namesakes"))
        for _ in range(50)
    ]
    assert max(worst) < 1e-9
    # What the docstring says: two models without a layer in common may both share one with a third.
    shared = np.eye(4)
    shared[0, 1] = shared[1, 0] = shared[2, 3] = shared[3, 2] = 1  # a = first of b, second of b = c
    models = made(shared, {"a": "x", "b": "xy", "c": "x"})
    for how in ("max", "best_match"):
        assert violations(models.distance(how)) > 0.1


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_the_angle_of_single_layers_is_a_metric(rng, estimator):
    nets = {f"m{i}": [rng.normal(size=(8, 3))] for i in range(8)}
    assert violations(fastcka.cka_models(nets, estimator=estimator).distance()) < 1e-9


def test_a_summary_that_is_no_cosine_has_no_distance():
    models = made(VALUES, {"a": "xy", "b": "xyz"})
    for how, why in (
        (lambda pair: pair.shape[0] / pair.shape[1], "symmetric"),
        (lambda pair: 2.0, "from -1 to 1"),
        (lambda pair: 0.5, "1 for a model and itself"),
    ):
        with pytest.raises(ValueError, match=why):
            models.distance(how)


# Containers and files ---------------------------------------------------------------------------------------


def test_to_pandas():
    models = fastcka.cka_models(networks())
    frame = models.to_pandas()
    assert frame.loc[("cnn", "fc"), ("vit", "block")] == models.pair("cnn", "vit")["fc", "block"]
    pandas.testing.assert_frame_equal(
        frame.loc["cnn", "vit"].rename_axis(index="cnn", columns="vit"),
        models.pair("cnn", "vit").to_pandas(),
    )
    assert frame.attrs["kernel"] == "linear"
    tidy = models.to_pandas(tidy=True)
    assert len(tidy) == 36
    part = tidy[(tidy.model_a == "vit") & (tidy.model_b == "cnn")].reset_index(drop=True)
    pandas.testing.assert_frame_equal(part, models.pair("vit", "cnn").to_pandas(tidy=True))


def test_to_xarray(tmp_path):
    models = fastcka.cka_models(networks())
    array = models.to_xarray()
    part = array.sel(model_a="cnn", model_b="vit")
    same = models.pair("cnn", "vit").to_xarray()
    np.testing.assert_array_equal(part.values, same.values)
    assert part.dims == same.dims
    assert part.layer_a.values.tolist() == ["conv1", "conv2", "fc"]
    np.testing.assert_array_equal(part.chance.values, same.chance.values)
    means = array.groupby("model_a").mean()
    np.testing.assert_allclose(means.sel(model_a="mlp"), np.asarray(models)[5])
    array.to_netcdf(tmp_path / "m.nc", engine="scipy")
    assert xarray.load_dataarray(tmp_path / "m.nc", engine="scipy").attrs["kernel"] == "linear"


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_saved_results_come_back_whole_or_not_at_all(tmp_path, suffix):
    nets = networks()
    nets["mlp"]["dead"] = np.ones((N, 2))
    with pytest.warns(DegenerateWarning):
        models = fastcka.cka_models(nets, kernel="rbf")
    path = tmp_path / f"m{suffix}"
    models.save(path)
    again = CKAModels.load(path)
    assert again.equals(models)
    assert again.models == models.models
    assert np.asarray(again).tobytes() == np.asarray(models).tobytes()
    with pytest.raises(
        ValueError, match=r"not a CKAMatrix saved by fastcka; its format is 'fastcka\.CKAModels'"
    ):
        CKAMatrix.load(path)
    models.matrix.save(tmp_path / f"matrix{suffix}")
    with pytest.raises(
        ValueError, match=r"not a CKAModels saved by fastcka; its format is 'fastcka\.CKAMatrix'"
    ):
        CKAModels.load(tmp_path / f"matrix{suffix}")
    data = path.read_bytes()
    coding = "utf-8" if suffix == ".json" else "utf-32-le"  # of the header
    edited = data.replace("conv1".encode(coding), "conv9".encode(coding))
    for broken in (data[: len(data) // 2], edited, b""):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged"):
            CKAModels.load(path)
    with pytest.raises(ValueError, match=r"ends in \.npz or \.json"):
        models.save(tmp_path / "m.pkl")


def test_a_file_whose_layers_are_not_those_of_its_matrix_is_refused(tmp_path):
    from fastcka.results import saved

    models = fastcka.cka_models(networks())
    for layers in ({"cnn": ["conv1"]}, ["cnn"], {"cnn": 3}, None):
        settings = {**models.settings(), "layers": layers}
        saved.write(tmp_path / "m.json", "CKAModels", settings, models.matrix._arrays())
        with pytest.raises(ValueError, match=r"m\.json: damaged, or not a CKAModels"):
            CKAModels.load(tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["layers"] is None


# Degenerate layers and bad input ----------------------------------------------------------------------------


def test_degenerate_layers_are_named_by_model_and_layer():
    nets = networks()
    nets["vit"]["fc"] = np.ones((N, 2))
    with pytest.warns(DegenerateWarning, match="layer 'fc' of model 'vit': ") as caught:
        models = fastcka.cka_models(nets)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert len(models.warnings) == 1
    assert np.isnan(models.pair("cnn", "vit").values).tolist() == [[False, True]] * 3
    assert not np.isnan(models.pair("cnn", "mlp").values).any()
    assert models.pair("cnn", "vit").warnings == models.pair("vit", "vit").warnings == models.warnings
    assert models.pair("cnn", "mlp").warnings == ()


def test_nan_is_refused_or_propagated():
    nets = networks()
    nets["vit"]["fc"][3, 1] = np.nan
    with pytest.raises(
        ValueError, match="layer 'fc' of model 'vit' contains NaN, first at sample 3, feature 1"
    ):
        fastcka.cka_models(nets)
    with pytest.warns(DegenerateWarning, match="layer 'fc' of model 'vit': contains NaN"):
        models = fastcka.cka_models(nets, nan_policy="propagate")
    expected = fastcka.cka_models({**nets, "vit": {"block": nets["vit"]["block"]}})
    np.testing.assert_array_equal(models.pair("cnn", "mlp").values, expected.pair("cnn", "mlp").values)


def test_a_collection_is_of_two_models_or_more():
    matrix = CKAMatrix([[1.0]], ("fc",), ("fc",), "linear", "biased", 10)
    with pytest.raises(ValueError, match=r"layers: expected those of at least two models, got \['a'\]"):
        CKAModels(matrix, {"a": ["fc"]})
    with pytest.raises(TypeError, match="layers: expected the names of the layers of 'b', got 'fc'"):
        CKAModels(matrix, {"a": ["fc"], "b": "fc"})


def test_bad_input():
    X, Y = networks()["cnn"], networks()["mlp"]
    for models, error, message in (
        ({}, ValueError, "at least two models, got none"),
        ({"a": X}, ValueError, "at least two models, got only 'a'"),
        ([X, Y], TypeError, "models must be a mapping of names to layers, got list"),
        (None, TypeError, "models must be a mapping"),
        ({1: X, "1": Y}, ValueError, "two models of the same name: the key .* '1'"),
        ({"a": {"b/fc": Y["fc"]}, "a/b": Y}, ValueError, "model 'a/b' are both 'a/b/fc': rename a model"),
        ({"a": X, "b": {}}, ValueError, "model 'b' is empty"),
        ({"a": X, "b": Y["fc"]}, TypeError, "model 'b' is a single numpy.ndarray of shape"),
        ({"a": X, "b": 3}, TypeError, "model 'b' must be a mapping of names to arrays or a sequence"),
        ({"a": X, "b": {0: Y["fc"], "0": Y["fc"]}}, ValueError, "model 'b' has two layers of the same name"),
        ({"a": X, "b": [np.zeros((N, 2, 2))]}, ValueError, "layer '0' of model 'b' must be two-dimensional"),
        (
            {"a": X, "b": [Y["fc"][:-1]]},
            ValueError,
            "layer 'conv1' of model 'a' has 40 samples but layer '0' of model 'b' has 39",
        ),
    ):
        with pytest.raises(error, match=message):
            fastcka.cka_models(models)
    nets = {"a": X, "b": Y}
    for arguments, message in (
        ({"estimator": "best"}, "unknown estimator 'best'"),
        ({"kernel": "rgb"}, "unknown kernel 'rgb'"),
        ({"nan_policy": "omit"}, "unknown nan_policy"),
        ({"dtype": "int8"}, "dtype"),
    ):
        with pytest.raises(ValueError, match=message):
            fastcka.cka_models(nets, **arguments)
    with pytest.raises(MemoryError, match="max_bytes is 1000"):
        fastcka.cka_models(nets, max_bytes=1000)
    with pytest.raises(TypeError, match="progress"):
        fastcka.cka_models(nets, progress=1)


def test_samples_are_compared_between_all_models(tmp_path):
    X = networks()["cnn"]["fc"]
    ids = [f"s{i}" for i in range(N)]

    def store(name, ids):
        with fastcka.create_store(tmp_path / name) as writer:
            writer.append({"fc": X}, ids=ids)
        return fastcka.open_store(tmp_path / name)

    a, b = store("a", ids), store("b", ids)
    frame = pandas.DataFrame(X, index=ids)
    same = fastcka.cka_models({"plain": [X], "a": a, "b": b, "frame": {"fc": frame}})
    np.testing.assert_allclose(same.summary("max").values, 1, rtol=0, atol=1e-12)
    turned = store("turned", ids[::-1])
    with pytest.raises(
        ValueError, match="model 'a' and model 'turned' hold different samples: sample 0 is 's0'"
    ):
        fastcka.cka_models({"plain": [X], "a": a, "turned": turned})
    with pytest.raises(ValueError, match=r"model 'a' and layer 'fc' of model 'frame' hold .*another order"):
        fastcka.cka_models({"a": a, "frame": {"fc": frame.iloc[::-1]}})
    with pytest.raises(ValueError, match="model 'a' and model 'other' hold different samples"):
        fastcka.cka_models({"a": a, "other": store("other", [f"t{i}" for i in range(N)])})


def test_provenance_is_kept_for_each_model_and_each_pair(tmp_path):
    nets = networks()
    with fastcka.create_store(tmp_path / "vit", provenance={"model": "vit-b"}) as writer:
        writer.append(nets["vit"], ids=[f"s{i}" for i in range(N)])
    models = fastcka.cka_models({**nets, "vit": fastcka.open_store(tmp_path / "vit")}, kernel="rbf")
    alone = fastcka.cka_matrix(nets["cnn"], fastcka.open_store(tmp_path / "vit"), kernel="rbf")
    assert models.pair("cnn", "vit").provenance == alone.provenance
    assert models.provenance["models"]["vit"]["source"] == str(tmp_path / "vit")
    assert models.provenance["models"]["mlp"]["widths"] == {"fc": 6}
    assert models.pair("vit", "mlp").provenance["samples"] == alone.provenance["samples"]
