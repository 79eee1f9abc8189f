# SPDX-License-Identifier: BSD-3-Clause
"""Stores: what was appended comes back, a kill loses one batch, what is wrong is refused in words."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from killed import content

import fastcka
from fastcka import cli
from fastcka._headers import digest
from fastcka.store import creating, is_store, manifest
from fastcka.store.layer_file import LayerFile

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"


def some_layers(n, seed=0, widths=(6, 3)):
    rng = np.random.default_rng(seed)
    return {f"layer{i}": rng.normal(size=(n, p)).astype(np.float32) for i, p in enumerate(widths)}


def make(path, layers=None, ids=None, sizes=None, **options):
    """Write layers as batches of these sizes; return the path."""
    layers = some_layers(12) if layers is None else layers
    sizes = [len(next(iter(layers.values())))] if sizes is None else sizes
    start = 0
    with fastcka.create_store(path, **options) as writer:
        for size in sizes:
            rows = slice(start, start + size)
            writer.append(
                {name: X[rows] for name, X in layers.items()}, None if ids is None else list(ids[rows])
            )
            start += size
    return path


def run_python(*arguments):
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def assert_holds(store, layers):
    assert list(store) == list(layers)
    for name, X in layers.items():
        assert store[name].dtype == X.dtype
        np.testing.assert_array_equal(store[name], X)


# ---------------------------------------------------------------------- what comes back


def test_what_was_appended_comes_back(tmp_path):
    layers, ids = some_layers(12), [f"image {i}" for i in range(12)]
    store = fastcka.open_store(make(tmp_path / "s", layers, ids, [5, 4, 3], provenance={"seed": 1}))
    assert_holds(store, layers)
    assert (store.n_samples, store.ids, store.provenance) == (12, tuple(ids), {"seed": 1})
    assert store.path == tmp_path / "s"
    assert len(store) == 2
    assert "layer1" in store
    assert "layer2" not in store
    assert repr(store) == f"<store '{tmp_path / 's'}': 12 samples; layers layer0, layer1>"
    with pytest.raises(KeyError, match="layer2"):
        store["layer2"]


def test_layers_are_mapped_and_cannot_be_changed(tmp_path):
    array = fastcka.open_store(make(tmp_path / "s"))["layer0"]
    assert type(array) is np.ndarray
    assert isinstance(array.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 0


@pytest.mark.parametrize("dtype", DTYPES.split())
def test_every_dtype_is_kept(tmp_path, rng, dtype):
    X = rng.integers(0, 2, size=(7, 3)).astype(dtype)
    store = fastcka.open_store(make(tmp_path / "s", {"x": X}, sizes=[4, 3]))
    assert_holds(store, {"x": X})
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["layers"][0]["dtype"] == dtype


@pytest.mark.parametrize("source", ["torch", "ml_dtypes"])
def test_bfloat16_is_kept(tmp_path, rng, source):
    values = rng.normal(size=(30, 4)).astype(np.float32)
    X = values.astype(ml_dtypes.bfloat16)
    given = pytest.importorskip("torch").tensor(values).bfloat16() if source == "torch" else X
    store = fastcka.open_store(make(tmp_path / "s", {"x": given}, sizes=[20, 10]))
    assert store["x"].dtype == np.dtype("V2")
    assert store["x"].tobytes() == X.tobytes()
    np.testing.assert_array_equal(store["x"].view(ml_dtypes.bfloat16), X)
    assert fastcka.cka(store["x"], values[:, :2]) == fastcka.cka(X, values[:, :2])


def test_values_that_are_not_finite_are_kept_and_named_later(tmp_path):
    layers = some_layers(8)
    layers["layer1"][5, 2] = np.nan
    store = fastcka.open_store(make(tmp_path / "s", layers))
    np.testing.assert_array_equal(store["layer1"], layers["layer1"])
    with pytest.raises(ValueError, match="'layer1' of layers_a contains NaN, first at sample 5, feature 2"):
        fastcka.cka_matrix(store)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: X[::2, ::-1], lambda X: X.astype(">f4")])
def test_any_layout_is_taken(tmp_path, layout):
    X = layout(some_layers(8)["layer0"])
    assert_holds(fastcka.open_store(make(tmp_path / "s", {"x": X})), {"x": X.astype("=f4")})


NAMES = ["a/b", "../../x", "..", "", "Conv", "conv", "höhe ∘ 1", "x" * 5000, "a\nb", "nul\0", "manifest.json"]


def test_any_name_is_kept(tmp_path):
    layers = {name: np.full((4, 2), float(i)) for i, name in enumerate(NAMES)}
    assert_holds(fastcka.open_store(make(tmp_path / "s", layers)), layers)
    assert os.listdir(tmp_path) == ["s"]
    files = [name.lower() for name in os.listdir(tmp_path / "s")]
    assert len(set(files)) == len(NAMES) + 2  # the manifest and the lock
    assert all(re.fullmatch(r"[a-z0-9._-]{1,100}", name) for name in files)


def test_files_are_those_that_numpy_reads(tmp_path):
    layers = some_layers(12)
    make(tmp_path / "s", layers, sizes=[1, 9, 2])
    for i, (name, X) in enumerate(layers.items()):
        np.testing.assert_array_equal(np.load(tmp_path / "s" / f"000{i}-{name}.npy"), X)


@hypothesis.given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.data())
def test_batches_make_no_difference(tmp_path_factory, sizes, data):
    """Whatever the batches, and wherever it was interrupted, the files are the same but for the manifest."""
    folder = tmp_path_factory.mktemp("stores")
    layers = some_layers(sum(sizes))
    ids = list(range(sum(sizes)))
    make(folder / "whole", layers, ids)
    done = data.draw(st.integers(0, len(sizes)))
    make(folder / "parts", layers, ids, sizes[:done])
    with fastcka.create_store(folder / "parts", if_exists="append") as writer:
        assert writer.n_samples == sum(sizes[:done])
        for size in sizes[done:]:
            rows = slice(writer.n_samples, writer.n_samples + size)
            writer.append({name: X[rows] for name, X in layers.items()}, ids[rows])
    assert content(folder / "parts") == content(folder / "whole")


def test_ids_are_kept_as_they_are(tmp_path):
    ids = ["a", "1", 1, 2**70, -5, "ä\n\r\u2028\x85", "", "\ud800", np.str_("n"), np.int64(7)]
    store = fastcka.open_store(make(tmp_path / "s", some_layers(10), ids, [4, 6]))
    assert store.ids == tuple(ids)
    assert {type(x) for x in store.ids} == {str, int}


def test_manifest_does_not_grow_with_the_samples(tmp_path):
    with fastcka.create_store(tmp_path / "s") as writer:
        sizes = []
        for batch in range(5):
            writer.append(some_layers(20), range(20 * batch, 20 * batch + 20))
            sizes.append((tmp_path / "s" / "manifest.json").stat().st_size)
    assert max(sizes) <= min(sizes) + 5  # digits of counts


def test_writer_says_what_it_has(tmp_path):
    with fastcka.create_store(tmp_path / "s", provenance={"a": [1, (2,)]}) as writer:
        assert (writer.n_samples, writer.layers, writer.path) == (0, {}, tmp_path / "s")
        assert fastcka.open_store(tmp_path / "s").n_samples == 0
        writer.append(some_layers(3))
        float32 = np.dtype(np.float32)
        assert writer.layers == {"layer0": (6, float32), "layer1": (3, float32)}
        assert writer.provenance == {"a": [1, [2]]}
        assert repr(writer) == f"<StoreWriter '{tmp_path / 's'}': 3 samples, open>"
    assert repr(writer) == f"<StoreWriter '{tmp_path / 's'}': 3 samples, closed>"


# ---------------------------------------------------------------------- what it is for


def test_comparisons_give_the_same_bits_as_arrays(tmp_path):
    a, b = some_layers(50, seed=1), some_layers(50, seed=2, widths=(4, 8, 2))
    ids = list(range(50))
    stores = [
        fastcka.open_store(make(tmp_path / "a", a, ids, [20, 30])),
        fastcka.open_store(make(tmp_path / "b", b, ids)),
    ]
    assert fastcka.cka_matrix(*stores).values.tobytes() == fastcka.cka_matrix(a, b).values.tobytes()
    assert fastcka.cka_matrix(stores[0]).values.tobytes() == fastcka.cka_matrix(a).values.tobytes()


def test_open_layers_knows_stores(tmp_path):
    layers = {"b/1": np.eye(4), "a/0": np.ones((4, 1))}
    opened = fastcka.open_layers(make(tmp_path / "s", layers))
    assert isinstance(opened, fastcka.Store)
    assert_holds(opened, layers)


def test_command_line_compares_stores_and_refuses_other_samples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make("a", ids=range(12))
    make("b", ids=range(12))
    make("c", ids=range(1, 13))
    assert cli.main(["compare", "a", "b"]) == 0
    matrix = fastcka.cka_matrix(some_layers(12), some_layers(12)).with_models("a", "b")
    assert capsys.readouterr().out == f"{matrix}\n"
    assert cli.main(["compare", "a", "c"]) == 2
    assert capsys.readouterr().err.startswith(
        "fastcka: error: a and c hold different samples: sample 0 is 0 in a and 1 in c;"
    )


def test_what_is_a_store(tmp_path):
    make(tmp_path / "s")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text('{"format": "fastcka.St')
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"format": "other"}')
    np.save(tmp_path / "foreign" / "x.npy", np.eye(3))
    assert is_store(tmp_path / "s")
    assert is_store(str(tmp_path / "damaged"))
    for name in ("foreign", "foreign/x.npy", "nothing", "."):
        assert not is_store(tmp_path / name)
    assert list(fastcka.open_layers(tmp_path / "foreign")) == ["x"]
    with pytest.raises(ValueError, match=r"manifest\.json: damaged: not valid JSON"):
        fastcka.open_layers(tmp_path / "damaged")


def test_store_can_be_moved_and_linked(tmp_path):
    layers = some_layers(12)
    make(tmp_path / "s", layers)
    shutil.move(tmp_path / "s", tmp_path / "t")
    (tmp_path / "link").symlink_to("t")
    shutil.move(tmp_path / "t" / "0000-layer0.npy", tmp_path / "on another disk")
    (tmp_path / "t" / "0000-layer0.npy").symlink_to(tmp_path / "on another disk")
    assert_holds(fastcka.open_store(tmp_path / "link"), layers)
    make(tmp_path / "link", layers, if_exists="append")
    both = {name: np.concatenate([X, X]) for name, X in layers.items()}
    assert_holds(fastcka.open_store(tmp_path / "t"), both)


def test_reading_needs_no_permission_to_write(tmp_path, monkeypatch):
    layers = some_layers(12)
    make(tmp_path / "s", layers, range(12))
    opened = open

    def reading(file, mode="r", *arguments, **options):
        assert mode in ("r", "rb"), f"{file} opened with {mode}"
        return opened(file, mode, *arguments, **options)

    def never(*arguments, **options):
        raise AssertionError(f"{arguments}: not only reading")

    monkeypatch.setattr("builtins.open", reading)
    for name in ("open", "mkdir", "unlink", "replace"):
        monkeypatch.setattr(os, name, never)
    store = fastcka.open_store(tmp_path / "s")
    assert_holds(store, layers)
    assert store.ids == tuple(range(12))


def test_store_can_be_sent_to_another_process(tmp_path):
    store = pickle.loads(pickle.dumps(fastcka.open_store(make(tmp_path / "s", ids=range(12)))))
    assert_holds(store, some_layers(12))
    assert store.ids == tuple(range(12))


# ---------------------------------------------------------------------- interrupted


@pytest.mark.parametrize(("if_exists", "before"), [("append", "None"), ("replace", "old")])
def test_killed_at_any_line(tmp_path, if_exists, before):
    """tests/killed.py: SIGKILL at every fifth line that writing executes."""
    script = Path(__file__).with_name("killed.py")
    status, output, errors = run_python(script, tmp_path, if_exists, "5")
    assert status == 0, errors
    kills, *committed = output.split()
    assert int(kills) > 50
    assert committed == ["0", "1", "2", "3", before]


def test_unfinished_tail_is_ignored_and_cut_off(tmp_path):
    layers, ids = some_layers(12), list(range(12))
    make(tmp_path / "whole", layers, ids)
    make(tmp_path / "s", layers, ids, [8])
    for file in [*(tmp_path / "s").glob("*.npy"), tmp_path / "s" / "ids.jsonl"]:
        with open(file, "ab") as tail:
            tail.write(b"half a batch")
    store = fastcka.open_store(tmp_path / "s")
    assert_holds(store, {name: X[:8] for name, X in layers.items()})
    assert store.ids == tuple(range(8))
    with fastcka.create_store(tmp_path / "s", if_exists="append") as writer:
        assert all(b"half" not in data for data in content(tmp_path / "s").values())
        writer.append({name: X[8:] for name, X in layers.items()}, ids[8:])
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_everything_is_on_the_disk_before_the_manifest_counts_it(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def named(descriptor):
        return re.sub(r"[0-9a-f]{16}", "*", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", lambda d: (fsync(d), events.append(named(d))))
    monkeypatch.setattr(os, "replace", lambda a, b: (replace(a, b), events.append("replace")))
    with fastcka.create_store(tmp_path / "s") as writer:
        events.clear()
        writer.append(some_layers(3), list("abc"))
    data = ["0000-layer0.npy", "0001-layer1.npy", "ids.jsonl", "s"]
    assert events == [*data, ".manifest.json.*.tmp", "replace", "s"]


def test_reader_sees_what_was_committed_when_it_opened(tmp_path):
    layers = some_layers(40)
    with fastcka.create_store(tmp_path / "s") as writer:
        stores = []
        for start in range(0, 40, 10):
            writer.append({name: X[start : start + 10] for name, X in layers.items()})
            stores.append(fastcka.open_store(tmp_path / "s"))
    for i, store in enumerate(stores):
        assert_holds(store, {name: X[: 10 * i + 10] for name, X in layers.items()})


def test_reader_beside_a_writer_in_another_process(tmp_path):
    script = (
        "import sys, numpy as np, fastcka\n"
        "with fastcka.create_store(sys.argv[1]) as writer:\n"
        "    for i in range(60):\n"
        "        X = np.full((5, 2000), float(i))\n"
        "        writer.append({'a': X, 'b': X[:, :1]}, range(5 * i, 5 * i + 5))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path / "s"]) as process:
        while process.poll() is None:
            if is_store(tmp_path / "s"):
                store = fastcka.open_store(tmp_path / "s")
                n = store.n_samples
                for X in store.values():
                    np.testing.assert_array_equal(X[:, 0], np.arange(n) // 5)
                    assert (X[:, :1] == X).all()
                assert store.ids is None if n == 0 else store.ids == tuple(range(n))
    assert process.returncode == 0
    assert fastcka.open_store(tmp_path / "s").n_samples == 300


# ---------------------------------------------------------------------- failures while writing


def test_full_disk_costs_only_the_batch(tmp_path):
    """A real error of the system, for the second layer of the batch: files must not grow beyond a limit."""
    layers = some_layers(200, widths=(1, 50))
    make(tmp_path / "whole", layers, sizes=[4, 4])
    batches = [{name: X[i : i + 4] for name, X in layers.items()} for i in (0, 4)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(batches[0])
        before = content(tmp_path / "s")
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, limits[1]))
        try:
            with pytest.raises(
                OSError, match="File too large: the batch was not kept, 4 samples are committed"
            ):
                writer.append(layers)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert content(tmp_path / "s") == before
        writer.append(batches[1])
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_interrupt_costs_only_the_batch(tmp_path, monkeypatch):
    write = LayerFile.write

    def interrupted(self, folder, n_rows, batch):
        write(self, folder, n_rows, batch)
        if self.name == "layer1":
            raise KeyboardInterrupt

    with fastcka.create_store(tmp_path / "s") as writer:
        empty = content(tmp_path / "s")
        with monkeypatch.context() as patch:
            patch.setattr(LayerFile, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                writer.append(some_layers(3), list("abc"))
        assert content(tmp_path / "s") == empty
        writer.append(some_layers(3), list("abc"))
    assert_holds(fastcka.open_store(tmp_path / "s"), some_layers(3))


def test_failure_after_the_commit_keeps_the_batch_and_says_so(tmp_path, monkeypatch):
    def failing(folder):
        raise OSError(5, "Input/output error")

    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(some_layers(3), list("abc"))
        with monkeypatch.context() as patch:
            patch.setattr(manifest, "sync_folder", failing)
            with pytest.raises(
                OSError, match="Input/output error: the batch was kept, 6 samples are committed"
            ):
                writer.append(some_layers(3), list("def"))
        assert writer.n_samples == 6
        with pytest.raises(ValueError, match="'d' is the id of sample 3"):
            writer.append(some_layers(1), list("d"))
    assert fastcka.open_store(tmp_path / "s").ids == tuple("abcdef")


def test_writer_closes_when_it_cannot_even_go_back(tmp_path, monkeypatch):
    def failing(*arguments):
        raise OSError(5, "Input/output error")

    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(some_layers(3))
        with monkeypatch.context() as patch:
            patch.setattr(LayerFile, "write", failing)
            patch.setattr(LayerFile, "cut", failing)
            with pytest.raises(
                OSError, match=r"error: 3 samples were .* before; the writer is closed \(.*Input/o"
            ):
                writer.append(some_layers(3))
        with pytest.raises(ValueError, match=r"writer of .* is closed"):
            writer.append(some_layers(3))
    assert_holds(fastcka.open_store(tmp_path / "s"), some_layers(3))
    make(tmp_path / "s", if_exists="append")


# ---------------------------------------------------------------------- one writer


def test_one_writer_at_a_time(tmp_path):
    with fastcka.create_store(tmp_path / "s"):
        expected = f"process {os.getpid()} on .* is writing to it: '{tmp_path / 's'}'"
        for mode in ("append", "replace"):
            with pytest.raises(BlockingIOError, match=expected):
                fastcka.create_store(tmp_path / "s", if_exists=mode)
        script = "import sys, fastcka; fastcka.create_store(sys.argv[1], if_exists='append')"
        _, _, errors = run_python("-c", script, tmp_path / "s")
        assert re.search(f"BlockingIOError: .*{expected}", errors)
    with fastcka.create_store(tmp_path / "s", if_exists="append") as writer:
        writer.append(some_layers(3))


def test_closed_writer_refuses(tmp_path):
    with fastcka.create_store(tmp_path / "s") as writer:
        pass
    writer.close()
    with pytest.raises(ValueError, match=f"the writer of {tmp_path / 's'} is closed"):
        writer.append(some_layers(3))


def test_fork_neither_writes_nor_unlocks(tmp_path):
    script = (
        "import os, sys, numpy as np, fastcka\n"
        "with fastcka.create_store(sys.argv[1]) as writer:\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        "            writer.append({'x': np.eye(3)})\n"
        "        except ValueError as error:\n"
        "            print(error, flush=True)\n"
        "        writer.close()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    try:\n"
        "        fastcka.create_store(sys.argv[1], if_exists='append')\n"
        "    except BlockingIOError as error:\n"
        "        print('still locked')\n"
    )
    status, output, errors = run_python("-c", script, tmp_path / "s")
    assert status == 0, errors
    refusal, locked = output.splitlines()
    assert refusal.endswith("is closed, or belongs to the parent of this process")
    assert locked == "still locked"


@pytest.mark.parametrize("with_ids", [False, True])
def test_appends_from_several_threads_are_all_kept(tmp_path, with_ids):
    """Rows say which thread and batch they are of: all are there, each batch in one piece, layers alike."""
    n_threads, n_batches = 6, 20

    def append(writer, thread):
        for batch in range(n_batches):
            rows = np.array([[thread, batch, row] for row in range(2)], dtype=np.int16)
            ids = [f"{thread}.{batch}.{row}" for row in range(2)] if with_ids else None
            writer.append({"a": rows, "b": rows[:, ::-1].astype(np.float32)}, ids)

    with fastcka.create_store(tmp_path / "s") as writer:
        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(append, writer, thread) for thread in range(n_threads)]:
                done.result()
        assert writer.n_samples == 2 * n_threads * n_batches
    store = fastcka.open_store(tmp_path / "s")
    rows = [tuple(row) for row in store["a"].tolist()]
    assert sorted(rows) == [
        (t, b, row) for t in range(n_threads) for b in range(n_batches) for row in range(2)
    ]
    assert all(first[:2] == second[:2] for first, second in zip(rows[::2], rows[1::2], strict=True))
    np.testing.assert_array_equal(store["b"], store["a"][:, ::-1])
    assert store.ids == (tuple("{}.{}.{}".format(*row) for row in rows) if with_ids else None)


def test_close_waits_for_the_batch_of_another_thread(tmp_path, monkeypatch):
    write, started = LayerFile.write, threading.Event()

    def slowly(self, folder, n_rows, batch):
        started.set()
        time.sleep(0.2)
        write(self, folder, n_rows, batch)

    monkeypatch.setattr(LayerFile, "write", slowly)
    writer = fastcka.create_store(tmp_path / "s")
    with ThreadPoolExecutor(1) as pool:
        appended = pool.submit(writer.append, {"x": np.eye(3)})
        started.wait()
        writer.close()
        assert fastcka.open_store(tmp_path / "s").n_samples == 3
        appended.result()


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_lock_that_is_a_symbolic_link_is_not_followed(tmp_path, target):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".lock").symlink_to(tmp_path / target)
    with pytest.raises(OSError, match=rf"symbolic link.*{tmp_path}/s/\.lock"):
        fastcka.create_store(tmp_path / "s")
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "s" / ".lock").unlink()
    make(tmp_path / "s")
    (tmp_path / "s" / ".lock").unlink()
    (tmp_path / "s" / ".lock").symlink_to(tmp_path / target)
    for mode in ("append", "replace"):
        with pytest.raises(OSError, match="symbolic link"):
            fastcka.create_store(tmp_path / "s", if_exists=mode)
    assert_holds(fastcka.open_store(tmp_path / "s"), some_layers(12))


def test_lock_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(OSError, match=r"not a regular file.*\.lock"):
        fastcka.create_store(tmp_path)


# ---------------------------------------------------------------------- batches that do not fit

X0, X1 = some_layers(4).values()
REFUSED = {
    "rows": ({"layer0": X0, "layer1": X1[:3]}, None, "'layer0' of layers has 4 .* 'layer1' of layers has 3"),
    "missing": ({"layer0": X0}, None, "layers lacks 'layer1', which earlier batches had"),
    "new": ({"layer0": X0, "layer1": X1, "x": X1}, None, "'x' of layers is new: .* had .*'layer0', 'layer1'"),
    "width": ({"layer0": X0[:, :5], "layer1": X1}, None, "'layer0' of layers has 5 features, .* had 6"),
    "dtype": (
        {"layer0": X0, "layer1": X1.astype(float)}, None, "'layer1' of layers has dtype float64, .* float32"
    ),
    "bfloat16": (
        {"layer0": X0, "layer1": X1.astype(ml_dtypes.bfloat16)}, None, "'layer1' .* bfloat16, .* float32"
    ),
    "axes": ({"layer0": X0[None], "layer1": X1}, None, "'layer0' of layers must be two-dimensional"),
    "complex": ({"layer0": X0 * 1j, "layer1": X1}, None, "'layer0' of layers has dtype complex"),
    "empty": ({"layer0": X0[:0], "layer1": X1[:0]}, None, "'layer0' of layers has no samples"),
    "no layers": ({}, None, "layers is empty"),
    "array": (X0, None, "layers is a single numpy.ndarray"),
    "one id": (None, "efgh", "ids must be a sequence of strings or integers, got 'efgh'"),
    "no ids": (None, None, "ids: the 4 samples so far have ids, this batch has none: all or none"),
    "few ids": (None, ["e", "f", "g"], "ids: got 3 for a batch of 4 samples"),
    "old id": (None, ["e", "f", "g", "a"], "ids: 'a' is the id of sample 0, and again of sample 7"),
    "same ids": (None, ["e", "f", "g", "f"], "ids: 'f' is the id of sample 5, and again of sample 7"),
    "float id": (None, [1, 2, 3, 4.5], "ids must be strings or integers, got 4.5"),
    "bool id": (None, [1, 2, 3, True], "ids must be strings or integers, got True"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_batch_that_does_not_fit_writes_nothing(tmp_path, case):
    layers, ids, message = REFUSED[case]
    if layers is not None:
        ids = list("efgh")
    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(some_layers(4), list("abcd"))
        before = content(tmp_path / "s")
        with pytest.raises((ValueError, TypeError), match=message):
            writer.append(some_layers(4) if layers is None else layers, ids)
        assert content(tmp_path / "s") == before
        writer.append(some_layers(4), list("efgh"))
    assert fastcka.open_store(tmp_path / "s").ids == tuple("abcdefgh")


def test_ids_from_the_start_or_never(tmp_path):
    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(some_layers(4))
        with pytest.raises(ValueError, match="the 4 samples so far have no ids, this batch has ids"):
            writer.append(some_layers(4), list("abcd"))


def test_known_ids_are_known_after_reopening(tmp_path):
    make(tmp_path / "s", some_layers(4), "abcd")
    with (
        fastcka.create_store(tmp_path / "s", if_exists="append") as writer,
        pytest.raises(ValueError, match="'c' is the id of sample 2, and again of sample 4"),
    ):
        writer.append(some_layers(1), list("c"))


def test_order_of_layers_is_that_of_the_first_batch(tmp_path):
    layers = some_layers(4)
    with fastcka.create_store(tmp_path / "s") as writer:
        writer.append(layers)
        writer.append(dict(reversed(layers.items())))
    assert_holds(fastcka.open_store(tmp_path / "s"), {k: np.concatenate([X, X]) for k, X in layers.items()})


# ---------------------------------------------------------------------- where a store is made


def test_places_that_are_taken(tmp_path):
    make(tmp_path / "s")
    before = content(tmp_path / "s")
    with pytest.raises(FileExistsError, match=r'is already a store: .*if_exists="append"'):
        fastcka.create_store(tmp_path / "s")
    assert content(tmp_path / "s") == before
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").touch()
    for mode in ("error", "append", "replace"):
        with pytest.raises(FileExistsError, match="is a file; a store needs a folder"):
            fastcka.create_store(tmp_path / "file", if_exists=mode)
        with pytest.raises(FileExistsError, match=r"is a folder with .* 'thesis\.tex'"):
            fastcka.create_store(tmp_path / "folder", if_exists=mode)
    assert os.listdir(tmp_path / "folder") == ["thesis.tex"]
    with pytest.raises(FileNotFoundError, match="no/where"):
        fastcka.create_store(tmp_path / "no" / "where")


@pytest.mark.parametrize("mode", ["error", "append", "replace"])
def test_empty_place_is_used(tmp_path, mode):
    make(tmp_path, if_exists=mode)
    assert_holds(fastcka.open_store(tmp_path), some_layers(12))


def test_store_made_in_between_is_not_touched(tmp_path, monkeypatch):
    """Two processes find no store and make one: the second, when the first has finished."""
    lock = creating.FolderLock

    def slowly(path):
        monkeypatch.setattr(creating, "FolderLock", lock)
        make(path)
        return lock(path)

    monkeypatch.setattr(creating, "FolderLock", slowly)
    with pytest.raises(FileExistsError, match="is already a store"):
        fastcka.create_store(tmp_path / "s")
    assert_holds(fastcka.open_store(tmp_path / "s"), some_layers(12))
    fastcka.create_store(tmp_path / "s", if_exists="append").close()  # and it is not locked


def test_replace_starts_anew_and_readers_keep_theirs(tmp_path):
    old = some_layers(2000)
    make(tmp_path / "s", old, range(2000), provenance={"seed": 1})
    mapped = dict(fastcka.open_store(tmp_path / "s"))
    new = {"layer0": np.ones((2, 1))}
    make(tmp_path / "s", new, if_exists="replace", provenance={"seed": 2})
    store = fastcka.open_store(tmp_path / "s")
    assert_holds(store, new)
    assert (store.ids, store.provenance) == (None, {"seed": 2})
    assert set(content(tmp_path / "s")) == {"manifest.json", "0000-layer0.npy"}
    assert_holds(mapped, old)


def test_arguments_that_do_not_fit(tmp_path):
    for mode, message in (("apend", "did you mean 'append'"), (None, "must be one of 'append'")):
        with pytest.raises((ValueError, TypeError), match=f"if_exists.*{message}"):
            fastcka.create_store(tmp_path / "s", if_exists=mode)
    for provenance, message in (
        ({"a": np.zeros(2)}, "ndarray is not JSON serializable"),
        ({"a": float("nan")}, "not JSON compliant"),
        ("resnet", "be a mapping, got 'resnet'"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"provenance must .*{message}"):
            fastcka.create_store(tmp_path / "s", provenance=provenance)
    assert not (tmp_path / "s").exists()


def test_run_of_another_provenance_does_not_go_on(tmp_path):
    make(tmp_path / "s", provenance={"model": "a", "seed": 1})
    for other, message in (
        ({"model": "b", "seed": 1}, "'model' is 'a' there and 'b' here"),
        ({"model": "a"}, "'seed' is 1 there and None here"),
        ({"model": "a", "seed": 1, "layer": None}, "'layer' is None there and None here"),
    ):
        with pytest.raises(ValueError, match=f"provenance differs from that of .*: {message}"):
            fastcka.create_store(tmp_path / "s", provenance=other, if_exists="append")
    for same in (None, {"model": "a", "seed": 1}):
        with fastcka.create_store(tmp_path / "s", provenance=same, if_exists="append") as writer:
            assert writer.provenance == {"model": "a", "seed": 1}


# ---------------------------------------------------------------------- damage


def refused(path, file, *parts):
    """Opening, for reading and for writing, fails with the file and these words."""
    pattern = re.escape(str(path / file)) + ".*" + ".*".join(map(re.escape, parts))
    before = content(path)
    for opening in (
        fastcka.open_store,
        fastcka.open_layers,
        lambda path: fastcka.create_store(path, if_exists="append"),
    ):
        with pytest.raises(ValueError, match=pattern):
            opening(path)
    assert content(path) == before


def test_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no such folder: '{tmp_path / 'x'}'"):
        fastcka.open_store(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=f"no store: there is no manifest.json: '{tmp_path}'"):
        fastcka.open_store(tmp_path)


def test_manifest_of_another_program(tmp_path):
    for text, found in (('{"format": "other"}', "'other'"), ("[1]", "None"), ("{}", "None")):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=f"manifest.json: not a Store .*; its format is {found}"):
            fastcka.open_store(tmp_path)


def test_manifest_cut_or_altered_anywhere(tmp_path):
    path = make(tmp_path / "s", ids=range(12)) / "manifest.json"
    whole = path.read_bytes()
    for i in range(0, len(whole), 3):
        altered = bytearray(whole)
        altered[i] ^= 4
        for damaged in (whole[:i], altered):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=re.escape(str(path))):
                fastcka.open_store(tmp_path / "s")
    refused(tmp_path / "s", "manifest.json", "damaged")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_samples": 11}, "edited by hand: its checksum does not match"),
        (
            {"format_version": 2, "fastcka_version": "9.0"},
            "written by a newer fastcka (9.0, format version 2",
        ),
        ({"format_version": "new"}, "its format version is 'new'"),
    ],
)
def test_manifest_that_says_something_else(tmp_path, change, words):
    path = make(tmp_path / "s") / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refused(tmp_path / "s", "manifest.json", words)


def crafted(path, **change):
    """Change the manifest and make its checksum right: not damage, but somebody's work."""
    header = {**json.loads((path / "manifest.json").read_text()), **change}
    (path / "manifest.json").write_text(json.dumps({**header, "sha256": digest(header)}))
    return path


