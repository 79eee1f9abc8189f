# SPDX-License-Identifier: BSD-3-Clause
"""`fastcka.dask.cka_matrix` on a cluster of processes has the bits of one call, whatever the workers do."""

from __future__ import annotations

import importlib.util
import inspect
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastcka

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from fastcka.dask import cka_matrix  # noqa: E402

# Dask and its event loop warn of what is theirs: a loop that is slow, sockets that close late.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "default::DeprecationWarning")

RNG = np.random.default_rng(5)
SHARED = RNG.normal(size=(900, 5))


def layers(widths, dtype):
    return {
        f"layer{p}": (SHARED @ RNG.normal(size=(5, p)) + RNG.normal(size=(900, p))).astype(dtype)
        for p in widths
    }


A, B = layers((40, 7, 300), "float32"), layers((30, 200), "float32")


def chunked(arrays):
    """Dask arrays in chunks of samples and of features."""
    return {name: da.from_array(X, chunks=(250, 64)) for name, X in arrays.items()}


def test_the_module_is_reached_from_the_package():
    """In a fresh process: here, the import above has put it there. Dask itself has the same name."""
    code = "import fastcka; print(fastcka.dask.cka_matrix.__module__, fastcka.torch.__name__)"
    code = code if importlib.util.find_spec("torch") else code.replace(", fastcka.torch.__name__", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "fastcka.dask"
    assert done.stdout.split()[1:] in ([], ["fastcka.torch"])


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    paths = []
    for name, arrays in (("a", A), ("b", B)):
        paths.append(tmp_path_factory.mktemp("stores") / name)
        with fastcka.create_store(paths[-1]) as writer:
            writer.append(arrays, ids=range(900))
    return paths


KERNELS = ["linear", "rbf", fastcka.RBF(0.5, median="offdiag")]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_dask_arrays(client, kernel, estimator):
    options = {"kernel": kernel, "estimator": estimator}
    expected = fastcka.cka_matrix(A, B, **options)
    assert cka_matrix(chunked(A), chunked(B), client=client, **options).equals(expected)


@pytest.mark.parametrize("measure", ["rv2", "rsa_pearson"])
def test_measures(client, measure):
    expected = fastcka.cka_matrix(A, B, measure=measure)
    assert cka_matrix(chunked(A), chunked(B), measure=measure, client=client).equals(expected)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_stores(client, stores, kernel):
    a, b = stores
    expected = fastcka.cka_matrix(A, B, kernel=kernel)
    found = cka_matrix(a, fastcka.open_store(b), kernel=kernel)  # the default client
    assert found.equals(expected)
    assert (found.provenance["rows"]["source"], found.provenance["columns"]["source"]) == (str(a), str(b))
    assert "samples" in found.provenance


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"kernel": "rbf"}, None),
        ({"kernel": "distance", "dtype": "float64"}, 30),
        ({"kernel": "linear"}, None),
        ({"kernel": "cosine"}, 7),
    ],
    ids=str,
)
def test_inference(client, stores, options, groups):
    """Second passes are tasks; groups that do not lie side by side are sorted by each worker."""
    labels = None if groups is None else np.arange(900) % groups
    expected = fastcka.cka_matrix(A, B, inference=True, groups=labels, **options)
    for source in (stores, (chunked(A), chunked(B))):
        assert cka_matrix(*source, inference=True, groups=labels, client=client, **options).equals(expected)
    with pytest.raises(ValueError, match="groups need inference=True"):
        cka_matrix(*stores, groups=np.arange(900) % 7)


def test_inference_of_features(client):
    """Many samples and few features: sums of single samples come out of a sweep of their own."""
    x = {f"l{p}": RNG.normal(size=(3000, p)).astype(np.float32) for p in (30, 50)}
    assert fastcka.plan(x).route == "feature"
    found = cka_matrix({name: da.from_array(X, chunks=(1000, 50)) for name, X in x.items()}, inference=True)
    assert found.equals(fastcka.cka_matrix(x, inference=True))


def test_a_store_and_dask_arrays_and_one_network(client, stores):
    assert cka_matrix(stores[0], chunked(B)).equals(fastcka.cka_matrix(A, B))
    assert cka_matrix(str(stores[0])).equals(fastcka.cka_matrix(A))
    same = chunked(A)
    assert cka_matrix(same, same).equals(fastcka.cka_matrix(A))
    assert cka_matrix(list(same.values())).equals(fastcka.cka_matrix(list(A.values())))
    assert cka_matrix(iter(same.values())).equals(fastcka.cka_matrix(list(A.values())))


def test_shared_arguments_are_those_of_cka_matrix():
    here, there = (inspect.signature(function).parameters for function in (cka_matrix, fastcka.cka_matrix))
    for name in (here.keys() & there.keys()) - {"layers_a", "layers_b"}:  # which may be paths
        assert here[name] == there[name]


