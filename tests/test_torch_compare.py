# SPDX-License-Identifier: BSD-3-Clause
"""`fastcka.torch.compare` against the reference on activations that were kept."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from tolerances import TOLERANCE

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset, default_collate  # noqa: E402
from torch_models import Broken, Encoder, Repeated, Residual, breaking, labelled, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402
from fastcka import reference  # noqa: E402

# Modules compute in float32; the comparison starts from the same float32 activations.
CKA = {"rtol": 0, "atol": TOLERANCE["float32", "cka"]}


def compare(model_a, model_b, loader, *args, **options):
    return fastcka.torch.compare(model_a, model_b, loader, *args, **{"progress": False, **options})


def expected(
    model_a, model_b, batches, batches_b=None, *, layers_a="*", layers_b="*", pool="flatten", **options
):
    """CKA by the reference of all activations together."""
    a = fastcka.torch.extract(model_a, batches, layers_a, pool=pool, progress=False)
    b = fastcka.torch.extract(model_b, batches_b or batches, layers_b, pool=pool, progress=False)
    settings = {"estimator": "biased", **options}
    return reference.cka_matrix(list(a.values()), list(b.values()), **settings)


def models():
    return mlp((6, 9, 7), seed=0), nn.Sequential(mlp((6, 8, 5), seed=1), nn.Linear(5, 4))


# -------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("way", ["sums of", "with kept activations"])
def test_exact_values_are_those_of_all_samples_together(estimator, way, capsys):
    a, b = models()
    x = samples(100)
    # Without a length it is not known what the activations would take.
    loader = iter(x.split(16)) if way == "sums of" else labelled(x, 16)
    matrix = compare(a, b, loader, estimator=estimator, progress=True)
    assert f"compare: 4 x 6 layers, exact, {way}" in capsys.readouterr().err
    np.testing.assert_allclose(matrix, expected(a, b, x.split(16), estimator=estimator), **CKA)
    assert (matrix.method, matrix.estimator, matrix.n_samples) == ("exact", estimator, 100)
    assert matrix.rows == ("0", "1", "2", "3")
    assert matrix.columns == ("0.0", "0.1", "0.2", "0.3", "0", "1")
    assert matrix.models == ("Sequential A", "Sequential B")


def test_batches_count_once_and_their_size_does_not_matter():
    a, b = models()
    x = samples(100)
    first = compare(a, b, x.split(100))
    for loader in (x.split(7), labelled(x, 33), (part for part in x.split(50))):
        np.testing.assert_allclose(compare(a, b, loader), first, **CKA)


@pytest.mark.parametrize("kernel", ["rbf", fastcka.Polynomial(2)])
def test_other_kernels_are_exact_on_kept_activations(kernel):
    a, b = models()
    x = samples(60)
    matrix = compare(a, b, x.split(16), kernel=kernel, estimator="biased")
    np.testing.assert_allclose(matrix, expected(a, b, x.split(16), kernel=kernel, estimator="biased"), **CKA)
    assert matrix.method == "exact"


@pytest.mark.parametrize("split", [torch.split, labelled, lambda x, size: iter(x.split(size))])
@pytest.mark.parametrize(
    ("n", "size", "ends"),
    [
        (64, 16, [(0, 16), (16, 32), (32, 48), (48, 64)]),
        (66, 16, [(0, 16), (16, 32), (32, 48), (48, 66)]),  # the last batch of 2 joins the one before
        (68, 16, [(0, 16), (16, 32), (32, 48), (48, 64), (64, 68)]),
        (20, 3, [(0, 6), (6, 12), (12, 20)]),  # small batches join the next one
    ],
)
def test_minibatch_is_the_ratio_of_sums_of_hsic_within_batches(split, n, size, ends):
    a, b = models()
    x = samples(n)
    matrix = compare(a, b, split(x, size), method="minibatch")
    assert matrix.method == "minibatch"
    assert matrix.n_samples == n
    A = list(fastcka.torch.extract(a, x.split(16), progress=False).values())
    B = list(fastcka.torch.extract(b, x.split(16), progress=False).values())

    def total(X, Y):
        return sum(reference.hsic(X[i:j], Y[i:j], estimator="unbiased") for i, j in ends)

    ratio = [[total(X, Y) / np.sqrt(total(X, X) * total(Y, Y)) for Y in B] for X in A]
    np.testing.assert_allclose(matrix, ratio, **CKA)


def test_minibatch_lets_go_of_batches_when_the_loader_says_what_is_to_come(monkeypatch):
    add, empty_bytes = fastcka.StreamingCKA._add, fastcka._core.empty_bytes
    # Arrays of a batch that waits; a batch that is added at once is memory of the model, and not copied.
    taken = []  # samples of each batch added
    seen = []  # their number when the model begins with the next one, and how many arrays are still there
    arrays = []

    def watched_add(self, batch):
        taken.append(batch.n_samples)
        add(self, batch)

    def watched_bytes(size):
        memory = empty_bytes(size)
        arrays.append(weakref.ref(memory))
        return memory

    class Watching(nn.Sequential):
        def forward(self, x):
            seen.append((len(taken), sum(array() is not None for array in arrays)))
            return super().forward(x)

    monkeypatch.setattr(fastcka.StreamingCKA, "_add", watched_add)
    monkeypatch.setattr(fastcka._core, "empty_bytes", watched_bytes)
    model = Watching(nn.Linear(6, 4))
    for loader, before in (
        # The last batch has 2 samples, and the one before waits for it. What waits is copied: one array of
        # each model; what is added at once is memory of the model.
        (labelled(samples(34), 8), [(0, 0), (1, 0), (2, 0), (3, 0), (3, 2)]),
        (samples(34).split(8), [(0, 0), (1, 0), (2, 0), (3, 0), (3, 2)]),
        (iter(samples(34).split(8)), [(0, 0), (0, 2), (1, 2), (2, 2), (3, 2)]),  # each one waits
    ):
        taken.clear()
        seen.clear()
        compare(model, nn.Sequential(nn.Linear(6, 3)), loader, method="minibatch")
        assert (taken, seen) == ([8, 8, 8, 10], before)


@pytest.mark.parametrize(
    "collate", [lambda rows: default_collate(rows + rows), lambda rows: default_collate(rows[:3])]
)
@pytest.mark.parametrize("n", [17, 21, 22, 29, 33, 36])
def test_minibatch_with_a_loader_that_gives_more_or_fewer_samples_than_it_says(collate, n):
    a, b = models()
    loader = labelled(samples(n), 4, collate_fn=collate)
    rows = sum(len(x) for x, _ in loader)
    assert rows != n
    assert compare(a, b, loader, method="minibatch").n_samples == rows


def test_a_model_compared_with_itself_has_ones_on_the_diagonal_also_shuffled():
    model = mlp()
    loader = labelled(samples(60), 16, shuffle=True)
    matrix = compare(model, model, loader, loader)  # the same loader twice is read once
    np.testing.assert_allclose(np.diag(matrix.values), 1, **CKA)
    np.testing.assert_allclose(matrix, expected(model, model, samples(60).split(60)), **CKA)


def test_models_that_share_modules_and_work_in_place():
    body = Residual()
    a, b = nn.Sequential(body), nn.Sequential(body, nn.ReLU(inplace=True))
    x = samples(30, 3, 4, 4)
    np.testing.assert_allclose(compare(a, b, [x]), expected(a, b, [x]), **CKA)
    in_place = nn.Sequential(nn.ReLU(inplace=True)), nn.Sequential(nn.Identity())
    np.testing.assert_allclose(compare(*in_place, [x]), expected(*in_place, [x.clone()]), **CKA)
    assert (x < 0).any()


def test_layers_and_pools_of_each_side():
    convolutional, flat = Residual(), nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    x = samples(30, 3, 4, 4)
    matrix = compare(
        convolutional, flat, [x], layers_a=nn.Conv2d, layers_b=nn.Linear, pool_a="gap", pool_b="flatten"
    )
    a = fastcka.torch.extract(convolutional, [x], "conv", pool="gap", progress=False)
    b = fastcka.torch.extract(flat, [x], "1", progress=False)
    assert (matrix.rows, matrix.columns, matrix.models) == (("conv",), ("1",), ("Residual", "Sequential"))
    np.testing.assert_allclose(matrix, fastcka.cka_matrix(a, b), **CKA)


def test_n_samples_and_progress():
    a, b = models()
    x, seen = samples(100), []
    matrix = compare(a, b, breaking(x.split(16), 3), max_samples=40, progress=lambda *done: seen.append(done))
    assert matrix.n_samples == 40
    assert seen == [(16, 40), (32, 40), (40, 40)]
    np.testing.assert_allclose(matrix, expected(a, b, [x[:40]]), **CKA)


# --------------------------------------------------------------------------------------------- two inputs


def test_transform_b_makes_the_inputs_of_the_second_model():
    small, large = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Conv2d(3, 5, 3))
    x = samples(40, 3, 4, 4)
    bigger = nn.Upsample(scale_factor=2)
    matrix = compare(small, large, labelled(x, 16), transform_b=lambda batch: bigger(batch[0]), pool="gap")
    np.testing.assert_allclose(
        matrix, expected(small, large, x.split(16), [bigger(part) for part in x.split(16)], pool="gap"), **CKA
    )
    with pytest.raises(
        ValueError, match="from sample 0 on has 40 samples from loader but 39 from transform_b"
    ):
        compare(small, large, [x], transform_b=lambda batch: batch[1:])
    with pytest.raises(TypeError, match=r"a batch must be a tensor.* got NoneType") as error:
        compare(small, large, [x], transform_b=lambda batch: None)
    assert error.value.__notes__ == ["the batch from sample 0 on, from transform_b"]


def test_two_loaders_with_two_tokenisers():
    a, b = Encoder(seed=0), Encoder(seed=1)
    one, other = texts(30, 5, 10), texts(30, 7, 10, seed=9)
    options = {"layers_a": "blocks.?", "layers_b": "blocks.?", "pool": "mean"}
    matrix = compare(a, b, one, other, ids="sample", **options)
    np.testing.assert_allclose(matrix, expected(a, b, one, other, **options), **CKA)
    other[1]["sample"][3] = 7
    with pytest.raises(ValueError, match="sample 13 is 113 from loader and 7 from loader_b"):
        compare(a, b, one, other, ids="sample", **options)
    with pytest.raises(ValueError, match="sample 0 is 5 from loader and 100 from loader_b"):
        compare(a, b, one, other, ids=[5] * 30, ids_b="sample", **options)


def test_ids_that_cannot_be_compared_are_refused():
    with pytest.raises(
        ValueError, match="ids are compared between loader and loader_b, and there is no loader_b"
    ):
        compare(Encoder(), Encoder(), texts(), ids="sample")
    with pytest.raises(ValueError, match="ids and ids_b belong together"):
        compare(Encoder(), Encoder(), texts(), texts(), ids=[1, 2])


def test_shuffled_loaders_are_refused_unless_ids_agree():
    a, b = models()
    x = samples(40)

    def loader(shuffle, seed=0):
        data = TensorDataset(x, torch.arange(40))
        return DataLoader(data, 16, shuffle=shuffle, generator=torch.Generator().manual_seed(seed))

    with pytest.raises(ValueError, match="loader is shuffled, and cannot be paired with another one"):
        compare(a, b, loader(True), loader(True, 1))
    with pytest.raises(ValueError, match="loader_b is shuffled"):
        compare(a, b, loader(False), loader(True))
    ids = {"ids": lambda batch: batch[1]}
    matrix = compare(a, b, loader(True), loader(True), **ids)  # two generators of one seed
    np.testing.assert_allclose(matrix, expected(a, b, [x]), **CKA)
    with pytest.raises(ValueError, match="the loaders give different samples: sample"):
        compare(a, b, loader(True), loader(True, 1), **ids)


def test_batches_without_samples_are_passed_over():
    a, b = models()
    x = samples(40)
    expected = compare(a, b, x.split(20))
    for method in ("exact", "minibatch"):
        batches = [x[:0], x[:20], x[:0], x[20:], x[:0]]
        np.testing.assert_array_equal(
            compare(a, b, batches, method=method), compare(a, b, x.split(20), method=method)
        )
    np.testing.assert_array_equal(compare(a, b, [x[:20], x[:0], x[20:]], [x[:20], x[:0], x[20:]]), expected)
    with pytest.raises(ValueError, match="loader gave no sample"):
        compare(a, b, [x[:0]])


def test_loaders_of_different_length_are_refused_with_both_counts():
    a, b = models()
    x = samples(40)
    with pytest.raises(
        ValueError, match="loader has 40 samples and loader_b 39: both must give the same ones"
    ):
        compare(a, b, labelled(x, 10), labelled(x[:39], 10))
    with pytest.raises(ValueError, match="loader_b ended after 20 samples"):
        compare(a, b, x.split(10), iter(x[:20].split(10)))
    with pytest.raises(ValueError, match="loader ended after 20 samples"):
        compare(a, b, iter(x[:20].split(10)), x.split(10))
    with pytest.raises(
        ValueError, match="10 samples from loader but 20 from loader_b: give both loaders the same"
    ):
        compare(a, b, x.split(10), x.split(20))
    assert compare(a, b, labelled(x, 10), labelled(x[:39], 10), max_samples=30).n_samples == 30


# ------------------------------------------------------------------------------------------------- tokens


class Words(nn.Module):
    """Takes no mask, unlike `Encoder`."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 6)

    def forward(self, input_ids):
        return self.embed(input_ids)