LAYER = {"name": "x", "file": "0000-x.npy", "n_features": 3, "dtype": "float64"}
CRAFTED = {
    "file elsewhere": {"layers": [{**LAYER, "file": "../x.npy"}]},
    "file of another kind": {"layers": [{**LAYER, "file": "manifest.json"}]},
    "file without name": {"layers": [{**LAYER, "file": None}]},
    "dtype": {"layers": [{**LAYER, "dtype": "object"}]},
    "dtype that is a list": {"layers": [{**LAYER, "dtype": []}]},
    "name": {"layers": [{**LAYER, "name": 7}]},
    "no features": {"layers": [{**LAYER, "n_features": 0}]},
    "half a feature": {"layers": [{**LAYER, "n_features": 3.5}]},
    "endless features": {"layers": [{**LAYER, "n_features": float("inf")}]},
    "same name": {"layers": [LAYER, {**LAYER, "file": "0001-x.npy"}]},
    "same file": {"layers": [LAYER, {**LAYER, "name": "y"}]},
    "no layer": {"layers": []},
    "layer that is a number": {"layers": [1]},
    "layers that are none": {"layers": None},
    "fractional samples": {"n_samples": 2.5},
    "true samples": {"n_samples": True},
    "negative samples": {"n_samples": -1},
    "provenance": {"provenance": None},
    "ids": {"ids": [1]},
    "length of ids": {"ids": {"bytes": -1, "sha256": ""}},
    "later version that is a list": {"format_version": [2]},
}


