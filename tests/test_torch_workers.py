# SPDX-License-Identifier: BSD-3-Clause
"""Workers of a data loader that call fastcka, after this process has used its threads: the same bits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset  # noqa: E402
from torch_models import samples  # noqa: E402

import fastcka  # noqa: E402


class Similarities(Dataset):
    """Computes an item where it is asked for, as a transform would."""

    def __len__(self):
        return 6

    def __getitem__(self, item):
        X = samples(600, 200, seed=item)
        return fastcka.cka(X, X[:, :150] ** 3, kernel="rbf", n_threads=2)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python warns of forks beside threads
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_compute_the_same(context):
    data = Similarities()
    here = [data[item] for item in range(len(data))]
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=120)
    assert list(loader) == here
    assert len(set(here)) == len(data)