def test_one_worker_with_its_threads(stores):
    """One worker or two: the same bits. Threads are those of the worker, although its nanny limits OpenMP.

    A task may use a half of the memory that Dask gives the worker.
    """

    def watch():
        import fastcka.dask as module

        module.seen, start = [], module.Sweep._of

        def of(networks, settings, **options):
            module.seen.append((settings.n_threads, settings.max_bytes))
            return start(networks, settings, **options)

        module.Sweep._of = of
        return os.environ["OMP_NUM_THREADS"]

    def seen():
        import fastcka.dask as module

        found, module.seen = set(module.seen), []
        return found

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0", memory_limit="2GiB"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        (address,) = client.scheduler_info()["workers"]
        assert client.run(watch) == {address: "1"}
        found = cka_matrix(*stores, kernel="rbf", client=client)
        assert found.equals(fastcka.cka_matrix(A, B, kernel="rbf"))
        assert client.run(seen) == {address: {(2, 2**30)}}
        cka_matrix(stores[0], n_threads=1, max_bytes="3GiB", client=client)
        assert client.run(seen) == {address: {(1, 3 * 2**30)}}


@pytest.mark.parametrize("source", ["stores", "arrays"])
def test_a_worker_that_is_killed_midway(client, stores, tmp_path, source):
    """One that holds finished products is killed: they are made again, on the other or by its successor."""
    flag = str(tmp_path / "killed")

    class Kill(distributed.WorkerPlugin):
        def transition(self, key, start, finish, **kwargs):
            if finish == "memory" and "products" in str(key):
                try:
                    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)

    client.register_plugin(Kill(), name="kill")
    try:
        given = stores if source == "stores" else (chunked(A), chunked(B))
        found = cka_matrix(*given, kernel="rbf")
    finally:
        client.unregister_worker_plugin("kill")
    assert os.path.exists(flag)
    assert found.equals(fastcka.cka_matrix(A, B, kernel="rbf"))
    client.wait_for_workers(2)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])  # unbiased: the merged sums are too coarse
def test_a_massive_sample_takes_the_exact_way(client, estimator):
    a = {name: X.copy() for name, X in A.items()}
    a["layer7"][3] *= 3000
    expected = fastcka.cka_matrix(a, estimator=estimator)
    assert np.isfinite(expected.values).all()
    assert cka_matrix(chunked(a), estimator=estimator).equals(expected)


# ---------------------------------------------------------------------- what is refused


def test_other_layers_than_dask_can_send(client):
    with pytest.raises(TypeError, match=r"layer 'layer40' of layers_a is ndarray, not a Dask array"):
        cka_matrix(A)
    unknown = da.from_array(A["layer40"], chunks=(250, 40))
    with pytest.raises(ValueError, match=r"layer 'x' of layers_b.*compute_chunk_sizes"):
        cka_matrix(chunked(A), {"x": unknown[unknown[:, 0] > 0]})
    with pytest.raises(ValueError, match=r"has 900 samples but layer 'y' of layers_a has 899"):
        cka_matrix({"x": unknown, "y": unknown[1:]})
    with pytest.raises(FileNotFoundError, match="lost"):
        cka_matrix("lost")


def test_errors_of_workers_come_back(client, stores):
    a = {name: X.copy() for name, X in A.items()}
    a["layer7"][5, 2] = np.nan
    with pytest.raises(ValueError, match=r"layer 'layer7' of layers_a.*sample 5, feature 2"):
        cka_matrix(chunked(a))
    with pytest.raises(MemoryError, match="max_bytes is 1000"):
        cka_matrix(*stores, kernel="rbf", max_bytes=1000)


def test_a_worker_without_the_store(client, stores):
    """Here the path leads to the store, there to nothing."""

    def hide():
        import fastcka._dask_layers as module

        module.shown, module.open_layers = module.open_layers, lambda path: module.shown(f"{path}-lost")

    def show():
        import fastcka._dask_layers as module

        module.open_layers = module.shown

    client.run(hide)
    try:
        with pytest.raises(FileNotFoundError, match="a-lost"):
            cka_matrix(stores[0])
    finally:
        client.run(show)


def test_degenerate_layers_are_named(client):
    a = {**A, "flat": np.ones((900, 3), np.float32)}
    with pytest.warns(fastcka.DegenerateWarning, match="layer 'flat' of layers_a") as caught:
        found = cka_matrix(chunked(a))
    assert caught[0].filename == __file__
    assert np.isnan(found["flat", "layer7"])


def test_without_dask_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "import fastcka\n"
        "try:\n    fastcka.dask\nexcept ImportError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == 'fastcka.dask needs Dask: pip install "fastcka[dask]"\n'
