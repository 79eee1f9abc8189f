# SPDX-License-Identifier: BSD-3-Clause
"""What the axes of activations are, and what operations do to them.

Samples are "n", channels "c", positions "p", features "f"; "?" is not known. A convolution gives (n, c, p,
...), a linear map, a layer norm and an embedding have their features last, a transposed tensor has its axes
swapped, a sum has those of its terms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch


@dataclass(frozen=True)
class Axes:
    """A letter for each axis, and the input of the model whose positions these are.

    `moved` says that they are no longer one for one those of the input (after a convolution with a stride).
    `conflict` says why the axes cannot be what they should.
    """

    letters: str
    source: str = ""
    moved: bool = False
    conflict: str = ""


Of: TypeAlias = Callable[[object], Axes | None]  # what is known of a tensor
Rule: TypeAlias = Callable[[Of, Any, Any, Any], Axes | None]  # of that, arguments, keywords, result


def _tagged(of: Of, values: Iterable[Any]) -> Iterator[Axes]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _tagged(of, value)
        elif (axes := of(value)) is not None and not axes.conflict:
            yield axes


def _same(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    """Return the axes of the operand of as many axes of which most is known."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    ndim = first.ndim if isinstance(first, torch.Tensor) else -1
    found = [axes for axes in _tagged(of, values) if len(axes.letters) == ndim]
    return min(found, key=lambda axes: axes.letters.count("?"), default=None)


