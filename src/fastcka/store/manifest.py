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

from .._files import atomic_write, check_regular
from .._headers import Refused, check_format, checked_settings, digest, is_count, new_header, parsed, refusing
from .layer_file import DTYPES, LayerFile, dtype_name, is_layer_file

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
        settings: dict[str, Any] = {
            "n_samples": self.n_samples,
            "layers": [
                {"name": x.name, "file": x.file, "n_features": x.n_features, "dtype": dtype_name(x.dtype)}
                for x in self.layers
            ],
            "ids": None if self.ids_bytes is None else {"bytes": self.ids_bytes, "sha256": self.ids_sha256},
            "provenance": self.provenance,
        }
        header = new_header("Store", FORMAT_VERSION, settings)
        header["sha256"] = digest(header)
        with atomic_write(folder / MANIFEST) as file:
            file.write(json.dumps(header, indent=1).encode())
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
        check_regular(path)
        content = path.read_bytes()
        with refusing(path, "the manifest of a store"):
            header = parsed(content)
            check_format(header, "Store", FORMAT_VERSION)
            return cls._from(checked_settings(header, digest(header)))

    @classmethod
    def _from(cls, settings: dict[str, Any]) -> Manifest:
        """Make sure of everything: a checksum that is right says nothing about who made the file."""
        layers = tuple(map(_layer, settings["layers"]))
        for what in ("name", "file"):
            if len({getattr(layer, what) for layer in layers}) < len(layers):
                raise Refused(f"damaged: two layers have the same {what}")
        n, provenance = settings["n_samples"], settings["provenance"]
        if not is_count(n) or (n > 0 and not layers):
            raise Refused(f"damaged: {n!r} samples of {len(layers)} layers")
        if not isinstance(provenance, dict):
            raise Refused(f"damaged: its provenance is {provenance!r}")
        if (ids := settings["ids"]) is None:
            return cls(n, layers, provenance)
        if not is_count(ids["bytes"]):
            raise Refused(f"damaged: its ids have {ids['bytes']!r} bytes")
        return cls(n, layers, provenance, ids["bytes"], ids["sha256"])

    def check_files(self, folder: Path) -> None:
        """Check that all files are there and long enough, without reading them."""
        for layer in self.layers:
            layer.check(folder, self.n_samples)
        if self.ids_bytes is not None:
            path = folder / IDS
            if not path.exists():
                raise ValueError(f"{path} is missing: the manifest has ids of {self.n_samples} samples")
            check_regular(path)
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
            raise ValueError(f"{folder / IDS} is damaged: its checksum is not that of the manifest")
        return text

    def read_ids(self, folder: Path) -> tuple[SampleId, ...] | None:
        """Return the ids of the samples, in order, or None where they have none."""
        if self.ids_bytes is None:
            return None
        text = self.ids_text(folder)
        with refusing(folder / IDS, "ids of samples"):
            ids = tuple(json.loads(b"[" + b",".join(text.splitlines()) + b"]"))
            if len(ids) != self.n_samples:
                raise Refused(f"damaged: {len(ids)} ids of {self.n_samples} samples")
            for x in ids:
                if type(x) not in (str, int):
                    raise Refused(f"damaged: {x!r} is neither a string nor an integer")
            if len(set(ids)) < len(ids):
                raise Refused("damaged: two samples have the same id")
            return ids


def _layer(x: dict[str, Any]) -> LayerFile:
    """Return a layer of the manifest, whose file cannot lie outside of the folder."""
    name, file, n_features = x["name"], x["file"], x["n_features"]
    if not isinstance(name, str) or not is_layer_file(file) or not is_count(n_features) or n_features == 0:
        raise Refused(f"damaged: layer {name!r} cannot be {file!r} with {n_features!r} features")
    return LayerFile(name, file, n_features, DTYPES[x["dtype"]])


def is_manifest(folder: Path) -> bool:
    """Return whether `folder` has a manifest, be it a damaged one, that is not of another program."""
    path = folder / MANIFEST
    try:
        check_regular(path)
        header = parsed(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, Refused):
        return not path.is_dir()  # so that opening it says what is wrong: it is no folder of arrays
    return header.get("format") == "fastcka.Store"


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
