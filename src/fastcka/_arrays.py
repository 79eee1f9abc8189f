# SPDX-License-Identifier: BSD-3-Clause
"""Turn inputs into arrays that the core reads, without a copy, or raise an error that explains why not.

What has to look at values is in _values.py, but for NaN and infinity, which the core finds while it packs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._arguments import ESTIMATORS, Measure, check_arithmetic, type_name

# numpy.typing.ArrayLike knows neither torch tensors nor DLPack; what is accepted is decided by
# as_representation.
ArrayLike: TypeAlias = Any
Layers: TypeAlias = Mapping[Any, ArrayLike] | Iterable[ArrayLike]
Array: TypeAlias = NDArray[Any]
T = TypeVar("T")


class Shaped(Protocol):
    """An array, or what knows as much of itself."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...


_NATIVE = frozenset(np.dtype(code) for code in "?bBhHiIlLqQefd")
_DTYPES = "float64, float32, float16, bfloat16, integers and bool"


# ---------------------------------------------------------------------- representations


def as_representation(X: ArrayLike, label: str) -> Array:
    """Return `X` as an array (n_samples, n_features) of a dtype that the core reads, sharing its memory.

    bfloat16 comes out as dtype kind "V" with 2 bytes, however it came in. `label` names the input in errors.
    """
    if type(X) is np.ndarray and X.ndim == 2 and X.dtype in _NATIVE and X.flags.aligned:
        array: Array = X
    else:
        array = readable(_as_numpy(X, label), label)
        check_two_dimensional(array, label)
    if array.size == 0:
        what = "features" if array.shape[1] == 0 else "samples"
        raise ValueError(f"{label} has no {what}: its shape is {array.shape}")
    return array


def as_layers(layers: Layers, argument: str) -> tuple[tuple[str, ...], list[Array]]:
    """Return names and representations of a mapping, or of a sequence, whose names are "0", "1", ..."""
    named = named_layers(layers, argument)
    return tuple(named), as_representations(named, argument)


def as_representations(named: Mapping[str, ArrayLike], argument: str) -> list[Array]:
    """Return the representations of layers by name."""
    return [as_representation(X, layer_label(argument, name)) for name, X in named.items()]


def named_layers(layers: Layers, argument: str) -> dict[str, ArrayLike]:
    """Return layers by name as they were given."""
    if isinstance(layers, Mapping):
        items = list(layers.items())
    elif isinstance(layers, str | bytes) or not isinstance(layers, Iterable):
        raise TypeError(
            f"{argument} must be a mapping of names to arrays or a sequence of arrays, "
            f"got {type_name(layers)}"
        )
    elif hasattr(layers, "__array__") or hasattr(layers, "__dlpack__"):
        raise TypeError(
            f"{argument} is a single {type_name(layers)} of shape {tuple(getattr(layers, 'shape', ()))}, "
            f"but a collection of layers is expected: wrap one layer in a list or a dict, [array] or "
            f"{{'name': array}}, and make a stack of layers a list, list(array)"
        )
    else:
        items = list(enumerate(layers))
    if not items:
        raise ValueError(f"{argument} is empty: at least one layer is needed")
    if all(isinstance(X, tuple) and len(X) == 2 and isinstance(X[0], str) for _, X in items):
        raise TypeError(
            f"{argument} is a sequence of (name, array) pairs: make it a mapping, dict({argument})"
        )

    names: dict[str, object] = {}
    for key, _ in items:
        if str(key) in names:
            raise ValueError(
                f"{argument} has two layers of the same name: the keys {names[str(key)]!r} and {key!r} "
                f"both read {str(key)!r}"
            )
        names[str(key)] = key
    return {str(key): X for key, X in items}


def layer_label(argument: str, name: str) -> str:
    """Return the words by which messages refer to one layer."""
    return f"layer {name!r} of {argument}"


