# SPDX-License-Identifier: BSD-3-Clause
"""Tasks on Dask workers fetch rows: no worker holds a whole layer, and a lost worker costs its chunks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

import fastcka

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from fastcka import _dask_layers  # noqa: E402
from fastcka.dask import cka_matrix  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "default::DeprecationWarning")

MB = 1_000_000


def cluster(**options):
    return distributed.LocalCluster(threads_per_worker=1, processes=True, dashboard_address=":0", **options)


# ---------------------------------------------------------------------- memory


def values(layer, first, rows, p, folder):
    """Return some rows of a layer; a file in the folder says that they were computed."""
    os.close(tempfile.mkstemp(dir=folder, prefix=f"{layer}-{first}-")[0])
    return np.random.default_rng([layer, first]).standard_normal((rows, p), dtype=np.float32)


def layer(number, n, p, folder):
    rows = n // 20
    return da.concatenate(
        [
            da.from_delayed(dask.delayed(values)(number, first, rows, p, folder), (rows, p), np.float32)
            for first in range(0, n, rows)
        ]
    )


def watch():
    """On a worker: note how many bytes are read at a time, and the memory so far."""
    import resource

    import fastcka._dask_layers as module

    call, module.most_bytes = module._Rows.__call__, 0

    def watched(self, first, last):
        rows = call(self, first, last)
        module.most_bytes = max(module.most_bytes, rows.nbytes)
        return rows

    module._Rows.__call__ = watched
    module.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seen():
    import resource

    import fastcka._dask_layers as module

    return module.most_bytes, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - module.before)


ROUTES = {  # samples, features
    "gram": ("rbf", 2000, (12_000, 300)),
    "feature": ("linear", 40_000, (500, 100)),
}


def least_bytes(layers, kernel):
    with pytest.raises(MemoryError, match="at least") as refused:
        fastcka.plan(layers, kernel=kernel, n_threads=1, max_bytes=1000)
    return int(str(refused.value).split("at least ")[1].split()[0])


@pytest.mark.parametrize("route", ROUTES)
def test_no_worker_holds_a_layer(tmp_path, route):
    """All stages. Beside max_bytes there are 16 MB of rows and the chunks they come from, of 8 MB."""
    kernel, n, widths = ROUTES[route]
    layers = {f"layer{p}": layer(i, n, p, str(tmp_path)) for i, p in enumerate(widths)}
    limit = int(1.05 * least_bytes(layers, kernel))
    assert 4 * n * max(widths) > limit  # a whole layer would not fit
    spilled = {f"distributed.worker.memory.{name}": 0.01 for name in ("target", "spill")}  # at once, to disk
    with (
        dask.config.set({**spilled, "distributed.worker.memory.pause": False}),
        cluster(n_workers=2, memory_limit="2GiB") as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        small = {f"layer{p}": da.random.default_rng(p).normal(size=(400, p), chunks=(90, p)) for p in (5, 9)}
        cka_matrix(small, kernel=kernel, client=client)  # what a first call takes
        client.run(watch)
        found = cka_matrix(layers, kernel=kernel, max_bytes=limit, client=client)
        most = client.run(seen)
    names = os.listdir(tmp_path)
    assert len(names) == 20 * len(widths)  # each chunk was computed once
    assert len({name.rsplit("-", 1)[0] for name in names}) == len(names)
    for read, grown in most.values():
        assert 0 < read < 17 * MB
        assert grown < limit + 40 * MB
    whole = {name: X.compute(scheduler="synchronous") for name, X in layers.items()}
    assert found.equals(fastcka.cka_matrix(whole, kernel=kernel))


# ---------------------------------------------------------------------- a worker that is lost

RNG = np.random.default_rng(3)
A = {f"layer{p}": RNG.normal(size=(900, p)).astype(np.float32) for p in (300, 40)}


def plugins(flag):
    """Return the two by value, since a worker that is not started from here has no tests to import."""

    class Kill(distributed.WorkerPlugin):
        """Kills the victim where it begins with the products, after leaving a flag."""

        def setup(self, worker):
            self.worker = worker

        def transition(self, key, start, finish, **kwargs):
            if self.worker.name == "victim" and finish == "executing" and "products" in str(key):
                open(flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)

    class Count(distributed.WorkerPlugin):
        """Counts tasks that gave up their place."""

        def setup(self, worker):
            worker.gave_up = 0
            self.worker = worker

        def transition(self, key, start, finish, **kwargs):
            self.worker.gave_up += finish == "rescheduled"

    return Kill(), Count()


@pytest.fixture
def two_workers(tmp_path, monkeypatch):
    """One that stays, and one that is killed at its first products, for good."""
    monkeypatch.setattr(_dask_layers, "CHUNK_BYTES", 1 << 16)
    with cluster(n_workers=1) as local, distributed.Client(local, set_as_default=False) as client:
        command = ["-m", "distributed.cli.dask_worker", local.scheduler_address, "--no-nanny"]
        options = ["--name", "victim", "--nthreads", "1", "--local-directory", str(tmp_path)]
        victim = subprocess.Popen([sys.executable, *command, *options], stderr=subprocess.DEVNULL)
        try:
            client.wait_for_workers(2)
            for plugin in plugins(str(tmp_path / "flag")):
                client.register_plugin(plugin, name=type(plugin).__name__)
            yield client, victim
        finally:
            victim.kill()
            victim.wait()


def test_chunks_of_a_lost_worker_are_computed_again(two_workers):
    """By the one that is left, which has one thread, and a task in it that needs them."""
    client, victim = two_workers
    chunks = {name: da.from_array(X, chunks=(100, 150)) for name, X in A.items()}
    found = cka_matrix(chunks, kernel="rbf", client=client)
    assert victim.wait(10) == -signal.SIGKILL
    assert sum(client.run(lambda dask_worker: dask_worker.gave_up).values()) > 0
    assert found.equals(fastcka.cka_matrix(A, kernel="rbf"))


def test_chunks_that_cannot_be_computed_again(two_workers, tmp_path):
    """An error here, and no task that asks for them for ever."""
    client, victim = two_workers
    flag = str(tmp_path / "flag")

    def fragile(block):
        if os.path.exists(flag):
            raise RuntimeError("the file is gone")
        return block

    chunks = {name: da.from_array(X, chunks=(100, -1)).map_blocks(fragile) for name, X in A.items()}
    with pytest.raises(RuntimeError, match="the file is gone"):
        cka_matrix(chunks, kernel="rbf", client=client)
    assert victim.wait(10) == -signal.SIGKILL
    for _ in range(100):
        if not any(client.processing().values()):
            break
        time.sleep(0.1)
    assert not any(client.processing().values())


# ---------------------------------------------------------------------- what Dask says and what comes


@pytest.fixture(scope="module")
def client():
    with cluster(n_workers=1) as local, distributed.Client(local, set_as_default=False) as client:
        yield client


def test_chunks_of_another_type_than_dask_says(client):
    wrong = da.from_array(A["layer40"], chunks=(300, 40)).map_blocks(np.float64, dtype=np.float32)
    with pytest.raises(ValueError, match=r"layer 'x' of layers_a cannot be read: a chunk is .* of float64"):
        cka_matrix({"x": wrong}, client=client)


def test_chunks_that_fail(client):
    def fail(block):
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        cka_matrix({"x": da.ones((50, 3), chunks=(10, 3)).map_blocks(fail, dtype=float)}, client=client)


def test_values_are_checked_where_they_are(client):
    """64-bit integers beyond 2**53, and matrices that are not symmetric."""
    K = A["layer40"] @ A["layer40"].T
    wrong = K.copy()
    wrong[3, 700] += 100
    assert cka_matrix({"K": da.from_array(K, chunks=(200, 300))}, kernel="precomputed", client=client).equals(
        fastcka.cka_matrix({"K": K}, kernel="precomputed")
    )
    with pytest.raises(
        ValueError, match=r"layer 'K' of layers_a must be a Gram matrix.*row 3 is not column 3"
    ):
        cka_matrix({"K": da.from_array(wrong, chunks=200)}, kernel="precomputed", client=client)
    large = da.from_array(np.array([[1], [2**53 + 1], [3], [4]]), chunks=(2, 1))
    with pytest.raises(ValueError, match=r"layer 'i' of layers_a has the int64 value 9007199254740993"):
        cka_matrix({"i": large}, client=client)
