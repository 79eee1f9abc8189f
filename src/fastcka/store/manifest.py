# SPDX-License-Identifier: BSD-3-Clause
"""The manifest of a store: what is committed. Replacing it, atomically, is what commits a batch.

It is a JSON file of a size that does not depend on the number of samples: of the sample ids, which lie in a
file of their own that only grows, it has the length and the SHA-256. It carries a SHA-256 of itself, so a
manifest that was cut, altered or mistaken is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import atomic_write
from .layer_file import DTYPES, LayerFile, dtype_name

FORMAT = "fastcka.Store"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
IDS = "ids.jsonl"

SampleId = str | int


@dataclass(frozen=True)
class Manifest:
    """What a store holds; `ids_bytes` and `ids_sha256` are None when the samples have no ids."""

    n_samples: int
    layers: tuple[LayerFile, ...]
    provenance: dict[str, Any]
    ids_bytes: int | None = None
    ids_sha256: str | None = None

    def write(self, folder: Path) -> None:
        """Commit, durably: a process killed at any moment leaves the old manifest or this one."""
        from .. import __version__  # not at the top: fastcka is still being imported then

        content: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fastcka_version": __version__,
            "n_samples": self.n_samples,
            "layers": [
                {"name": x.name, "file": x.file, "n_features": x.n_features, "dtype": dtype_name(x.dtype)}
                for x in self.layers
            ],
            "ids": None if self.ids_bytes is None else {"bytes": self.ids_bytes, "sha256": self.ids_sha256},
            "provenance": self.provenance,
        }
        content["sha256"] = _digest(content)
        with atomic_write(folder / MANIFEST) as file:
            file.write(json.dumps(content, indent=1).encode())
        sync_folder(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If it is damaged, not the manifest of a store, or of a newer fastcka.
        """
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: no valid JSON ({error})") from None
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise ValueError(f"{path} is not the manifest of a fastcka store: its format is {found!r}")
        try:
            if (version := content["format_version"]) > FORMAT_VERSION:
                raise ValueError(
                    f"{path} was written by a newer fastcka ({content.get('fastcka_version')}, format "
                    f"version {version}; this one reads up to version {FORMAT_VERSION}): upgrade fastcka"
                )
            if content.pop("sha256") != _digest(content):
                raise ValueError(
                    f"{path} is damaged, or was edited by hand: its check sum does not match its contents"
                )
            return cls._from(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error

    @classmethod
    def _from(cls, content: dict[str, Any]) -> Manifest:
        layers = tuple(
            LayerFile(x["name"], os.path.basename(x["file"]), x["n_features"], DTYPES[x["dtype"]])
            for x in content["layers"]
        )
        ids = content["ids"] or {"bytes": None, "sha256": None}
        return cls(content["n_samples"], layers, dict(content["provenance"]), ids["bytes"], ids["sha256"])

    def check_files(self, folder: Path) -> None:
        """Check that all files are there and long enough, without reading them."""
        for layer in self.layers:
            layer.check(folder, self.n_samples)
        if self.ids_bytes is not None:
            path = folder / IDS
            if not path.exists():
                raise ValueError(f"{path} is missing: the manifest has ids of {self.n_samples} samples")
            if (size := path.stat().st_size) < self.ids_bytes:
                raise ValueError(
                    f"{path} is cut short: the ids of {self.n_samples} samples end at byte {self.ids_bytes}, "
                    f"the file at {size}"
                )

    def ids_text(self, folder: Path) -> bytes:
        """Return the committed part of the file of ids, after checking it; nothing where there are no ids."""
        if self.ids_bytes is None:
            return b""
        with open(folder / IDS, "rb") as file:
            text = file.read(self.ids_bytes)
        if hashlib.sha256(text).hexdigest() != self.ids_sha256:
            raise ValueError(f"{folder / IDS} is damaged: its check sum is not that of the manifest")
        return text

    def read_ids(self, folder: Path) -> tuple[SampleId, ...] | None:
        """Return the ids of the samples, in order, or None where they have none."""
        return None if self.ids_bytes is None else parsed_ids(self.ids_text(folder))


def parsed_ids(text: bytes) -> tuple[SampleId, ...]:
    """Return the ids in JSON Lines."""
    return tuple(json.loads(b"[" + b",".join(text.splitlines()) + b"]"))


def is_manifest(folder: Path) -> bool:
    """Return whether `folder` has a manifest, be it a damaged one, that is not of another program."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except (OSError, ValueError, RecursionError):
        return True  # so that opening it says what is wrong, instead of taking it for a folder of arrays
    return isinstance(content, dict) and content.get("format") == FORMAT


def is_temporary(name: str) -> bool:
    """Return whether a file is a manifest that was being written when its process was killed."""
    return name.startswith(f".{MANIFEST}.") and name.endswith(".tmp")


def sync_folder(folder: Path) -> None:
    """Bring the names of the files in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
