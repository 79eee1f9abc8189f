# SPDX-License-Identifier: BSD-3-Clause
"""Arguments that are a name, a number or a size: checked, and returned as the package knows them."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Literal, TypeAlias, cast

import numpy as np

Estimator: TypeAlias = Literal["biased", "unbiased", "debiased"]
Canonical: TypeAlias = Literal["biased", "unbiased"]  # as check_estimator returns it
Measure: TypeAlias = Literal["cka", "rv2", "rsa_cosine", "rsa_pearson"]
Arithmetic: TypeAlias = Literal["float32", "float64"]
NanPolicy: TypeAlias = Literal["raise", "propagate"]

ESTIMATORS = {"biased": 2, "unbiased": 4}  # name: fewest samples for which its formula is defined
MEASURES: dict[str, str] = {  # name: what tables and figures call it
    "cka": "CKA",
    "rv2": "RV2",
    "rsa_cosine": "RSA (cosine)",
    "rsa_pearson": "RSA (Pearson)",
}

# ---------------------------------------------------------------------- names


def check_estimator(estimator: object) -> Canonical:
    """Return "biased" or "unbiased", for which "debiased" is another word."""
    if isinstance(estimator, str):
        if estimator == "biased":
            return "biased"
        if estimator in ("unbiased", "debiased"):
            return "unbiased"
    raise unknown("estimator", estimator, ESTIMATORS)


def check_measure(measure: object, estimator: object) -> tuple[Measure, Canonical | None]:
    """Return the measure and its estimator: None for all but CKA, whose default is "biased"."""
    if not isinstance(measure, str) or measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    known = cast(Measure, measure)
    if known == "cka":
        return known, check_estimator("biased" if estimator is None else estimator)
    if estimator is not None:
        raise ValueError(f"estimator={estimator!r}: measure={known!r} has no estimators, only 'cka' has")
    return known, None


def check_nan_policy(nan_policy: object, checkpoint: object = None) -> NanPolicy:
    """Return the name of what NaN and infinity do, checked; a run with a `checkpoint` raises for them."""
    if nan_policy == "raise":
        return "raise"
    if nan_policy == "propagate":
        if checkpoint is not None:
            raise ValueError('checkpoint: a run that can resume needs nan_policy="raise"')
        return "propagate"
    raise unknown("nan_policy", nan_policy, ("raise", "propagate"))


def check_arithmetic(dtype: object) -> Arithmetic | None:
    """Return the type of the arithmetic by its name; None: the inputs decide."""
    if dtype is None:
        return None
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except (TypeError, ValueError):
        name = ""
    if name == "float32":
        return "float32"
    if name == "float64":
        return "float64"
    raise ValueError(
        f"dtype is the type of the arithmetic and must be 'float32', 'float64' or None, got {dtype!r}"
    )


def unknown(
    what: str, given: object, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> ValueError | TypeError:
    """Return the error for a name that is none of the `known` ones, with the nearest of them.

    `aliases` are other words for known names, which the nearest spelling would not find.
    """
    names = sorted(known)
    listed = ", ".join(repr(name) for name in names)
    if not isinstance(given, str):
        return TypeError(f"{what} must be one of {listed}, got {given!r}")
    import difflib  # here: it is needed by nobody who spells well

    word = given.lower()
    near = [aliases[word]] if aliases and word in aliases else difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {what} {given!r}: known are {listed}{hint}")


def type_name(value: object) -> str:
    """Return how messages call the type of a value."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# ---------------------------------------------------------------------- numbers and sizes


def positive_integer(value: object, name: str, most: int = sys.maxsize) -> int:
    """Return `value` as an int from 1 to `most`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a positive integer, got {value!r}")
    if number < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, got {value!r}")
    return number


def finite_number(
    value: object,
    name: str,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Return `value` as a finite float within bounds."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not (math.isfinite(number) and above < number < below and number >= least):
        bounds = [f"above {above:g}"] if above > -math.inf else [f"at least {least:g}"]
        bounds += [f"below {below:g}"] if below < math.inf else []
        raise ValueError(f"{name} must be {' and '.join(bounds)}, got {value!r}")
    return number


def byte_limit(max_bytes: object) -> int:
    """Return `max_bytes`, a number or a text such as "4GiB", as the core takes it: 0 for no limit."""
    if max_bytes is None:
        return 0
    return as_bytes(max_bytes) if isinstance(max_bytes, str) else positive_integer(max_bytes, "max_bytes")


_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", 1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}


def as_bytes(text: str) -> int:
    """Parse a size such as "4GiB" into a number of bytes.

    >>> as_bytes("800000"), as_bytes("1.5 GB"), as_bytes("2GiB")
    (800000, 1500000000, 2147483648)
    """
    number = text.strip().rstrip("kmgtibKMGTIB ")
    unit = _UNITS.get(text.strip()[len(number) :].strip().lower())
    try:
        size = int(float(number) * unit) if unit else 0
    except (ValueError, OverflowError):  # no number; infinity
        size = 0
    if size < 1:
        raise ValueError(
            f"max_bytes: {text!r} is not a size: write bytes, or a number with kB, MB, GB, TB, KiB, "
            f"MiB, GiB or TiB"
        )
    return size