def test_tokens_are_the_same_positions_in_both_models():
    a, b, batches = Encoder(), Words(), texts(20, 6, 5)
    matrix = compare(a, b, batches, layers_a="blocks.?", pool="tokens")
    kept = torch.cat([batch["attention_mask"] for batch in batches]).bool()
    assert matrix.n_samples == int(kept.sum())
    rows = fastcka.torch.extract(a, batches, "blocks.?", pool="tokens", progress=False)
    words = b.embed(torch.cat([batch["input_ids"] for batch in batches]))[kept].detach().numpy()
    np.testing.assert_allclose(
        matrix, reference.cka_matrix(list(rows.values()), [words], estimator="biased"), **CKA
    )


def test_the_mask_that_one_model_takes_from_a_tuple_decides_for_both():
    class Takes(Words):
        def forward(self, input_ids, attention_mask):
            return super().forward(input_ids)

    torch.manual_seed(0)
    a, b = Takes(), Words()
    tuples = [(batch["input_ids"], batch["attention_mask"]) for batch in texts(20, 6, 5)]
    for first, second in ((a, b), (b, a)):
        matrix = compare(first, second, tuples, pool="tokens")
        np.testing.assert_array_equal(matrix, compare(first, second, texts(20, 6, 5), pool="tokens"))
        assert matrix.n_samples == sum(int(mask.sum()) for _, mask in tuples)


