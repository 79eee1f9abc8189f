# SPDX-License-Identifier: BSD-3-Clause
"""Files damaged at random: what they held comes back, or an error says which file cannot be read.

Never a crash, and never another number where a checksum covers the numbers. FASTCKA_EXAMPLES=100000 looks
longer.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import fastcka
from fastcka import CKAMatrix, CKAModels, Partial, StreamingCKA, Sweep

REFUSALS = (ValueError, OSError)
RNG = np.random.default_rng(0)
LAYERS = {"conv": RNG.normal(size=(300, 4)), "fc": RNG.normal(size=(300, 2)).astype(np.float32)}


class Format(NamedTuple):
    write: Callable[[Path], object]  # into a folder
    read: Callable[[Path], object]  # all that must not change
    damaged: str  # the files that are
    refusals: tuple[type[Exception], ...] = REFUSALS


# ---------------------------------------------------------------------- files with a checksum


def of_result(kind, result, name):
    def read(folder):
        found = kind.load(folder / name)
        matrix = getattr(found, "matrix", found)
        # As text, every float64 is another one, and every nan the same, as in the checksum.
        return found.settings(), {name: repr(x.tolist()) for name, x in matrix._arrays().items()}

    return Format(lambda folder: result().save(folder / name), read, name)


def matrix():
    return fastcka.cka_matrix(LAYERS, inference=True)


def models():
    return fastcka.cka_models({"a": LAYERS, "b": {"fc": LAYERS["conv"]}})


def of_stream(method):
    def write(folder):
        stream = StreamingCKA(method)
        stream.update(LAYERS)
        stream.save(folder / "stream.npz")

    def read(folder):
        stream = StreamingCKA.load(folder / "stream.npz")
        before = repr(stream), stream.result().values.tobytes()
        stream.update(LAYERS)
        return before, stream.result().values.tobytes()

    return Format(write, read, "stream.npz")


def of_partial(run):
    def read(folder):
        part = Partial.load(folder / "sums.partial")
        return part.settings, part.covered, part.digest

    return Format(lambda folder: run().save(folder / "sums.partial"), read, "sums.partial")


def inference():
    sweep = Sweep(LAYERS, inference=True)
    products = sweep.run(sweep.blocks("products"), "products")
    return sweep.run(0, given=products)


class Stopped(Exception):
    pass


def stop(done, total):
    raise Stopped


def write_checkpoint(folder):
    path = folder / "sums.npz"
    with pytest.raises(Stopped):
        fastcka.cka_matrix(LAYERS, kernel="distance", checkpoint=path, progress=stop)


def resume(folder):
    return fastcka.cka_matrix(LAYERS, kernel="distance", checkpoint=folder / "sums.npz").values.tobytes()


# ---------------------------------------------------------------------- stores: values have no checksum


def write_store(folder):
    with fastcka.create_store(folder / "s", provenance={"seed": 1}) as writer:
        writer.append(LAYERS, range(300))


def read_store(folder):
    store = fastcka.open_store(folder / "s")
    held = {name: (array.dtype, array.shape, len(array.tobytes())) for name, array in store.items()}
    return held, store.ids, store.provenance


def append_to_store(folder):
    with fastcka.create_store(folder / "s", if_exists="append") as writer:
        writer.append(LAYERS, range(300, 600))
    return read_store(folder)


# ---------------------------------------------------------------------- files of other programs: no checksum


def of_layers(name, write):
    def read(folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of those whose formats they are, about what they find
            for layer in fastcka.open_layers(folder / name).values():
                fastcka.cka(layer, layer)

    return Format(write, read, name, (*REFUSALS, TypeError, MemoryError))


def write_safetensors(folder):
    pytest.importorskip("safetensors.numpy").save_file(LAYERS, folder / "layers.safetensors")


def write_hdf5(folder):
    with pytest.importorskip("h5py").File(folder / "layers.h5", "w") as file:
        for name, array in LAYERS.items():
            file.create_dataset(name, data=array, compression="gzip" if name == "fc" else None)


def write_zarr(folder):
    group = pytest.importorskip("zarr").open_group(folder / "layers.zarr", mode="w")
    for name, array in LAYERS.items():
        group.create_array(name, data=array, chunks=(100, 2))


FORMATS = {
    "matrix as npz": of_result(CKAMatrix, matrix, "matrix.npz"),
    "matrix as json": of_result(CKAMatrix, matrix, "matrix.json"),
    "models as npz": of_result(CKAModels, models, "models.npz"),
    "models as json": of_result(CKAModels, models, "models.json"),
    "exact stream": of_stream("exact"),
    "mini-batch stream": of_stream("minibatch"),
    "partial statistics": of_partial(lambda: Sweep(LAYERS).run(0, "statistics")),
    "partial median": of_partial(lambda: Sweep(LAYERS, kernel="rbf").run(0, "median-1")),
    "partial inference": of_partial(inference),
    "checkpoint": Format(write_checkpoint, resume, "sums.npz"),
    "manifest": Format(write_store, read_store, "s/manifest.json"),
    "ids": Format(write_store, read_store, "s/ids.jsonl"),
    "layer of a store": Format(write_store, read_store, "s/*.npy"),
    "store that grows": Format(write_store, append_to_store, "s/*[ln]"),
    "npy": of_layers("layers.npy", lambda folder: np.save(folder / "layers.npy", LAYERS["conv"])),
    "npz": of_layers("layers.npz", lambda folder: np.savez(folder / "layers.npz", **LAYERS)),
    "safetensors": of_layers("layers.safetensors", write_safetensors),
    "hdf5": of_layers("layers.h5", write_hdf5),
    "zarr": of_layers("layers.zarr", write_zarr),
}

ARCHIVES = [
    name
    for name, form in FORMATS.items()
    if form.refusals == REFUSALS and form.damaged.endswith((".npz", ".partial"))
]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@cache
def sound(name):
    """The files of a format, and what is read from them."""
    with tempfile.TemporaryDirectory() as folder:
        FORMATS[name].write(Path(folder))
        return files(Path(folder)), FORMATS[name].read(Path(folder))


@st.composite
def damage(draw, content):
    """Flip, cut, insert, delete, repeat or zero bytes, rather often where headers and tables are."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        last = max(len(content) - 1, 0)
        at = draw(
            st.one_of(
                st.integers(0, last), st.integers(0, min(last, 400)), st.integers(max(0, last - 400), last)
            )
        )
        size = draw(st.one_of(st.integers(1, 9), st.integers(1, 300)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "delete", "repeat", "zero"]))
        if kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=9))
        elif kind == "delete":
            del content[at : at + size]
        elif kind == "repeat":
            content[at:at] = content[at : at + size]
        else:
            content[at : at + size] = bytes(len(content[at : at + size]))
    return bytes(content)


