# SPDX-License-Identifier: BSD-3-Clause
"""Copies of mappings that nobody can change, of what JSON can hold: `Comparison.provenance`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn


def plain(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in the types of JSON, or raise the error of `json` that says what it cannot hold."""
    copied: dict[str, Any] = json.loads(json.dumps(dict(provenance), allow_nan=False))
    return copied


def frozen(value: Any) -> Any:
    """Return what JSON gave in types that cannot be changed."""
    if isinstance(value, dict):
        return _Frozen({key: frozen(item) for key, item in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, list) else value


class _Frozen(dict[str, Any]):
    """A dict that cannot be changed; unlike a MappingProxyType, it prints and dumps as JSON like any."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("provenance cannot be changed; dict(m.provenance) is a copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:  # a dict would be filled entry by entry
        return _Frozen, (dict(self),)
