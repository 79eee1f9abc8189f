# SPDX-License-Identifier: BSD-3-Clause
"""Recognise a model, and restore it and the random states whatever happens in between."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from .._common import Module
from ..data.inputs import parameters_of
from .selection import COMPILED, plain_name

HIDDEN_STATES = "output_hidden_states"  # of configurations, and an argument of models


@contextmanager
def evaluating(model: Module, *, hidden_states: bool = False) -> Iterator[None]:
    """Put a model into evaluation mode; give each of its modules back its own mode afterwards.

    `hidden_states`: modules whose configuration can ask for hidden states return them meanwhile. The parts of
    a model may have configurations of their own.
    """
    training = [(module, module.training) for module in model.modules()]
    configs = {id(config): config for module in model.modules() if (config := config_of(module)) is not None}
    asked = [(config, config.output_hidden_states) for config in configs.values() if hidden_states]
    try:
        model.eval()
        for config, _ in asked:
            config.output_hidden_states = True
        yield
    finally:
        for config, before in asked:
            config.output_hidden_states = before
        for module, mode in training:
            module.training = mode


def asking_for_hidden_states(model: Module) -> dict[str, bool]:
    """Return the argument by which a model hands on all hidden states of its parts, if it has one.

    Some look at it beside their configuration, and keep only some of those of their vision tower without it.
    """
    parameters = parameters_of(model)
    named = any(p.name == HIDDEN_STATES for p in parameters)
    any_name = any(p.kind == p.VAR_KEYWORD for p in parameters) and config_of(model) is not None
    known = any_name and type(model).__module__.startswith("transformers.")
    return {HIDDEN_STATES: True} if named or known else {}


def config_of(module: Module) -> Any:
    """Return the configuration of a module that can ask for hidden states, or None."""
    config = getattr(module, "config", None)
    return config if hasattr(config, HIDDEN_STATES) else None


@contextmanager
def observing(*loaders: object) -> Iterator[None]:
    """No gradients, no fused shortcut around modules, and every random state restored afterwards."""
    fast = torch.backends.mha.get_fastpath_enabled()  # it would run an encoder layer without its modules
    with random_states(*loaders), torch.no_grad():
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def uncompiled(model: Module) -> Iterator[None]:
    """Run what torch.compile has compiled as it was written: the hooks of its modules are not compiled in."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and its import would take seconds
        yield
    elif hasattr(torch.compiler, "set_stance"):
        with torch.compiler.set_stance("force_eager"):
            yield
    elif any(hasattr(m, COMPILED) or m._compiled_call_impl is not None for m in model.modules()):
        raise ValueError(
            f"layers of a model with compiled parts need PyTorch 2.6 or later, this is "
            f"{torch.__version__}: pass the model before torch.compile"
        )
    else:
        yield


@contextmanager
def random_states(*loaders: object) -> Iterator[None]:
    """Restore the random states of torch, NumPy and Python, and those of the loaders."""
    own = {id(g): g for loader in loaders for g in _generators(loader)}
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    states = [(generator, generator.get_state()) for generator in own.values()]
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
            for generator, state in states:
                generator.set_state(state)


def _generators(loader: object) -> Iterator[Any]:
    """Give the generators from which a loader or its samplers draw."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    samplers = (getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    for owner in (loader, *samplers):
        if isinstance(generator := getattr(owner, "generator", None), torch.Generator):
            yield generator


# ------------------------------------------------------------------------------------ what is noted of a run


def noted(model: Module, settings: Mapping[str, object]) -> dict[str, Any]:
    """Return what makes activations what they are: the model and the settings, as JSON can keep them."""
    return {
        "model": type(model).__name__,
        "parameters": fingerprint(model),
        **{key: _in_json(value) for key, value in settings.items()},
    }


def checkpoint(model: Module) -> str | None:
    """Return what a model of Hugging Face was loaded from, where it says so."""
    return str(getattr(getattr(model, "config", None), "name_or_path", "") or "") or None


def fingerprint(model: Module) -> str:
    """Return a digest of names, shapes, some values and the sum of the bits of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            values = tensor.detach().reshape(-1)
            some = values[:: max(1, len(values) // 16)][:17].to(
                "cpu", torch.complex128 if tensor.is_complex() else torch.float64
            )
            words = values.view(_WORDS[values.element_size()]) if len(values) else values
            bits = int(words.sum(dtype=torch.int64))  # of integers: the same in any order
            about = f"{plain_name(name)} {tuple(tensor.shape)} {tensor.dtype} {some.tolist()} {bits}"
            digest.update(about.encode())
    return digest.hexdigest()


_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}  # by size in bytes


def _in_json(value: object) -> Any:
    """Return a setting as JSON can keep it: types and functions by their names."""
    if isinstance(value, Mapping):
        return {str(key): _in_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    return getattr(value, "__qualname__", str(value))
