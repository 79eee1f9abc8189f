# SPDX-License-Identifier: BSD-3-Clause
"""What the axes of activations are: samples "n", channels "c", positions "p", features "f"; "?" is not known.

The inputs of a model have their samples first. While the first batch runs, what is done to them is followed:
a convolution gives (n, c, p, ...), a linear map, a layer norm and an embedding have their features last, a
transposed tensor has its axes swapped, a sum has those of its terms. What no rule follows is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

Tensor: TypeAlias = Any  # torch.Tensor


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


class Tracker(TorchFunctionMode):  # type: ignore[misc]  # torch is not seen by the type checker
    """Follows the axes of tensors through a model."""

    def __init__(self) -> None:
        super().__init__()
        self._known = WeakTensorKeyDictionary()

    def of(self, tensor: object) -> Axes | None:
        """Return the axes of a tensor, where they are known."""
        if not isinstance(tensor, torch.Tensor):
            return None
        axes: Axes | None = self._known.get(tensor)
        return axes if axes is not None and len(axes.letters) == tensor.ndim else None

    def note(self, value: Any, axes: Axes | None) -> None:
        """Note the axes of a tensor, or of all those of as many axes in a tuple or list."""
        if isinstance(value, tuple | list):
            for item in value:
                self.note(item, axes)
        elif axes is not None and isinstance(value, torch.Tensor) and value.ndim == len(axes.letters):
            self._known[value] = axes

    def note_inputs(self, named: Mapping[str, Any], n: int) -> None:
        """Note the inputs of the model, which have their samples first."""
        for name, value in named.items():
            if isinstance(value, Mapping):
                self.note_inputs(value, n)
            elif isinstance(value, torch.Tensor) and value.ndim and len(value) == n:
                known = _INPUTS.get((name, value.ndim), "n" + "?" * (value.ndim - 1))
                self.note(value, Axes(known, name))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        if (rule := _rule(name.strip("_"))) is not None:
            values = (*args, *(kwargs or {}).values())
            self.note(result, rule(self, values, kwargs or {}, result))
        return result

    def see(self, module: Any, args: Any, options: Mapping[str, Any], output: Any) -> None:
        """Note the axes of what a module gives that says its order of axes itself."""
        given = next((self.of(value) for value in (*args, *options.values())), None)
        first = _batch_first(module)
        if first is None:
            self.note(output, _features_last(self, args, {}, output))
            return
        main = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(main, torch.Tensor) or main.ndim != 3:
            return
        own = "npf" if first else "pnf"
        followed = self.of(main) or given or Axes("")
        if "n" in followed.letters and followed.letters.index("n") != own.index("n"):
            reason = f"batch_first={first}, but the samples are not along that axis of its input"
            self.note(main, Axes(own, conflict=reason))
            return
        known = self.of(main) is not None or not isinstance(module, torch.nn.Transformer)
        self.note(main, replace(followed, letters=own) if known else Axes(own))
        if isinstance(module, torch.nn.RNNBase):
            self.note(output[1], Axes("cnf"))  # a state for each layer and direction


def speaks_of_axes(module: Any) -> bool:
    """Return whether a module says more of its axes than its functions do."""
    return _batch_first(module) is not None or type(module).__name__ == "Conv1D"


def _batch_first(module: Any) -> bool | None:
    nn = torch.nn
    if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        module = module.layers[0]
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        module = module.self_attn
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention | nn.Transformer):
        return bool(getattr(module, "batch_first", False))
    return None


_INPUTS = {  # of transformers
    ("input_ids", 2): "np",
    ("decoder_input_ids", 2): "np",
    ("inputs_embeds", 3): "npf",
    ("decoder_inputs_embeds", 3): "npf",
    ("pixel_values", 4): "ncpp",
}

# ------------------------------------------------------------------------------------------------ the rules

Rule: TypeAlias = Callable[[Tracker, Any, Any, Any], Axes | None]  # of the arguments, keywords, result


def _tagged(tracker: Tracker, values: Iterable[Any]) -> Iterator[Axes]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _tagged(tracker, value)
        elif (axes := tracker.of(value)) is not None and not axes.conflict:
            yield axes


def _same(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    """Return the axes of the operand of as many axes of which most is known."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    ndim = first.ndim if isinstance(first, torch.Tensor) else -1
    found = [axes for axes in _tagged(tracker, values) if len(axes.letters) == ndim]
    return min(found, key=lambda axes: axes.letters.count("?"), default=None)


def _features_last(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
    if given is None or len(given.letters) != result.ndim:
        return Axes("?" * (result.ndim - 1) + "f")
    lead, last = given.letters[:-1], given.letters[-1]
    if last == "p" and set("cf") & set(lead):  # along the positions, as in a mixer
        return given
    return replace(given, letters=lead.replace("?", "p") + ("c" if last == "c" else "f"))


def _norm(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    shape = values[1] if len(values) > 1 else ()
    rule = _features_last if isinstance(shape, tuple | list) and len(shape) == 1 else _same
    return rule(tracker, values, options, result)


def _embedding(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
    if given is None or len(given.letters) + 1 != result.ndim:
        return Axes("?" * (result.ndim - 1) + "f")
    return replace(given, letters=given.letters.replace("?", "p") + "f")


def _channels_first(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    main = result[0] if isinstance(result, tuple) else result
    given = next(_tagged(tracker, values[:1]), None)
    if main.ndim < 2 or (given is not None and given.letters[0] not in "n?"):
        return None
    source = "" if given is None else given.source
    moved = (given is not None and given.moved) or values[0].shape[2:] != main.shape[2:]
    return Axes("nc" + "p" * (main.ndim - 2) if main.ndim > 2 else "nf", source, moved)


def _swapped(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
    if given is None:
        return None
    letters = list(given.letters)
    i, j = values[1:3] if len(values) > 2 else (-2, -1)
    letters[i], letters[j] = letters[j], letters[i]
    return replace(given, letters="".join(letters))


def _permuted(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
    if given is None:
        return None
    order = values[1] if isinstance(values[1], tuple | list) else values[1:]
    return replace(given, letters="".join(given.letters[k] for k in order))


def _reshaped(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
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


def _reduced(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
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


def _indexed(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    given = next(_tagged(tracker, values[:1]), None)
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


def _product(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    a = tracker.of(values[0])
    b = tracker.of(values[1]) if len(values) > 1 else None
    if a is None or a.conflict or len(a.letters) != result.ndim:
        return None
    last = b.letters[-1] if b is not None and len(b.letters) == result.ndim else "f"
    return replace(a, letters=a.letters[:-1] + last)


def _first(tracker: Tracker, values: Any, options: Any, result: Any) -> Axes | None:
    return next(_tagged(tracker, values[:1]), None)


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
    **dict.fromkeys(("linear", "bilinear"), _features_last),
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
    **dict.fromkeys(("matmul", "bmm", "rmatmul"), _product),
    "scaled_dot_product_attention": _first,
}


def _rule(name: str) -> Rule | None:
    found = _RULES.get(name)
    return _channels_first if found is None and _CHANNELS_FIRST.fullmatch(name) else found