def test_tokens_of_different_positions_are_refused():
    with pytest.raises(ValueError, match="pool 'tokens' compares the same positions in both models"):
        compare(
            Encoder(), Encoder(), texts(8, 5), texts(8, 7), layers_a="embed", layers_b="embed", pool="tokens"
        )
    with pytest.raises(ValueError, match="'tokens' makes positions the samples: use it for both models"):
        compare(Encoder(), Encoder(), texts(), pool_a="tokens", pool_b="mean")


# ------------------------------------------------------------------------------------------------- memory


def test_auto_turns_to_minibatches_with_a_warning_when_exact_takes_too_much():
    a, b = models()
    x = samples(400)
    with pytest.warns(
        UserWarning,
        match=r"exact CKA would take .*: mini-batch CKA with the unbiased estimator, not the biased",
    ):
        matrix = compare(a, b, x.split(50), max_bytes=20_000)
    assert (matrix.method, matrix.estimator) == ("minibatch", "unbiased")
    assert compare(a, b, x.split(50)).estimator == "biased"
    np.testing.assert_array_equal(matrix, compare(a, b, x.split(50), method="minibatch"))
    with pytest.raises(
        MemoryError, match=r"exact CKA would take .* more than 20 kB: pool, choose fewer layers"
    ):
        compare(a, b, x.split(50), max_bytes=20_000, method="exact")
    with pytest.raises(MemoryError, match="mini-batch CKA is always unbiased"):
        compare(a, b, x.split(50), max_bytes=20_000, estimator="biased")


