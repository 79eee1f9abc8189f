# SPDX-License-Identifier: BSD-3-Clause
"""Two loaders are paired only if their samplers, whosoever they are, give the same order."""

from __future__ import annotations

import random
import threading

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
    TensorDataset,
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


class Drawing(Fixed):
    """Shuffles by what `draw` gives, from wherever it is."""

    def __init__(self, draw):
        super().__init__(range(N))
        self.draw = draw

    def __iter__(self):
        return iter(sorted(range(N), key=[self.draw() for _ in range(N)].__getitem__))


class Epochs(Fixed):
    """Another order in each pass, without a random number: it counts them."""

    def __init__(self):
        super().__init__(range(N))
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        return iter([(i * 5 + self.epoch) % N for i in range(N)])


class Seeded(Fixed):
    """The same order in each pass, by its seed."""

    def __init__(self, seed):
        super().__init__(torch.randperm(N, generator=torch.Generator().manual_seed(seed)).tolist())


class Buckets(BatchSampler):
    """Batches of neighbours, in a random order."""

    def __iter__(self):
        batches = list(super().__iter__())
        return iter([batches[i] for i in torch.randperm(len(batches)).tolist()])


class Endless(Fixed):
    __len__ = None

    def __iter__(self):
        while True:
            yield from self.indices


def loader(sampler=None, batch_sampler=None):
    if batch_sampler is not None:
        return DataLoader(DATA, batch_sampler=batch_sampler)
    return DataLoader(DATA, batch_size=4, sampler=sampler)


def compare(one, other, **options):
    return fastcka.torch.compare(mlp(), mlp(seed=1), one, other, progress=False, **options)


def shuffling():
    generator = np.random.default_rng(0)
    own = torch.Generator().manual_seed(0)
    return {
        "torch": loader(Drawing(lambda: torch.rand(1).item())),
        "numpy": loader(Drawing(lambda: np.random.rand())),  # noqa: NPY002
        "python": loader(Drawing(random.random)),
        "own of numpy": loader(Drawing(generator.random)),
        "own of torch": loader(Drawing(lambda: torch.rand(1, generator=own).item())),
        "epochs": loader(Epochs()),
        "buckets": loader(batch_sampler=Buckets(SequentialSampler(DATA), 4, drop_last=False)),
        "random in batches": loader(batch_sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)),
        "no batches of its own": DataLoader(
            DATA, batch_size=None, sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)
        ),
        "distributed": loader(DistributedSampler(DATA, 1, 0)),
    }


@pytest.mark.parametrize("kind", shuffling())
def test_any_sampler_that_changes_its_order_is_refused_unless_there_are_ids(kind, tmp_path):
    shuffled = shuffling()[kind]
    for pair in ((shuffled, loader()), (loader(), shuffled)):
        with pytest.raises(ValueError, match=r"(is shuffled|another order each time), and cannot be paired"):
            compare(*pair)
    with pytest.raises(ValueError, match="the loaders give different samples: sample"):
        compare(loader(), shuffled, ids=lambda batch: batch[1])
    fastcka.torch.extract(mlp(), shuffled, out=tmp_path / "s", n_samples=4, progress=False)
    with pytest.raises(ValueError, match=r"cannot go on with .*, and without ids= its samples"):
        fastcka.torch.extract(mlp(), shuffled, out=tmp_path / "s", progress=False)


@pytest.mark.parametrize(
    "other",
    [
        loader(Fixed(range(N))),
        loader(list(range(N))),
        loader(torch.arange(N)),
        loader(np.arange(N)),
        loader(DistributedSampler(DATA, 1, 0, shuffle=False)),
        loader(batch_sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False)),
        loader(batch_sampler=BatchSampler(Fixed(range(N)), 4, drop_last=False)),
        loader(batch_sampler=[list(range(i, i + 4)) for i in range(0, N, 4)]),
        DataLoader(DATA, batch_size=None, sampler=BatchSampler(SequentialSampler(DATA), 4, drop_last=False)),
        DATA.tensors[0].split(4),
    ],
    ids=lambda other: type(getattr(other, "batch_sampler", other)).__name__,
)
def test_orderly_samplers_are_paired(other):
    expected = compare(loader(), None)
    np.testing.assert_array_equal(compare(loader(), other), expected)
    np.testing.assert_array_equal(compare(other, loader()), expected)


