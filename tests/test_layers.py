# SPDX-License-Identifier: BSD-3-Clause
"""Layers that others saved: every format gives the same arrays, mapped where possible, or a clear refusal."""

from __future__ import annotations

import json
import re
import sys
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import zarr

import fastcka
from fastcka.layers import open_layers

# In the order in which the formats list them: numbers by size.
LAYERS = {
    f"layer{i}": np.random.default_rng(i).normal(size=(12, i + 2)).astype(np.float32) for i in (1, 2, 10)
}
SHUFFLED = {name: LAYERS[name] for name in ("layer10", "layer1", "layer2")}


def save_directory(path):
    path.mkdir()
    for name, array in SHUFFLED.items():
        np.save(path / f"{name}.npy", array)
    (path / "README.txt").write_text("not an array")


def save_hdf5(path, **options):
    with h5py.File(path, "w") as file:
        for name, array in SHUFFLED.items():
            file.create_dataset(name, data=array, **options)


def save_zarr(path):
    group = zarr.open_group(path, mode="w")
    for name, array in SHUFFLED.items():
        group.create_array(name, data=array)


FORMATS = {
    "directory": save_directory,
    "plain.npz": lambda path: np.savez(path, **LAYERS),
    "compressed.npz": lambda path: np.savez_compressed(path, **LAYERS),
    "a.safetensors": lambda path: safetensors.numpy.save_file(SHUFFLED, path, metadata={"made": "by a test"}),
    "plain.h5": save_hdf5,
    "chunked.hdf5": lambda path: save_hdf5(path, chunks=True, compression="gzip"),
    "group.zarr": save_zarr,
}
MAPPED = {"directory", "plain.npz", "a.safetensors", "plain.h5"}