def features_last(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    """Return the axes of a linear map: those of its input, but the last of them are features."""
    given = next(_tagged(of, values[:1]), None)
    if given is None or len(given.letters) != result.ndim:
        return Axes("?" * (result.ndim - 1) + "f")
    lead, last = given.letters[:-1], given.letters[-1]
    if last == "p" and set("cf") & set(lead):  # along the positions, as in a mixer
        return given
    return replace(given, letters=_positions(lead) + ("c" if last == "c" else "f"))


def _positions(letters: str) -> str:
    """Return the axes before the features: positions, where the samples are among them."""
    return letters.replace("?", "p") if "n" in letters else letters


def _norm(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    shape = values[1] if len(values) > 1 else ()
    rule = features_last if isinstance(shape, tuple | list) and len(shape) == 1 else _same
    return rule(of, values, options, result)


def _embedding(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None or len(given.letters) + 1 != result.ndim:
        return Axes("?" * (result.ndim - 1) + "f")
    return replace(given, letters=_positions(given.letters) + "f")


def _channels_first(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    main = result[0] if isinstance(result, tuple) else result
    given = next(_tagged(of, values[:1]), None)
    if main.ndim < 2 or (given is not None and given.letters[0] not in "n?"):
        return None
    source = "" if given is None else given.source
    moved = (given is not None and given.moved) or values[0].shape[2:] != main.shape[2:]
    return Axes("nc" + "p" * (main.ndim - 2) if main.ndim > 2 else "nf", source, moved)


def _swapped(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None:
        return None
    letters = list(given.letters)
    i, j = values[1:3] if len(values) > 2 else (-2, -1)
    letters[i], letters[j] = letters[j], letters[i]
    return replace(given, letters="".join(letters))


def _permuted(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None:
        return None
    order = values[1] if isinstance(values[1], tuple | list) else values[1:]
    return replace(given, letters="".join(given.letters[k] for k in order))


def _reshaped(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None or not isinstance(result, torch.Tensor):
        return None
    letters = regrouped(given.letters, tuple(values[0].shape), tuple(result.shape))
    return None if letters is None else replace(given, letters=letters)


def regrouped(letters: str, before: tuple[int, ...], after: tuple[int, ...]) -> str | None:
    """Return the letters of a tensor in another shape; None where the samples are not told apart any more.

    >>> regrouped("ncpp", (8, 3, 4, 4), (8, 3, 16)), regrouped("npf", (8, 5, 6), (40, 6))
    ('ncp', None)
    """
    if before == after:
        return letters
    old = [(size, letter) for size, letter in zip(before, letters, strict=True) if size != 1 or letter == "n"]
    found: list[str] = []
    k = j = 0
    while k < len(old) or j < len(after):
        if j < len(after) and after[j] == 1 and not (k < len(old) and old[k][0] == 1):
            found.append("?")  # a new axis
            j += 1
            continue
        if k == len(old) or j == len(after):
            return None
        group, size, first = old[k][1], old[k][0], j
        k += 1
        total = after[j]
        j += 1
        while size != total:
            if size < total and k < len(old):
                size *= old[k][0]
                group += old[k][1]
                k += 1
            elif size > total and j < len(after):
                total *= after[j]
                j += 1
            else:
                return None
        parts = j - first
        if "n" in group and (len(group) > 1 or parts > 1):
            return None
        merged = group[0] if len(set(group)) == 1 else "?" if "?" in group else "f"
        found += [merged] * parts  # parts of features, as the heads of attention, are features
    return "".join(found)


def _reduced(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None or not isinstance(result, torch.Tensor):
        return None
    if result.ndim == len(given.letters):
        return given
    dims = options.get("dim", values[1] if len(values) > 1 else None)
    dims = [dims] if isinstance(dims, int) else dims
    if not isinstance(dims, tuple | list):
        return None
    gone = {d % len(given.letters) for d in dims}
    return replace(given, letters="".join(c for k, c in enumerate(given.letters) if k not in gone))


def _unbound(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None:
        return None
    gone = options.get("dim", values[1] if len(values) > 1 else 0) % len(given.letters)
    return replace(given, letters=given.letters[:gone] + given.letters[gone + 1 :])


def _indexed(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(of, values[:1]), None)
    if given is None:
        return None
    index = values[1] if isinstance(values[1], tuple) else (values[1],)
    if not all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in index):
        return None
    taken = sum(i is not None and i is not Ellipsis for i in index)
    rest = [slice(None)] * (len(given.letters) - taken)
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    letters, k = "", 0
    for i in (*index[:at], *rest, *index[at + 1 :]):
        letters += "?" if i is None else given.letters[k] if isinstance(i, slice) else ""
        k += i is not None
    return replace(given, letters=letters)


def _product(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    a = of(values[0])
    b = of(values[1]) if len(values) > 1 else None
    if a is None or a.conflict or len(a.letters) != result.ndim:
        return None
    last = b.letters[-1] if b is not None and len(b.letters) == result.ndim else "f"
    return replace(a, letters=a.letters[:-1] + last)


def _first(of: Of, values: Any, options: Any, result: Any) -> Axes | None:
    return next(_tagged(of, values[:1]), None)


_CHANNELS_FIRST = re.compile(
    r"(conv|conv_transpose|(adaptive_)?(max|avg)_pool|lp_pool|fractional_max_pool)[123]d(_with_indices)?"
    r"|batch_norm|instance_norm|group_norm|interpolate|upsample|pixel_(un)?shuffle|local_response_norm"
)
_SAME = """
add iadd radd sub isub rsub mul imul rmul div idiv truediv itruediv rtruediv pow neg abs exp log sqrt
rsqrt square tanh sigmoid sign erf sin cos relu relu6 gelu silu mish elu selu celu leaky_relu prelu rrelu
hardtanh hardswish hardsigmoid hardshrink softshrink softplus softsign threshold logsigmoid glu dropout
alpha_dropout feature_dropout feature_alpha_dropout dropout1d dropout2d dropout3d softmax log_softmax
softmin tanhshrink normalize clamp clamp_min clamp_max clip where masked_fill masked_scatter lerp addcmul
addcdiv clone contiguous to type type_as float double half bfloat16 detach cpu cuda expand expand_as roll
pad flip maximum minimum cumsum nan_to_num zeros_like ones_like empty_like new_zeros cat concat
concatenate chunk split tensor_split narrow stochastic_depth repeat index_add index_copy
"""
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(("linear", "bilinear"), features_last),
    **dict.fromkeys(("layer_norm", "rms_norm"), _norm),
    "embedding": _embedding,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "mT", "t", "T"), _swapped),
    "permute": _permuted,
    **dict.fromkeys(
        ("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"),
        _reshaped,
    ),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "select"), _reduced),
    "getitem": _indexed,
    "unbind": _unbound,
    **dict.fromkeys(("matmul", "bmm", "rmatmul"), _product),
    "scaled_dot_product_attention": _first,
}


def rule(name: str) -> Rule | None:
    """Return the rule of a function of torch, or None where there is none."""
    found = _RULES.get(name)
    return _channels_first if found is None and _CHANNELS_FIRST.fullmatch(name) else found
