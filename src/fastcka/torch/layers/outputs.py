# SPDX-License-Identifier: BSD-3-Clause
"""The tensors in what a module returns, and in what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from .selection import HIDDEN

_MAIN = ("last_hidden_state", "logits")  # of a dict, in this order; otherwise its first tensor with a batch
_HIDDEN_KEYS = {HIDDEN: "", f"encoder_{HIDDEN}": "encoder.", f"decoder_{HIDDEN}": "decoder."}


def tensors(output: Any) -> dict[str, Any]:
    """Return the tensors of an output by part: "0", "1.0", "key"; and "" for the one that stands for it.

    Hidden states are left to :func:`hidden_states`.
    """
    if isinstance(output, torch.Tensor):
        return {"": output}
    found = dict(_walk(output, ""))
    if not found:
        return {}
    with_batch = [part for part, tensor in found.items() if tensor.ndim > 0] or list(found)
    main = next((part for part in _MAIN if part in with_batch), with_batch[0])
    return {"": found[main], **found}


def given(args: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors that a module is given: "input", the first one; "input.0", "input.name", ..."""
    found = {f"input.{part}": x for part, x in (*_walk(args, ""), *_walk(dict(options), ""))}
    return {"input": next(iter(found.values())), **found} if found else {}


def hidden_states(output: Any) -> dict[str, Any]:
    """Return the hidden states of a Hugging Face output as ``embeddings``, ``layer.0``, ``layer.1``, ...

    There is one more of them than layers: the first is what the embeddings gave to layer 0.
    """
    found: dict[str, Any] = {}
    for key, value in _entries(output).items():
        if key in _HIDDEN_KEYS:
            for k, tensor in enumerate(value if isinstance(value, tuple | list) else ()):
                if not isinstance(tensor, torch.Tensor):
                    continue  # a part that did not run
                found[f"{_HIDDEN_KEYS[key]}layer.{k - 1}" if k else f"{_HIDDEN_KEYS[key]}embeddings"] = tensor
        else:  # the output of a part, such as text_model_output
            part = key.removesuffix("_output")
            found |= {f"{part}.{name}": tensor for name, tensor in hidden_states(value).items()}
    return found


def _entries(value: Any) -> dict[str, Any]:
    """Return the entries of a dict or a dataclass by name; of anything else, none."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
    return {}


def _walk(value: Any, part: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        yield part, value
    elif entries := _entries(value):
        for key, item in entries.items():
            if key not in _HIDDEN_KEYS:
                yield from _walk(item, f"{part}.{key}" if part else key)
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            yield from _walk(item, f"{part}.{k}" if part else str(k))
