# SPDX-License-Identifier: BSD-3-Clause
"""Two models on several loaders."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_models import labelled, mlp, samples  # noqa: E402

import fastcka  # noqa: E402
from fastcka.torch import compare, compare_loaders  # noqa: E402

DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset


def test_each_matrix_is_that_of_its_loader():
    a, b = mlp(), mlp((6, 9, 3))
    loaders = {"clean": labelled(samples(40)), "noisy": labelled(samples(30, seed=2))}
    matrices = compare_loaders(a, b, loaders, layers_a="0", estimator="unbiased")
    assert list(matrices) == ["clean", "noisy"]
    for name, matrix in matrices.items():
        alone = compare(a, b, loaders[name], layers_a="0", estimator="unbiased")
        assert matrix.equals(alone)
        assert matrix.provenance["torch"]["data"] == alone.provenance["torch"]["data"]
    assert not np.allclose(matrices["clean"].values, matrices["noisy"].values)


def test_the_other_model_may_have_loaders_of_its_own():
    a, b = mlp(), mlp()
    x = samples(40)
    loaders, turned = {"all": labelled(x)}, {"all": labelled(-x)}
    matrix = compare_loaders(a, b, loaders, turned)["all"]
    expected = compare(a, b, labelled(x), labelled(-x))
    np.testing.assert_array_equal(matrix.values, expected.values)


def test_an_error_names_the_loader():
    loaders = {"good": labelled(samples()), "bad": [samples(20, 5)]}
    with pytest.raises(RuntimeError) as caught:
        compare_loaders(mlp(), mlp(), loaders)
    assert "loader 'bad'" in caught.value.__notes__


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (([samples()],), TypeError, "loaders must be a mapping of names to loaders, got list"),
        (({},), ValueError, "loaders is empty"),
        (({"a": [samples()]}, [samples()]), TypeError, "loaders_b must be a mapping"),
        (({"a": [samples()]}, {"b": [samples()]}), ValueError, "must have the names of loaders, a; it has b"),
    ],
)
def test_what_is_no_mapping_of_loaders_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        compare_loaders(mlp(), mlp(), *given)


@pytest.mark.parametrize("kind", [dict, list])
def test_the_other_functions_refuse_several_loaders_with_advice(kind):
    one = DataLoader(TensorDataset(samples()), batch_size=8)
    several = {"clean": one, "noisy": one} if kind is dict else [one, one]
    with pytest.raises(TypeError, match="compare_loaders"):
        fastcka.torch.compare(mlp(), mlp(), several)
    with pytest.raises(TypeError, match="compare_loaders"):
        fastcka.torch.extract(mlp(), several)
