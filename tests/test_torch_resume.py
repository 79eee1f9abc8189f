# SPDX-License-Identifier: BSD-3-Clause
"""Extraction to disk: the same numbers, and an interrupted run resumes where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Broken, Encoder, breaking, labelled, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402


def extract(model, loader, layers="*", pool="flatten", **options):
    return fastcka.torch.extract(model, loader, layers, pool=pool, **{"progress": False, **options})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


def same(store, kept):
    assert list(store) == list(kept)
    assert store.ids == kept.ids
    for name, X in kept.items():
        np.testing.assert_array_equal(store[name], X)


def test_a_store_holds_what_memory_would(out):
    model, loader = mlp(), labelled(samples())
    store = extract(model, loader, out=out, ids=list("abcdefghijklmnopqrst"), provenance={"data": "random"})
    same(store, extract(model, loader, ids=list("abcdefghijklmnopqrst")))
    same(fastcka.open_layers(out), store)
    assert store.provenance["data"] == "random"
    noted = store.provenance["extract"]
    assert {k: noted[k] for k in ("model", "layers", "pool", "dtype", "left_out")} == {
        "model": "Sequential",
        "layers": "*",
        "pool": "flatten",
        "dtype": None,
        "left_out": {},
    }


def test_bfloat16_is_kept_as_it_is(out):
    model, x = mlp().bfloat16(), samples().bfloat16()
    store = extract(model, [x], "0", out=out)
    assert store["0"].dtype == "V2"
    assert fastcka.cka(store["0"], extract(model, [x], "0")["0"]) == pytest.approx(1, abs=1e-6)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return self.body(x)


@pytest.mark.parametrize("size", [4, 7, 20])  # 7: the first samples of a batch are on disk, the others not
def test_a_run_that_was_cut_goes_on_without_running_the_model_again(out, size):
    model, x = Counting(), samples()
    with pytest.raises(Broken):
        extract(model, breaking(x.split(4), after=3), out=out)
    assert fastcka.open_store(out).n_samples == 12
    model.seen = 0
    store = extract(model, x.split(size), out=out)
    assert store.n_samples == 20
    assert model.seen == {4: 8, 7: 13, 20: 20}[size]
    for name, X in extract(model, x.split(4)).items():
        np.testing.assert_allclose(store[name], X, rtol=0, atol=1e-6)  # products of other batch sizes
    model.seen = 0
    assert extract(model, x.split(4), out=out).n_samples == 20
    assert model.seen == 0


def test_tokens_go_on_at_the_right_sample(out):
    model, batches = Encoder(), texts()
    options = {"layers": "blocks.*", "pool": "tokens"}
    with pytest.raises(Broken):
        extract(model, breaking(batches, after=2), out=out, **options)
    same(extract(model, batches, out=out, **options), extract(model, batches, **options))


def test_more_samples_are_added_to_a_finished_store(out):
    model, loader = mlp(), labelled(samples())
    extract(model, loader, out=out, max_samples=10)
    same(extract(model, loader, out=out), extract(model, loader))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": mlp(seed=1)}, "of another run: parameters was"),
        ({"model": nn.Sequential(nn.Linear(6, 8))}, "of another run: parameters was"),
        (
            {"layers": "0"},
            r"layers was '\*' there, and is '0' here; choose another place, or remove that store",
        ),
        ({"pool": "mean"}, "pool was 'flatten' there, and is 'mean' here"),
        ({"dtype": "float64"}, "dtype was None there, and is 'float64' here"),
        ({"provenance": {"data": "others"}}, "data was 'mine' there, and is 'others' here"),
        ({"provenance": None}, "data was 'mine' there, and is None here"),
        (
            {"ids": [*range(19), 99]},
            "other samples than the loader: sample 19 is '19' there and 99 here|'99'",
        ),
        ({"ids": None}, "the samples in the store .* have ids, and this run has none"),
        ({"max_samples": 10}, "has 20 samples, this run gives only 10"),
    ],
)
def test_another_run_is_refused_and_the_store_left_alone(out, change, message):
    options = {"model": mlp(), "layers": "*", "provenance": {"data": "mine"}, "ids": list(range(20))}
    loader = labelled(samples())
    extract(loader=loader, out=out, **options)
    with pytest.raises(ValueError, match=message):
        extract(loader=loader, out=out, **options | change)
    assert fastcka.open_store(out).n_samples == 20


def test_a_shuffled_loader_cannot_be_gone_on_with_unless_ids_tell_its_samples(out):
    model, x = mlp(), samples()
    shuffled = labelled(x, shuffle=True)
    with pytest.raises(ValueError, match=r"loader is shuffled"):
        extract(model, shuffled, out=out)
    extract(model, labelled(x), out=out, max_samples=8)
    with pytest.raises(ValueError, match=r"loader is shuffled"):
        extract(model, shuffled, out=out)
    data = torch.utils.data.TensorDataset(x, torch.arange(20))
    named = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    other = out.with_name("other")
    torch.manual_seed(0)
    extract(model, named, out=other, max_samples=8, ids=lambda batch: batch[1])
    store = extract(model, named, out=other, ids=lambda batch: batch[1])  # the random state is as it was
    assert sorted(store.ids) == list(range(20))
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="has other samples than the loader: sample 0 is"):
        extract(model, named, out=other, ids=lambda batch: batch[1])


def test_a_run_pooled_by_a_lambda_is_not_gone_on_with(out):
    options = {"layers": "blocks.*", "max_samples": 4}
    extract(Encoder(), texts(), out=out, pool=lambda X: X.mean(1), **options)
    with pytest.raises(ValueError, match=r"was pooled by a lambda"):
        extract(Encoder(), texts(), out=out, pool=lambda X: X[:, 0], **options)


def test_a_model_that_is_compiled_is_the_same_one(out):
    extract(mlp(), labelled(samples()), out=out, max_samples=10)
    compiled = mlp()
    compiled[0] = torch.compile(compiled[0], backend="eager")
    assert extract(compiled, labelled(samples()), out=out).n_samples == 20


def test_one_type_spelled_in_two_ways_is_one_run(out):
    extract(mlp(), labelled(samples()), out=out, dtype="float16", max_samples=10)
    assert extract(mlp(), labelled(samples()), out=out, dtype=torch.float16).n_samples == 20


def test_other_layers_after_a_cut_are_refused(out):
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Identity(), nn.Identity()
            self.both = False

        def forward(self, x):
            return self.b(self.a(x)) if self.both else self.a(x)

    model = Growing()
    extract(model, samples().split(10), out=out, max_samples=10)
    model.both = True
    with pytest.raises(ValueError, match=r"has the layers \{'a': 6\}, this run has \{'a': 6, 'b': 6\}"):
        extract(model, samples().split(10), out=out)


def test_stores_of_others_and_the_taken_key_are_refused(out):
    with fastcka.create_store(out) as writer:
        writer.append({"a": np.ones((3, 2))})
    with pytest.raises(ValueError, match="was not written by extract"):
        extract(mlp(), [samples()], out=out)
    with pytest.raises(ValueError, match="provenance: the entry 'extract' is reserved"):
        extract(mlp(), [samples()], out=out, provenance={"extract": 1})


def test_size_on_disk_is_shown_and_bounded(out, capsys):
    exact = 20 * (8 + 8 + 5 + 5) * 4
    with pytest.raises(
        MemoryError, match=rf"take 2.08 kB \({exact} bytes\) on disk, more than max_bytes={exact - 1}"
    ):
        extract(mlp(), labelled(samples()), out=out, max_bytes=exact - 1)
    assert not out.exists()  # so that fewer layers can be tried in the same place
    extract(mlp(), labelled(samples()), out=out, max_bytes=exact, progress=True)
    assert f"extract: 4 layers of 20 samples, 2.08 kB in {out}" in capsys.readouterr().err