@pytest.fixture(autouse=True, scope="module")
def _fast_disk():
    """Nobody pulls the plug: what is written may stay in the buffers of the system."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def check(name, folder):
    """Read what is damaged: all is as it was, or it is refused and not touched."""
    form, damaged = FORMATS[name], files(folder)
    try:
        assert form.read(folder) == sound(name)[1]
        return
    except form.refusals as error:
        refusal = str(error)
    assert refusal
    assert form.refusals != REFUSALS or str(folder) in refusal
    assert files(folder) == damaged


@pytest.mark.parametrize("name", FORMATS)
@hypothesis.given(data=st.data())
def test_a_damaged_file_is_refused_or_read(name, data):
    contents, _ = sound(name)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        pattern = FORMATS[name].damaged
        found = [path for path in contents if path.match(pattern) or path.parts[0] == pattern]
        path = folder / data.draw(st.sampled_from(found))
        path.write_bytes(data.draw(damage(path.read_bytes())))
        check(name, folder)


@pytest.mark.parametrize("name", ARCHIVES)
@hypothesis.given(data=st.data())
def test_a_bit_behind_the_checksums_of_the_container(name, data):
    """A program that rewrites an archive makes those right."""
    ((path, content),) = sound(name)[0].items()
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    changed = data.draw(st.sampled_from([name for name, array in arrays.items() if array.size]))
    flat = bytearray(arrays[changed].tobytes())
    at = data.draw(st.integers(0, len(flat) - 1))
    flat[at] ^= 1 << data.draw(st.integers(0, 7))
    arrays[changed] = np.frombuffer(flat, arrays[changed].dtype).reshape(arrays[changed].shape)
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / path, "wb") as file:
            np.savez(file, **arrays)
        check(name, Path(folder))