def test_samplers_of_one_order_are_paired_with_one_another_only():
    np.testing.assert_array_equal(
        compare(loader(Seeded(0)), loader(Seeded(0))), compare(loader(Seeded(0)), None)
    )
    for other in (Seeded(1), None):
        with pytest.raises(ValueError, match="loader and loader_b give the same indices in different orders"):
            compare(loader(Seeded(0)), loader(other))
    chosen = [9, 1, 4, 6, 3]  # the same samples, chosen by the one loader and before the other
    there = DataLoader(TensorDataset(DATA.tensors[0][chosen]), batch_size=4)
    expected = compare(there, None)
    np.testing.assert_array_equal(compare(loader(Fixed(chosen)), there), expected)


def test_looking_at_a_sampler_disturbs_nothing():
    generator = torch.Generator().manual_seed(5)

    class Own(Drawing):
        def __init__(self):
            super().__init__(None)
            self.own, self.generator = np.random.default_rng(3), generator

        def __iter__(self):
            self.own.random(), torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
            return iter(torch.randperm(N, generator=self.generator).tolist())

    def state(sampler):
        return (
            sampler.own.bit_generator.state,
            generator.get_state().tolist(),
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
        )

    epochs, own = Epochs(), Own()
    before = state(own)
    for sampler in (epochs, own):
        with pytest.raises(ValueError, match="another order each time"):
            compare(loader(), loader(sampler))
    assert epochs.epoch == 0
    assert state(own) == before


def test_a_generator_of_a_batch_sampler_is_restored():
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    shuffled = BatchSampler(RandomSampler(DATA, generator=generator), 4, drop_last=False)
    fastcka.torch.extract(mlp(), loader(batch_sampler=shuffled), progress=False)
    assert torch.equal(generator.get_state(), before)


def test_data_are_not_copied_and_not_loaded_to_look_at_the_order():
    class Heavy:  # many data sets are no torch.utils.data.Dataset
        loaded = 0

        def __len__(self):
            return N

        def __getitem__(self, index):
            self.loaded += 1
            return DATA[index][0]

        def __deepcopy__(self, memo):
            raise AssertionError("copied")

    data = Heavy()
    sampler = BatchSampler(DistributedSampler(data, 1, 0, shuffle=False), 4, drop_last=False)
    other = DataLoader(data, batch_sampler=sampler)
    with pytest.raises(ValueError, match="loader is shuffled"):
        compare(loader(RandomSampler(DATA)), other)
    assert data.loaded == 0
    np.testing.assert_array_equal(compare(loader(), other), compare(loader(), None))


def test_samplers_that_cannot_be_looked_at_are_refused():
    once = (i for i in range(N))
    with pytest.raises(
        ValueError, match=r"loader_b has a sampler, generator, whose order is not known \(TypeError"
    ):
        compare(loader(), loader(once))
    assert next(once) == 0  # it was not touched

    class Locked(Fixed):
        def __init__(self):
            super().__init__(range(N))
            self.lock = threading.Lock()

    with pytest.raises(ValueError, match=r"a sampler, Locked, whose order is not known \(TypeError: cannot"):
        compare(loader(), loader(Locked()))
    Locked.shuffle = False
    np.testing.assert_array_equal(compare(loader(), loader(Locked())), compare(loader(), None))


def test_endless_samplers_and_iterable_data_are_no_trap():
    endless = loader(Endless(range(N)))
    expected = compare(loader(), None)
    np.testing.assert_array_equal(compare(endless, endless, n_samples=N), expected)
    np.testing.assert_array_equal(compare(endless, loader(Endless(range(N))), n_samples=N), expected)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(DATA)

    np.testing.assert_array_equal(compare(loader(), DataLoader(Stream(), batch_size=4)), expected)