def test_kernels_that_need_all_samples_are_minibatch_where_their_number_is_not_known():
    a, b = models()
    with pytest.warns(UserWarning, match="keeps all activations, and the loader does not say how many"):
        matrix = compare(a, b, (x for x in samples(100).split(25)), kernel="rbf")
    assert (matrix.method, matrix.kernel) == ("minibatch", "rbf")
    assert compare(a, b, (x for x in samples(100).split(25)), kernel="rbf", max_samples=50).method == "exact"


# ---------------------------------------------------------------------------------------------- bad input


class Diverging(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.good, self.bad, self.at = nn.Linear(6, 5), nn.Identity(), at

    def forward(self, x):
        y = self.good(x)
        self.bad(y.masked_fill(x[:, :1] == self.at, float("inf")))
        return y


@pytest.mark.parametrize("position", [2, 30])  # in the first batch, and in a later one
@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_a_layer_that_is_not_finite_is_nan_and_named_and_the_others_unharmed(position, method):
    x = samples(40)
    x[position, 0] = 77
    a, b = Diverging(at=77), mlp()
    reason = f"layer 'bad' of Diverging: contains infinity, first at sample {position}, feature 0"
    with pytest.warns(fastcka.DegenerateWarning, match=reason) as caught:
        matrix = compare(a, b, x.split(10), method=method)
    assert len(caught) == 1
    assert matrix.warnings == (reason,)
    assert np.isnan(matrix.values[matrix.rows.index("bad")]).all()
    np.testing.assert_array_equal(
        matrix.values[matrix.rows.index("good")],
        compare(a, b, x.split(10), method=method, layers_a="good").values[0],
    )


def test_layers_without_variation_are_nan_and_named():
    a = nn.Sequential(nn.Linear(6, 3), nn.Threshold(1e9, 1.0))
    with pytest.warns(fastcka.DegenerateWarning, match="layer '1' of Sequential A"):
        matrix = compare(a, mlp(), samples(40).split(10))
    assert np.isnan(matrix.values[1]).all()
    assert np.isfinite(matrix.values[0]).all()


def test_dead_layers_are_named_once_by_their_network():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.zero, self.bad = nn.Threshold(1e9, 1.0), nn.Identity()

        def forward(self, x):
            return self.bad(self.zero(x) * float("nan"))

    rows = samples(40).split(10)
    # By a stream of sums, as nobody knows how many samples there are; by kept rows; by mini-batches.
    for loader, method in ((iter(rows), "exact"), (rows, "exact"), (rows, "minibatch")):
        with pytest.warns(fastcka.DegenerateWarning) as caught:
            matrix = compare(Dead(), Dead(), loader, names=("one", "two"), method=method)
        assert len(caught) == 1
        assert matrix.models == ("one", "two")
        told = [(text.split("'")[1], text.split(" of ")[1].split(":")[0]) for text in matrix.warnings]
        assert sorted(told) == [("bad", "one"), ("bad", "two"), ("zero", "one"), ("zero", "two")]
        assert not any("batch_" in text or "layers_" in text for text in matrix.warnings)


def test_names_of_the_networks():
    a, b = mlp(), mlp(seed=1)
    a.config, b.config = (type("Config", (), {"name_or_path": name}) for name in ("org/one", "org/two"))
    assert compare(a, b, [samples()]).models == ("org/one", "org/two")
    assert compare(a, b, [samples()], names=["x", "y"]).models == ("x", "y")
    assert compare(a, a, [samples()]).models == ("org/one A", "org/one B")
    with pytest.raises(TypeError, match="names must be two strings"):
        compare(a, b, [samples()], names="xy")


def test_inputs_go_to_the_device_asked_for():
    with pytest.raises(Exception, match="meta"):
        compare(mlp(), mlp(), [samples()], device="meta")


def test_layers_that_do_not_fit_are_left_out_of_the_result_and_named_in_it():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.turn = nn.Linear(6, 6), nn.Identity()

        def forward(self, x):
            return self.turn(torch.einsum("nf->fn", self.body(x)))

    with pytest.warns(
        UserWarning, match="skipped: layer 'turn' of model_b: its first dimension is not the batch"
    ):
        matrix = compare(mlp(), Turned(), samples(40).split(10))
    assert matrix.columns == ("body",)
    assert matrix.warnings[0].startswith("skipped: layer 'turn' of model_b: its first dimension is not")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers_b": "nothing"}, ValueError, "layers_b: no layer fits 'nothing'"),
        ({"pool_a": "avg"}, ValueError, "unknown pool_a 'avg'"),
        ({"method": "fast"}, ValueError, "unknown method 'fast'"),
        ({"kernel": "precomputed"}, ValueError, "kernel 'precomputed' is for Gram matrices"),
        ({"estimator": "none"}, ValueError, "unknown estimator 'none'"),
        ({"dtype": "float16"}, ValueError, "dtype is the type of the arithmetic"),
        ({"method": "minibatch", "estimator": "biased"}, ValueError, 'for estimator="unbiased" only'),
        ({"model_b": 3}, TypeError, "model_b must be a torch.nn.Module, got int"),
        ({"loader_b": samples()}, TypeError, "loader_b is a single torch.Tensor"),
        ({"loader": []}, ValueError, "loader gave no sample"),
        (
            {"loader": [samples(3)], "estimator": "unbiased"},
            ValueError,
            "unbiased estimator needs at least 4 samples",
        ),
    ],
)
def test_bad_arguments(change, error, message):
    options = {"model_a": mlp(), "model_b": mlp(), "loader": [samples()], **change}
    with pytest.raises(error, match=message):
        compare(**options)


def test_an_error_of_a_model_says_which_and_both_are_left_as_they_were():
    a, b = mlp().train(), nn.Sequential(nn.Linear(7, 3)).train()
    with pytest.raises(RuntimeError) as error:
        compare(a, b, [samples()])
    assert error.value.__notes__ == ["while running model_b"]
    assert a.training
    assert b.training
    for model in (a, b):
        assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(Broken):
        compare(Repeated(), mlp(), breaking([samples()] * 3, 2))