@pytest.mark.parametrize("case", CRAFTED)
def test_manifest_that_contradicts_itself(tmp_path, case):
    """Even with a checksum that fits, nothing outside of the folder is opened."""
    path = make(tmp_path / "s", {"x": np.eye(3)})
    shutil.copy(path / "0000-x.npy", tmp_path / "x.npy")
    shutil.copy(path / "0000-x.npy", path / "0001-x.npy")
    refused(crafted(path, **CRAFTED[case]), "manifest.json", "damaged")


def test_more_features_than_any_file_has(tmp_path):
    path = crafted(make(tmp_path / "s", {"x": np.eye(3)}), layers=[{**LAYER, "n_features": 10**30}])
    refused(path, "0000-x.npy", "not the file of")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_manifest_that_is_nested_too_deeply(tmp_path, text):
    path = make(tmp_path / "s")
    (path / "manifest.json").write_text(text)
    refused(path, "manifest.json", "damaged")


@pytest.mark.parametrize(
    "lines",
    [
        b"1\n",
        b"1\n2\n3\n4\n",
        b"1\n2\n2\n",
        b"1\n2\ntrue\n",
        b"1\n2\n3.0\n",
        b'1\n2\n{"a": 1}\n',
        b"1\n2\n[3]\n",
        b"1\n2\n]\n",
        b"1\n2\n" + b"[" * 100_000 + b"\n",
        b"1\n2\n" + b"9" * 5000 + b"\n",
        b"1\n2\n\xff\n",
    ],
    ids=lambda lines: repr(lines[:16]),
)
def test_ids_that_no_writer_makes(tmp_path, lines):
    path = make(tmp_path / "s", {"x": np.eye(3)}, ids=range(3))
    (path / "ids.jsonl").write_bytes(lines)
    crafted(path, ids={"bytes": len(lines), "sha256": hashlib.sha256(lines).hexdigest()})
    store = fastcka.open_store(path)  # which does not read them
    for reading in (
        lambda: store.ids,
        lambda: fastcka.cka_matrix(store, fastcka.open_store(path)),
        lambda: fastcka.create_store(path, if_exists="append"),
    ):
        with pytest.raises(ValueError, match=r"ids\.jsonl: damaged"):
            reading()