def labelled(argument: str, layers: object, named: Mapping[str, ArrayLike]) -> Iterator[tuple[str, object]]:
    """Yield the words for a network and for each of its layers, with what was given as them."""
    yield argument, layers
    for name, X in named.items():
        yield layer_label(argument, name), X


def model_names(models: object, kind: str, fewer: str) -> list[str]:
    """Return the names of two models or more, each of which is of this `kind`; `fewer`: what one is for."""
    if not isinstance(models, Mapping):
        raise TypeError(f"models must be a mapping of names to {kind}, got {type_name(models)}")
    if len(models) < 2:
        found = f"only {next(iter(models))!r}" if models else "none"
        raise ValueError(f"models: expected at least two models, got {found}; {fewer}")
    names = [str(key) for key in models]
    for key, name in zip(models, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(
                f"models has two models of the same name: the key {key!r} and another read {name!r}"
            )
    return names


def model_label(name: str) -> str:
    """Return the words by which messages refer to one of many models."""
    return f"model {name!r}"


def _as_numpy(X: ArrayLike, label: str) -> Array:
    """Return any array-like as a NumPy array of any shape and dtype."""
    torch = sys.modules.get("torch")  # whoever passes a tensor has imported it; it is never imported here
    if torch is not None and isinstance(X, torch.Tensor):
        return _from_torch(X, torch, label)
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(f"{label} has masked entries: fill them, or drop their samples, first")
    if isinstance(X, Mapping):
        raise TypeError(f"{label} must be one array, got {type_name(X)}; cka_matrix compares several layers")
    if hasattr(X, "toarray") and not hasattr(X, "__array__"):
        raise TypeError(f"{label} is a sparse {type_name(X)}; pass the dense array, .toarray()")
    try:
        if hasattr(X, "__dlpack__") and not hasattr(X, "__array__"):
            return np.from_dlpack(X)
        array = np.asarray(X)
    except MemoryError:
        raise
    except Exception as error:  # any error of the foreign type: ragged lists, other devices, ...
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{label} ({type_name(X)}) cannot be read as a NumPy array: {error}") from error
    if array.dtype == object and hasattr(X, "columns") and hasattr(X, "dtypes"):
        array = _numbers_of_frame(X, array, label)
    if array.dtype == object and array.ndim == 0:  # NumPy's way to hold what is no array
        raise TypeError(f"{label} must be an array (n_samples, n_features), got {type_name(X)}")
    return array


def _numbers_of_frame(frame: Any, objects: Array, label: str) -> Array:
    """Return the numbers of a frame for which NumPy finds no common dtype; missing values become NaN.

    Columns are of pandas' nullable dtypes, or bool beside other numbers.
    """
    names, dtypes = list(frame.columns), list(frame.dtypes)
    known = [getattr(dtype, "kind", "") for dtype in dtypes]  # polars has none
    odd = [name for name, kind in zip(names, known, strict=True) if kind and kind not in "fiub"]
    if odd:
        raise TypeError(
            f"{label} has columns that are not numbers: {odd[:5]!r}; drop them, or make them the index"
        )
    if not all(known):
        return objects
    single = all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in dtypes)
    numbers: Array = frame.to_numpy(dtype="float32" if single else "float64", na_value=np.nan)
    return numbers


def _from_torch(X: Any, torch: Any, label: str) -> Array:
    if X.device.type != "cpu":
        raise TypeError(f"{label} is a tensor on {str(X.device)!r}; fastcka reads CPU memory: pass .cpu()")
    if X.layout != torch.strided:
        raise TypeError(f"{label} is a tensor of layout {X.layout}; pass the dense one, .to_dense()")
    X = X.detach().resolve_neg()
    if X.dtype == torch.bfloat16:  # NumPy has no such dtype: the same memory as two opaque bytes an element
        bits: Array = X.view(torch.int16).numpy()
        return bits.view("V2")
    try:
        array: Array = X.numpy()
    except (TypeError, RuntimeError) as error:  # float8, quantised, ...
        raise TypeError(f"{label} is a tensor of {X.dtype}; convert it with .float() ({error})") from error
    return array