def is_mapped(array):
    """Whether the memory of `array` is that of a file."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_layers(name, tmp_path):
    FORMATS[name](tmp_path / name)
    layers = open_layers(tmp_path / name)
    assert list(layers) == list(LAYERS)
    assert len(layers) == 3
    assert "layer2" in layers
    assert "layer3" not in layers
    assert repr(layers) == "<layers layer1, layer2, layer10>"
    for layer, array in layers.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, LAYERS[layer])
        assert is_mapped(array) == (name in MAPPED)
        if name in MAPPED:
            assert not array.flags.writeable
    np.testing.assert_array_equal(fastcka.cka_matrix(layers).values, fastcka.cka_matrix(LAYERS).values)


def test_npz_keeps_the_order_in_which_layers_were_saved(tmp_path):
    np.savez(tmp_path / "a.npz", **SHUFFLED)
    assert list(open_layers(tmp_path / "a.npz")) == list(SHUFFLED)


@pytest.mark.parametrize("order", ["C", "F"])
def test_single_array_is_named_by_its_file(tmp_path, order):
    np.save(tmp_path / "logits.npy", np.asarray(LAYERS["layer2"], order=order))
    layers = open_layers(str(tmp_path / "logits.npy"))
    assert list(layers) == ["logits"]
    np.testing.assert_array_equal(layers["logits"], LAYERS["layer2"])
    assert layers["logits"].flags.f_contiguous == (order == "F")
    assert is_mapped(layers["logits"])


def test_nested_groups_are_named_by_their_path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["block10/conv"] = LAYERS["layer1"]
        file["block9/conv"] = LAYERS["layer2"]
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("block10/conv", data=LAYERS["layer1"])
    group.create_array("block9/conv", data=LAYERS["layer2"])
    for file in ("a.h5", "a.zarr"):
        layers = open_layers(tmp_path / file)
        assert list(layers) == ["block9/conv", "block10/conv"]
        np.testing.assert_array_equal(layers["block10/conv"], LAYERS["layer1"])


def test_zarr_array_and_older_zarr_format(tmp_path):
    zarr.save_array(tmp_path / "one.zarr", LAYERS["layer1"])
    zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2).create_array("x", data=LAYERS["layer1"])
    zarr.create_array(tmp_path / "old_one.zarr", data=LAYERS["layer1"], zarr_format=2)
    for file, layer in (("one.zarr", "one"), ("old.zarr", "x"), ("old_one.zarr", "old_one")):
        layers = open_layers(tmp_path / file)
        assert list(layers) == [layer]
        np.testing.assert_array_equal(layers[layer], LAYERS["layer1"])


@pytest.mark.parametrize(
    "dtype", ["f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "bfloat16"]
)
def test_safetensors_keep_their_type(tmp_path, dtype):
    array = (10 * LAYERS["layer1"]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    safetensors.numpy.save_file({"x": array}, tmp_path / "a.safetensors")
    opened = open_layers(tmp_path / "a.safetensors")["x"]
    assert opened.dtype == ("V2" if dtype == "bfloat16" else dtype)
    assert opened.tobytes() == array.tobytes()


def test_bfloat16_is_compared_as_what_it_is(tmp_path):
    rounded = {name: array.astype(ml_dtypes.bfloat16) for name, array in LAYERS.items()}
    safetensors.numpy.save_file(rounded, tmp_path / "a.safetensors")
    np.save(tmp_path / "b.npy", rounded["layer1"])
    opened, single = open_layers(tmp_path / "a.safetensors"), open_layers(tmp_path / "b.npy")["b"]
    np.testing.assert_array_equal(fastcka.cka_matrix(opened).values, fastcka.cka_matrix(rounded).values)
    assert fastcka.cka(single, opened["layer2"]) == fastcka.cka(rounded["layer1"], rounded["layer2"])


def test_hdf5_values_that_lie_elsewhere_are_read(tmp_path):
    """A file with a user block, values in another file, values never written: none of these can be mapped."""
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["in front of it"] = LAYERS["layer1"]
    external = [(str(tmp_path / "values.bin"), 0, h5py.h5f.UNLIMITED)]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("elsewhere", data=LAYERS["layer1"], external=external)
        file.create_dataset("never written", shape=(12, 3), dtype="f4")
    np.testing.assert_array_equal(open_layers(tmp_path / "a.h5")["in front of it"], LAYERS["layer1"])
    np.testing.assert_array_equal(open_layers(tmp_path / "b.h5")["elsewhere"], LAYERS["layer1"])
    np.testing.assert_array_equal(open_layers(tmp_path / "b.h5")["never written"], np.zeros((12, 3)))


# ------------------------------------------------------------------------------------------- what is refused


def refused(path, *parts):
    """Opening, or reading every layer, fails with the path and these words."""
    pattern = re.escape(str(path)) + ".*" + ".*".join(map(re.escape, parts))
    with pytest.raises(ValueError, match=pattern):
        {name: np.asarray(X) for name, X in open_layers(path).items()}


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "a.npy"))):
        open_layers(tmp_path / "a.npy")


def test_unknown_formats(tmp_path):
    for name in ("activations.pickle", "activations"):
        (tmp_path / name).write_bytes(b"?")
        refused(tmp_path / name, "no known format", ".npy, .npz, .safetensors, .h5, .hdf5", "directories")


def test_nothing_in_it(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "directory without .npy files")
    np.savez(tmp_path / "a.npz")
    safetensors.numpy.save_file({}, tmp_path / "a.safetensors")
    h5py.File(tmp_path / "a.h5", "w").close()
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("a.npz", "a.safetensors", "a.h5", "a.zarr"):
        refused(tmp_path / name, "holds no array")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x93NUMPY", bytes(range(256)) * 8], ids=["empty", "zip", "npy", "any"]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".h5", ".hdf5"])
def test_foreign_content(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path, "cannot be read: ")


@pytest.mark.parametrize("name", ["plain.npz", "compressed.npz", "a.safetensors", "plain.h5", "chunked.hdf5"])
def test_files_that_were_cut(name, tmp_path):
    path = tmp_path / name
    FORMATS[name](path)
    whole = path.read_bytes()
    for kept in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:kept])
        refused(path, "cannot be read: ")


def test_array_that_was_cut(tmp_path):
    np.save(tmp_path / "a.npy", LAYERS["layer1"])
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    refused(tmp_path / "a.npy", f"cut short: an array of shape (12, 3) ends at byte {len(whole)}")


def test_directory_names_the_damaged_file(tmp_path):
    save_directory(tmp_path / "layers")
    (tmp_path / "layers" / "layer2.npy").write_bytes(b"?")
    refused(tmp_path / "layers" / "layer2.npy", "cannot be read")


def test_damaged_compressed_member_is_named(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=LAYERS["layer10"])
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200:300] = bytes(100)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=f"layer 'x' of {re.escape(str(tmp_path / 'a.npz'))} cannot be read"):
        np.asarray(open_layers(tmp_path / "a.npz")["x"])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_is_not_read_however_long_it_says_it_is(tmp_path, compression):
    """Compressed, 1.5 GB of spaces are a small file."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + (1_500_000_000).to_bytes(4, "little") + b" " * 100)
    with pytest.raises(ValueError, match=r"layer 'x' of .*a\.npz .*a header of 1500000000 bytes"):
        open_layers(tmp_path / "a.npz")