@pytest.mark.parametrize("file", ["0000-layer0.npy", "ids.jsonl", "manifest.json"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, monkeypatch, file, kind):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = make(Path("s"), ids=range(12))
    (path / file).unlink()
    if kind == "fifo":
        os.mkfifo(path / file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path / file))
    else:
        (path / file).symlink_to("/dev/zero")
    for opening in (fastcka.open_store, lambda path: fastcka.create_store(path, if_exists="append")):
        with pytest.raises(ValueError, match=re.escape(f"{path / file} is not a regular file")):
            opening(path)


def test_damaged_layer_files(tmp_path):
    path = make(tmp_path / "s")
    layer, words = path / "0001-layer1.npy", "layer 'layer1' (float32, 3 features)"
    whole = layer.read_bytes()
    layer.unlink()
    refused(path, layer.name, "is missing", words)
    layer.write_bytes(whole[:-1])
    refused(path, layer.name, f"is cut short: 12 samples of {words} end at byte {len(whole)}, the file at")
    layer.write_bytes(whole[:60])
    refused(path, layer.name, "is no .npy file, or a damaged one, not the file of", words)
    layer.write_bytes(b"")
    refused(path, layer.name, "is no .npy file, or a damaged one, not the file of", words)
    np.save(layer, np.zeros((12, 4)))
    refused(path, layer.name, "is another array, float64 of shape (12, 4), not the file of", words)
    layer.write_bytes((path / "0000-layer0.npy").read_bytes())
    refused(path, layer.name, "is another array, float32 of shape (12, 6), not the file of", words)
    layer.write_bytes(whole)
    assert_holds(fastcka.open_store(path), some_layers(12))