def readable(array: Array, label: str) -> Array:
    """Return `array` itself where the core can read it, a copy where byte order or alignment prevent that."""
    check_dtype(array.dtype, label)
    if in_place(array):
        return array
    return array.astype(array.dtype.newbyteorder("="))


def check_dtype(dtype: np.dtype[Any], label: str) -> None:
    """Check that the core knows the type of the values."""
    if not (_is_bfloat16(dtype) or dtype in _NATIVE or dtype.newbyteorder("=") in _NATIVE):
        raise TypeError(f"{label} has dtype {dtype}; {_advice(dtype)}")


def in_place(array: Array) -> bool:
    """Return whether the values are where the core can read them.

    Values of another machine or a field of packed records are not.
    """
    if _is_bfloat16(array.dtype):
        array = array.view(np.uint16)
    return array.dtype.isnative and bool(array.flags.aligned)


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    # From torch, ml_dtypes, or from an .npy file, which keeps no more than "2 opaque bytes".
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None


def _advice(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "c":
        return "complex values are not supported: compare real and imaginary parts, or magnitudes"
    if dtype.kind == "O":
        return "Python objects are not numbers that can be read in place: convert with .astype(float)"
    if dtype.kind == "f":  # long double: no silent loss of its extra digits
        return "it has more digits than the core keeps: narrow it with .astype(np.float64)"
    return f"numbers are expected: {_DTYPES}"


def check_two_dimensional(array: Any, label: str) -> None:
    """Check that there are samples and features, and say how to get there from another shape."""
    shape = array.shape
    if len(shape) == 2:
        return
    expected = f"{label} must be two-dimensional, (n_samples, n_features), got "
    if len(shape) == 0:
        raise ValueError(f"{expected}a single value")
    if len(shape) == 1:
        raise ValueError(f"{expected}shape {shape}: if it is one feature of many samples, .reshape(-1, 1)")
    flat = (shape[0], int(np.prod(shape[1:])))
    axes, pooled = (1, (shape[0], shape[2])) if len(shape) == 3 else (tuple(range(2, len(shape))), shape[:2])
    raise ValueError(
        f"{expected}shape {shape}: flatten it, .reshape(len(array), -1) of shape {flat}, "
        f"or pool it, for example .mean(axis={axes}) of shape {pooled}"
    )


# ---------------------------------------------------------------------- representations together


def both(sides: Sequence[T]) -> tuple[T, T | None]:
    """Return what one or two networks have as the core takes it, None for a missing second one."""
    return sides[0], sides[1] if len(sides) == 2 else None


def check_samples(
    arrays: Sequence[Shaped], label: Callable[[int], str], estimator: str | None, measure: Measure = "cka"
) -> int:
    """Return the number of samples: the same in all arrays, and enough. ``label(i)`` names array i."""
    n = same_samples(arrays, label)
    fewest = ESTIMATORS[estimator] if estimator else 4
    if n < fewest:
        what = f"the {estimator} estimator" if estimator else f"measure={measure!r}"
        raise ValueError(f"{what} needs at least {fewest} samples, {label(0)} has {n}")
    return n


def same_samples(arrays: Sequence[Shaped], label: Callable[[int], str]) -> int:
    """Return the number of samples, which must be the same in all arrays."""
    n = len(arrays[0])
    for i, array in enumerate(arrays):
        if array.shape[0] != n:
            raise ValueError(
                f"{label(0)} has {n} samples but {label(i)} has {array.shape[0]} (shapes {arrays[0].shape} "
                f"and {array.shape}): all must hold the same samples, in the same order, one in each row"
            )
    return n


def needs_float64(arrays: Iterable[Shaped], dtype: object) -> bool:
    """Return whether arithmetic is float64: as `dtype` says, else if an input is float64, integer or bool."""
    known = check_arithmetic(dtype)
    if known is None:
        return any(array.dtype.itemsize == 8 or array.dtype.kind in "iub" for array in arrays)
    return known == "float64"