def test_python_objects_are_never_unpickled(tmp_path):
    objects = np.array([[1, "a"], [None, 2]], dtype=object)
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "b.npz", x=objects)
    np.savez_compressed(tmp_path / "c.npz", x=objects)
    refused(tmp_path / "a.npy", "Python objects (pickled)")
    with pytest.raises(ValueError, match=r"layer 'x' of .*b\.npz cannot be read: Python objects"):
        open_layers(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"layer 'x' of .*c\.npz cannot be read: Python objects"):
        open_layers(tmp_path / "c.npz")


def write_safetensors(path, entry, data=bytes(8), length=None):
    header = json.dumps({"x": entry}).encode()
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"dtype": "F8_E4M3", "shape": [2, 4], "data_offsets": [0, 8]},
            "type F8_E4M3 are not read, only F64",
        ),
        ({"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}, "cut short: an array of shape (2, 4)"),
        ({"dtype": "F32", "shape": [2, 1], "data_offsets": [-8, 0]}, "bytes -8 to 0"),
        ({"dtype": "F32", "shape": [2, 1], "data_offsets": [-400, -392]}, "(2, 1)"),
        ({"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 8]}, "bytes 0 to 8 cannot be an array (1, 1)"),
        ({"dtype": "F32", "shape": [-2, 1], "data_offsets": [0, 8]}, "negative"),
        ({"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}, ""),
        ({"shape": [2, 1], "data_offsets": [0, 8]}, "dtype"),
        (["no", "entry"], ""),
    ],
)
def test_safetensors_that_contradict_themselves(tmp_path, entry, words):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, entry)
    with pytest.raises(
        ValueError, match=f"layer 'x' of {re.escape(str(path))} cannot be read: .*{re.escape(words)}"
    ):
        open_layers(path)


def test_safetensors_header_longer_than_the_file(tmp_path):
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
    write_safetensors(tmp_path / "a.safetensors", entry, length=2**62)
    refused(tmp_path / "a.safetensors", "its header would end at byte 4611686018427387912")


@pytest.mark.parametrize(("module", "name"), [("h5py", "plain.h5"), ("zarr", "group.zarr")])
def test_missing_package_is_named(tmp_path, monkeypatch, module, name):
    FORMATS[name](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'needs {module}: pip install "fastcka\[io\]"'):
        open_layers(tmp_path / name)


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    """What the system refuses stays an OSError: nothing is known about the content."""
    path = tmp_path / "a.npy"
    np.save(path, LAYERS["layer1"])

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(PermissionError, match="Permission denied"):
        open_layers(path)


def test_layers_cannot_be_replaced(tmp_path):
    np.savez(tmp_path / "a.npz", **LAYERS)
    layers = open_layers(tmp_path / "a.npz")
    with pytest.raises(TypeError, match="item assignment"):
        layers["layer1"] = np.zeros((12, 3))
    with pytest.raises(ValueError, match="read-only"):
        layers["layer1"][0, 0] = 0
    with pytest.raises(KeyError, match="layer3"):
        layers["layer3"]


# -------------------------------------------------------------------------------------------------- shards


def shards(folder, array, numbers, name="batch_{}.npy"):
    folder.mkdir(parents=True)
    for number, part in zip(numbers, np.array_split(array, len(numbers)), strict=True):
        np.save(folder / name.format(number), part)


def test_shards_are_joined_in_the_order_of_their_numbers(tmp_path):
    X = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    shards(tmp_path / "layer10", X, range(12))  # batch_2 comes before batch_10
    shards(tmp_path / "layer2", -X, ["000", "001"])
    np.save(tmp_path / "layer3.npy", X[:, :2])
    (tmp_path / "figures").mkdir()
    layers = open_layers(tmp_path)
    assert list(layers) == ["layer2", "layer3", "layer10"]
    for name, expected in (("layer10", X), ("layer2", -X), ("layer3", X[:, :2])):
        np.testing.assert_array_equal(layers[name], expected)
        assert layers[name].dtype == np.float32


@pytest.mark.parametrize("name", ["batch{}", "shard-{}", "rank0_part_{}", "chunk_{}"])
def test_what_shards_are_called(tmp_path, name):
    X = np.arange(12.0).reshape(6, 2)
    shards(tmp_path / "layer", X, ["1", "2"], f"{name}.npy")
    np.testing.assert_array_equal(open_layers(tmp_path)["layer"], X)


def test_numbered_layers_of_several_networks_are_not_joined(tmp_path):
    for epoch in ("epoch1", "epoch2"):
        shards(tmp_path / epoch, np.zeros((6, 2)), range(3), "layer{}.npy")
    refused(tmp_path, "directory without .npy files or folders of shards")


def test_shards_keep_bfloat16(tmp_path):
    X = np.arange(12, dtype=np.uint16).reshape(6, 2).view("V2")
    shards(tmp_path / "layer", X, range(2))
    np.testing.assert_array_equal(
        np.asarray(open_layers(tmp_path)["layer"]).view(np.uint16), X.view(np.uint16)
    )


def test_shards_that_do_not_make_one_layer_are_refused(tmp_path):
    X = np.zeros((6, 2))
    shards(tmp_path / "gap" / "layer", X, ["000", "001", "003"])
    refused(tmp_path / "gap", "lacks shards", "batch_001.npy", "batch_003.npy")
    shards(tmp_path / "twice" / "layer", X, ["1", "01"])
    refused(tmp_path / "twice", "has one twice")
    shards(tmp_path / "mixed" / "layer", X, range(2))
    np.save(tmp_path / "mixed" / "layer" / "mean.npy", X)
    refused(tmp_path / "mixed", "one series of shards", "mean.npy")
    shards(tmp_path / "ranks" / "layer", X, [0, 1], "rank0_batch_{}.npy")
    np.save(tmp_path / "ranks" / "layer" / "rank1_batch_0.npy", X)
    refused(tmp_path / "ranks", "one series of shards", "rank1_batch_0.npy")
    shards(tmp_path / "both" / "layer", X, range(2))
    np.save(tmp_path / "both" / "layer.npy", X)
    refused(tmp_path / "both", "layer 'layer' twice")


@pytest.mark.parametrize("odd", [np.zeros((3, 3)), np.zeros((3, 2), np.float32), np.float64(0)])
def test_shards_of_other_widths_or_dtypes_are_refused(tmp_path, odd):
    shards(tmp_path / "layer", np.zeros((6, 2)), range(2))
    np.save(tmp_path / "layer" / "batch_2.npy", odd)
    with pytest.raises(ValueError, match=r"batch_2\.npy cannot be joined with batch_0\.npy"):
        open_layers(tmp_path)


def test_damaged_shard_is_named(tmp_path):
    shards(tmp_path / "layer", np.zeros((6, 2)), range(2))
    (tmp_path / "layer" / "batch_1.npy").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"batch_1\.npy cannot be read"):
        open_layers(tmp_path)
