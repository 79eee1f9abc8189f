# SPDX-License-Identifier: BSD-3-Clause
"""Files that somebody made, not damaged: a right checksum, but contents that no stream ever had."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastcka import StreamingCKA
from fastcka._headers import digest
from fastcka._streams.saved import _contents

DEEP = "[" * 100_000


def saved(path, method, n=50, two_sided=True):
    rng = np.random.default_rng(0)
    stream = StreamingCKA(method)
    a = {"a": rng.normal(size=(n, 3)), "b": rng.normal(size=(n, 2))}
    stream.update(a, {"c": rng.normal(size=(n, 2))} if two_sided else None)
    stream.save(path)
    with np.load(path) as archive:
        return stream, {name: archive[name] for name in archive}


def craft(path, arrays, settings=(), state=()):
    """Save again with other settings and arrays (None: without), and a checksum that is right."""
    arrays = {name: array for name, array in {**arrays, **dict(state)}.items() if array is not None}
    header = {**json.loads(str(arrays.pop("header"))), **dict(settings)}
    header["sha256"] = digest(header, _contents(arrays))
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


LAYOUT = {"names": [["a", "b"], ["c"]], "widths": [[3, 2], [2]], "double_precision": True, "labelled": False}
SETTINGS = {
    "method": {"method": "other"},
    "method that is a list": {"method": []},
    "kernel": {"kernel": {"name": "other", "options": {}}},
    "kernel that is a number": {"kernel": 1},
    "option of the kernel": {"kernel": {"name": "linear", "options": {"sigma": 1}}},
    "options that are a number": {"kernel": {"name": "linear", "options": 1}},
    "estimator": {"estimator": None},
    "weights": {"weights": "other"},
    "dtype": {"dtype": "int8"},
    "dtype that is an object": {"dtype": {"a": 1}},
    "fractional samples": {"n_samples": 50.5},
    "other samples": {"n_samples": 51},
    "endless samples": {"n_samples": float("inf")},
    "fractional batches": {"n_batches": 1.5},
    "batches that are a text": {"n_batches": "<script>"},
    "layout": {"layout": 7},
    "no layout": {"layout": None},
    "precision": {"layout": {**LAYOUT, "double_precision": 1}},
    "three networks": {"layout": {**LAYOUT, "names": [["a"]] * 3, "widths": [[1]] * 3}},
    "no layer": {"layout": {**LAYOUT, "names": [[], []], "widths": [[], []]}},
    "same name": {"layout": {**LAYOUT, "names": [["a", "a"], ["c"]]}},
    "names that are numbers": {"layout": {**LAYOUT, "names": [[1, 2], ["c"]]}},
    "names that are lists": {"layout": {**LAYOUT, "names": [[[], []], ["c"]]}},
    "no features": {"layout": {**LAYOUT, "widths": [[3, 0], [2]]}},
    "more features than are there": {"layout": {**LAYOUT, "names": [["a"], ["c"]], "widths": [[3], [2]]}},
    "fractional features": {"layout": {**LAYOUT, "widths": [[3, 2.5], [2]]}},
    "negative features": {"layout": {**LAYOUT, "widths": [[3, -2], [2]]}},
    "version": {"format_version": "1"},
    "older version": {"format_version": 1},
    "version zero": {"format_version": 0},
    "newer version": {"format_version": 10**400},
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_settings_that_no_stream_has(tmp_path, method, case):
    path = tmp_path / "stream.npz"
    _, arrays = saved(path, method)
    craft(path, arrays, SETTINGS[case])
    with pytest.raises(ValueError, match=r"stream\.npz: "):
        StreamingCKA.load(path)


STATES = {
    ("minibatch", "hsic that broadcasts"): {"hsic": np.ones((1, 1))},
    ("minibatch", "hsic of another type"): {"hsic": np.ones((2, 1), complex)},
    ("minibatch", "fractional samples"): {"n_samples": np.array(50.0)},
    ("minibatch", "samples as a vector"): {"n_samples": np.array([50])},
    ("minibatch", "status that broadcasts"): {"sound_a": np.array([True])},
    ("minibatch", "missing"): {"self_b": None},
    ("minibatch", "one too many"): {"other": np.ones(3)},
    ("exact", "scale 0"): {"scale": np.zeros(3)},
    ("exact", "scale nan"): {"scale": np.array([1, np.nan, 1])},
    ("exact", "scale inf"): {"scale": np.array([1, np.inf, 1])},
    ("exact", "negative scale"): {"scale": -np.ones(3)},
    ("exact", "scale that broadcasts"): {"scale": np.ones(1)},
    ("exact", "products of another shape"): {"zz_0": np.ones(1)},
    ("exact", "sums that broadcast"): {"zs_0": np.ones(4)},
    ("exact", "complex sums"): {"ss": np.ones(16, complex)},
    ("exact", "sums that are nan"): {"ss": np.full(16, np.nan)},
    ("exact", "values that are infinite"): {"pending_1": np.full(100, np.inf)},
    ("exact", "pending samples of another type"): {"pending_0": np.ones(150, np.float32)},
    ("exact", "a block that was not folded"): {"samples": np.array([0, 0, 5000])},
    ("exact", "negative samples"): {"samples": np.array([100, 0, -50])},
    ("exact", "fractional samples"): {"samples": np.array([0, 0, 50.0])},
    ("exact", "two counts"): {"samples": np.array([0, 50])},
    ("exact", "massive samples that are not there"): {"samples": np.array([0, 50, 0])},
    ("exact", "missing"): {"zs_1": None},
    ("exact", "one too many"): {"other": np.ones(3)},
}  # fmt: skip


@pytest.mark.parametrize(("method", "case"), STATES)
def test_states_that_no_stream_has(tmp_path, method, case):
    path = tmp_path / "stream.npz"
    _, arrays = saved(path, method)
    craft(path, arrays, state=STATES[method, case])
    with pytest.raises(ValueError, match=r"stream\.npz: damaged"):
        StreamingCKA.load(path)


@pytest.mark.parametrize("method", ["exact", "minibatch"])
@pytest.mark.parametrize("n", [50, 5000])
@pytest.mark.parametrize("two_sided", [False, True])
def test_states_that_streams_have(tmp_path, method, n, two_sided):
    path = tmp_path / "stream.npz"
    stream, arrays = saved(path, method, n, two_sided)
    craft(path, arrays)
    assert StreamingCKA.load(path).result().values.tobytes() == stream.result().values.tobytes()
    merged = StreamingCKA.load(path)
    merged.merge(stream)
    merged.save(path)
    assert StreamingCKA.load(path).result().values.tobytes() == merged.result().values.tobytes()


def test_header_that_is_nested_too_deeply(tmp_path):
    path = tmp_path / "stream.npz"
    _, arrays = saved(path, "exact")
    np.savez(path, **{**arrays, "header": np.array(DEEP)})
    with pytest.raises(ValueError, match=r"stream\.npz: damaged"):
        StreamingCKA.load(path)


def test_two_arrays_of_one_name(tmp_path):
    path = tmp_path / "stream.npz"
    saved(path, "exact")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("scale.npy", archive.read("scale.npy"))
    with pytest.raises(ValueError, match="two arrays of one name"):
        StreamingCKA.load(path)


def test_a_length_that_is_not_there_is_not_believed(tmp_path):
    path = tmp_path / "stream.npz"
    _, arrays = saved(path, "exact")
    np.savez(path, **arrays)
    content = path.read_bytes()
    long = content.replace(b"'shape': (3,), }      ", b"'shape': (3333333,), }")
    assert long != content
    assert len(long) == len(content)
    path.write_bytes(long)
    with pytest.raises(ValueError, match=r"stream\.npz: damaged"):
        StreamingCKA.load(path)


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    """2 GB of zeros are 2 MB in an archive: refused before they are in memory."""
    path = tmp_path / "stream.npz"
    _, arrays = saved(path, "minibatch")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, array)
        with archive.open("large.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 28,)}
            )
            for _ in range(1 << 7):
                file.write(bytes(1 << 24))
    assert path.stat().st_size < 20e6
    script = (
        "import resource, sys, fastcka\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
        "try: fastcka.StreamingCKA.load(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{path}: not a StreamingCKA" in done.stdout
