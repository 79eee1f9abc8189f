# SPDX-License-Identifier: BSD-3-Clause
"""Samples keep their order, or have ids: what the sampler of a loader says decides."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch_models import mlp, samples  # noqa: E402

import fastcka  # noqa: E402

N = 12
DATA = TensorDataset(samples(N), torch.arange(N))


class Fixed(Sampler):
    def __init__(self, indices):
        self.indices = list(indices)

    def __iter__(self):
        return iter(self.indices)

    def __len__(self):
        return len(self.indices)


class Buckets(BatchSampler):
    """Batches of neighbours, in a random order."""

    def __iter__(self):
        batches = list(super().__iter__())
        return iter([batches[i] for i in torch.randperm(len(batches)).tolist()])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


def loader(sampler=None, batch_sampler=None):
    if batch_sampler is not None:
        return DataLoader(DATA, batch_sampler=batch_sampler)
    return DataLoader(DATA, batch_size=4, sampler=sampler)


def compare(one, other, **options):
    return fastcka.torch.compare(mlp(), mlp(seed=1), one, other, progress=False, **options)


def shuffled_loaders():
    return {
        "random": DataLoader(DATA, 4, shuffle=True),
        "subset": loader(SubsetRandomSampler(range(N))),
        "weighted": loader(WeightedRandomSampler(torch.ones(N), N, replacement=False)),
        "batches": loader(batch_sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)),
        "no batches of its own": DataLoader(
            DATA, batch_size=None, sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)
        ),
        "own batches": loader(batch_sampler=Buckets(RandomSampler(DATA), 4, drop_last=False)),
        "distributed": loader(DistributedSampler(DATA, 1, 0)),
    }


def unknown_loaders():
    return {
        "own sampler": loader(Fixed(range(N))),
        "list": loader(list(range(N))),
        "own batches": loader(batch_sampler=Buckets(SequentialSampler(DATA), 4, drop_last=False)),
        "batches of own": loader(batch_sampler=BatchSampler(Fixed(range(N)), 4, drop_last=False)),
    }


ORDERLY = {
    "distributed": lambda: loader(DistributedSampler(DATA, 1, 0, shuffle=False)),
    "batches": lambda: loader(batch_sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False)),
    "no batches of its own": lambda: DataLoader(
        DATA, batch_size=None, sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False)
    ),
    "list": lambda: DATA.tensors[0].split(4),
    "stream": lambda: DataLoader(Stream(), batch_size=4),
}


@pytest.mark.parametrize("out", [None, "store"])
@pytest.mark.parametrize("kind", shuffled_loaders())
def test_extract_refuses_a_shuffled_loader_without_ids(kind, out, tmp_path):
    shuffled = shuffled_loaders()[kind]
    out = out and tmp_path / out
    with pytest.raises(ValueError, match=r"loader is shuffled, .*shuffle=False, .*ids="):
        fastcka.torch.extract(mlp(), shuffled, out=out, progress=False)
    found = fastcka.torch.extract(mlp(), shuffled, out=out, ids=lambda batch: batch[1], progress=False)
    assert len(found.ids) == N


@pytest.mark.parametrize("kind", unknown_loaders())
def test_extract_accepts_an_order_that_cannot_be_known(kind, tmp_path):
    unknown = unknown_loaders()[kind]
    assert fastcka.torch.extract(mlp(), unknown, progress=False).n_samples == N
    fastcka.torch.extract(mlp(), unknown, out=tmp_path / "s", max_samples=4, progress=False)
    with pytest.raises(ValueError, match=r"cannot resume .*whose order is not known, and without ids="):
        fastcka.torch.extract(mlp(), unknown, out=tmp_path / "s", progress=False)


@pytest.mark.parametrize("kind", [*shuffled_loaders(), *unknown_loaders()])
def test_two_loaders_are_paired_only_where_both_say_their_order(kind):
    other = (shuffled_loaders() | unknown_loaders())[kind]
    for pair in ((other, loader()), (loader(), other)):
        with pytest.raises(ValueError, match=r"(is shuffled|order is not known), and cannot be paired"):
            compare(*pair)
    if kind in shuffled_loaders():
        with pytest.raises(ValueError, match="the loaders give different samples: sample"):
            compare(loader(), other, ids=lambda batch: batch[1])


@pytest.mark.parametrize("kind", ORDERLY)
def test_orderly_samplers_are_paired(kind):
    expected = compare(loader(), None)
    np.testing.assert_array_equal(compare(loader(), ORDERLY[kind]()), expected)
    np.testing.assert_allclose(
        compare(ORDERLY[kind](), loader()), expected, rtol=1e-4, atol=1e-5
    )  # sums or rows


def test_an_attribute_shuffle_tells_of_samplers_of_others():
    told = Fixed(range(N))
    told.shuffle = False
    np.testing.assert_array_equal(compare(loader(), loader(told)), compare(loader(), None))
    told.shuffle = True
    with pytest.raises(ValueError, match="loader is shuffled"):
        fastcka.torch.extract(mlp(), loader(told), progress=False)


def test_a_generator_of_a_batch_sampler_is_restored():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    shuffled = BatchSampler(RandomSampler(DATA, generator=generator), 4, drop_last=False)
    fastcka.torch.extract(mlp(), loader(batch_sampler=shuffled), ids=lambda batch: batch[1], progress=False)
    assert torch.equal(generator.get_state(), before)
