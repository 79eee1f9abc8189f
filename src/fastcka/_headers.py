# SPDX-License-Identifier: BSD-3-Clause
"""The header of a saved file: what it is, in which version of the format, and a checksum over all of it.

A header is a JSON object. All saved files have one: results, streams and the manifest of a store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_OWN = ("format", "format_version", "fastcka_version", "sha256")


class Refused(Exception):
    """The file was readable but is not one of ours; the text says why."""


def new_header(kind: str, version: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a file that holds a `kind`, such as "CKAMatrix"; the ``sha256`` is added later."""
    from . import __version__  # not at the top: fastcka is still being imported then

    return {
        "format": f"fastcka.{kind}",
        "format_version": version,
        "fastcka_version": __version__,
        **settings,
    }


def digest(header: dict[str, Any], contents: Iterable[bytes | memoryview] = ()) -> str:
    """Return the checksum of a header, without its own ``sha256``, and of what else is in the file."""
    text = json.dumps({key: value for key, value in header.items() if key != "sha256"}, sort_keys=True)
    total = hashlib.sha256(text.encode())
    for content in contents:
        total.update(content)
    return total.hexdigest()


def parsed(text: str | bytes) -> dict[str, Any]:
    """Return the header in a JSON text."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"damaged: not valid JSON ({error})") from None
    return header if isinstance(header, dict) else {}  # whose format is None


def check_format(header: dict[str, Any], kind: str, version: int, oldest: int = 1) -> None:
    """Refuse a header of another kind of file, or whose format is older than `oldest` or newer."""
    if header.get("format") != f"fastcka.{kind}":
        raise Refused(f"not a {kind} saved by fastcka; its format is {header.get('format')!r}")
    if not is_count(found := header["format_version"]):
        raise Refused(f"damaged: its format version is {found!r}")
    if found > version:
        raise Refused(
            f"written by a newer fastcka ({header.get('fastcka_version')}, format version {found}; "
            f"this one reads up to version {version}): upgrade fastcka to read it"
        )
    if found < oldest:
        raise Refused(
            f"written by an older fastcka ({header.get('fastcka_version')}, format version {found}; this one "
            f"reads versions from {oldest} on): continue with that version, or start over"
        )


def checked_settings(header: dict[str, Any], sha256: str) -> dict[str, Any]:
    """Return the settings in `header`, whose checksum must be `sha256`."""
    if header["sha256"] != sha256:
        raise Refused("damaged, or edited by hand: its checksum does not match its contents")
    return {key: value for key, value in header.items() if key not in _OWN}


def is_count(value: object) -> bool:
    """Return whether a value from JSON is a number of things: no float, no bool, not negative."""
    return type(value) is int and value >= 0


@contextmanager
def refusing(path: str | os.PathLike[str], otherwise: str) -> Iterator[None]:
    """Turn any error while a file is parsed into a ValueError that names the file."""
    try:
        yield
    except Refused as reason:
        raise ValueError(f"{os.fspath(path)}: {reason}") from None
    except MemoryError:  # no fault of the contents
        raise
    except Exception as error:  # any byte may be wrong, so any part of the readers may trip over it
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"{os.fspath(path)}: damaged, or not {otherwise} ({cause})") from error