def test_layer_damaged_after_opening(tmp_path):
    store = fastcka.open_store(make(tmp_path / "s"))
    os.truncate(tmp_path / "s" / "0000-layer0.npy", 200)
    with pytest.raises(ValueError, match=r"0000-layer0.npy is cut short"):
        store["layer0"]


def test_damaged_ids(tmp_path):
    path = make(tmp_path / "s", ids="abcdefghijkl")
    ids = path / "ids.jsonl"
    whole = ids.read_bytes()
    ids.unlink()
    refused(path, "ids.jsonl", "is missing: the manifest has ids of 12 samples")
    ids.write_bytes(whole[:-1])
    refused(path, "ids.jsonl", "is cut short: the ids of 12 samples end at byte 48, the file at 47")
    ids.write_bytes(whole.replace(b"c", b"x"))
    store = fastcka.open_store(path)  # which does not read them
    assert_holds(store, some_layers(12))
    for reading in (lambda: store.ids, lambda: fastcka.create_store(path, if_exists="append")):
        with pytest.raises(ValueError, match=r"ids.jsonl is damaged: its checksum"):
            reading()


# ---------------------------------------------------------------------- the same samples


class Layers(dict):
    """As what other parts of fastcka return: a mapping with ids."""

    def __init__(self, ids, n=4):
        super().__init__(some_layers(n))
        self.ids = ids


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("abcd", "abxd", "sample 2 is 'c' in layers_a and 'x' in layers_b; 3 ids are in both, of 4 and 4"),
        ("abcd", "abdc", "sample 2 is 'c' .* 'd' in layers_b; these are the same samples in another order"),
        ("abcd", "abc", "layers_a has more than the 3 samples of layers_b, from 'd' on; 3 ids are in both"),
        ("ab", "abcd", "layers_b has more than the 2 samples of layers_a, from 'c' on; 2 ids are in both"),
        ("1", [1], "sample 0 is '1' in layers_a and 1 in layers_b; 0 ids are in both"),
    ],
)
def test_other_samples_are_refused(a, b, message):
    a, b = Layers(tuple(a)), Layers(list(b))
    with pytest.raises(ValueError, match=f"layers_a and layers_b hold different samples: {message}"):
        fastcka.cka_matrix(a, b)


@pytest.mark.parametrize("other", ["abcd", None, np.arange(4), 7])
def test_same_or_unknown_samples_are_compared(other):
    a, b = Layers(tuple("abcd")), Layers(tuple(other) if isinstance(other, str) else other)
    expected = fastcka.cka_matrix(dict(a), dict(b)).values
    np.testing.assert_array_equal(fastcka.cka_matrix(a, b).values, expected)
    np.testing.assert_array_equal(fastcka.cka_matrix(b, a).values, expected.T)
    np.testing.assert_array_equal(fastcka.cka_matrix(a, dict(b)).values, expected)


def test_samples_are_checked_before_any_layer_is_read(tmp_path):
    """What concerns the samples is said first, before layers that do not fit for other reasons."""
    a = fastcka.open_store(make(tmp_path / "a", some_layers(3), "abc"))
    b = fastcka.open_store(make(tmp_path / "b", some_layers(4), "abcd"))
    with pytest.raises(ValueError, match="layers_b has more than the 3 samples of layers_a, from 'd' on"):
        fastcka.cka_matrix(a, b)
