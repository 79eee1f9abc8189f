# SPDX-License-Identifier: BSD-3-Clause
"""Follows the axes of tensors through a model, from its inputs, which have their samples first.

While the first batch runs, what is done to tensors is seen, and the rules of axes.py say what comes of it.
What no rule follows is not known; the user may say it (`axes=`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .._common import Module, Tensor
from .axes import Axes, features_last, rule
from .selection import Pattern, patterns

AxesLike: TypeAlias = Mapping[str, str] | None


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
        if (apply := rule(name.strip("_"))) is not None:
            values = (*args, *(kwargs or {}).values())
            self.note(result, apply(self.of, values, kwargs or {}, result))
        return result

    def see(self, module: Any, args: Any, options: Mapping[str, Any], output: Any) -> None:
        """Note the axes of what a module gives that says its order of axes itself."""
        given = next((self.of(value) for value in (*args, *options.values())), None)
        first = _batch_first(module)
        if first is None:
            self.note(output, features_last(self.of, args, {}, output))
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


def _speaks_of_axes(module: Any) -> bool:
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


@contextmanager
def following(model: Module, tracker: Tracker | None) -> Iterator[None]:
    """Follow the axes of tensors through a model; modules speak before the layers are recorded."""
    handles = []
    try:
        if tracker is not None:
            note = partial(_note, tracker)
            handles += [
                module.register_forward_hook(note, with_kwargs=True, prepend=True)
                for module in filter(_speaks_of_axes, model.modules())
            ]
        with tracker or nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _note(tracker: Tracker, module: Module, args: Any, kwargs: Any, output: Any) -> None:
    tracker.see(module, args, kwargs, output)


def read_axes(axes: AxesLike, argument: str) -> list[tuple[Pattern, str]]:
    """Read what a user said of the axes of layers."""
    if not isinstance(axes, Mapping | None):
        raise TypeError(f"{argument} must be a mapping of patterns of layers to axes such as 'npf', or None")
    found = []
    for text, letters in (axes or {}).items():
        word = str(letters)
        if set(word) - set("ncpf") or word.count("n") != 1:
            raise ValueError(
                f"{argument}: {letters!r} for {text!r}: write a letter for each axis, n (samples, once), "
                f"c (channels), p (positions), f (features), as in 'npf' or 'ncpp'"
            )
        found += [(pattern, letters) for pattern in patterns(text, argument)]
    return found


def with_samples(letters: str, tensor: Tensor, n: int) -> str:
    """Return letters of which one is "n": the first axis, unless another may be it, too."""
    if "n" in letters or tensor.ndim == 0 or letters[0] not in "?":
        return letters
    others = [k for k in range(1, tensor.ndim - 1) if letters[k] == "?" and tensor.shape[k] == n]
    if tensor.shape[0] != n or (others and n > 1):
        return letters
    rest = letters[1:]
    return "n" + (rest.replace("?", "p") if rest.endswith("f") else rest)
