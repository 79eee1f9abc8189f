# SPDX-License-Identifier: BSD-3-Clause
"""The recipes of big-data.md for many processes run, as they stand on the page, with the bits of one call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastcka

PAGE = (Path(__file__).parent / "big-data.md").read_text()
RNG = np.random.default_rng(4)
RESNET = {"conv": RNG.normal(size=(700, 300)), "fc": RNG.normal(size=(700, 10))}
VIT = {"block": RESNET["conv"][:, :40] + RNG.normal(size=(700, 40)), "head": RNG.normal(size=(700, 200))}

RESNET, VIT = ({name: X.astype(np.float32) for name, X in layers.items()} for layers in (RESNET, VIT))

# What SLURM does with a script: its array, one task after another. It takes the options that the page uses.
SBATCH = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
script="$1"
shift
array=$(sed -n 's/^#SBATCH --array=0-//p' "$script")
export SLURM_CPUS_PER_TASK=1
for SLURM_ARRAY_TASK_ID in $(seq 0 "${array:-0}"); do
    export SLURM_ARRAY_TASK_ID
    bash "$script" "$@" >&2 || exit 1
done
echo 123
"""


# The same of jobs that run until they are cancelled. The caller deletes the script once it is submitted.
SBATCH_OF_WORKERS = """#!/bin/bash
cp "$1" "worker-$$.sh"
setsid bash "worker-$$.sh" >worker-$$.log 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two stores and all scripts of the page."""
    monkeypatch.chdir(tmp_path)
    for name, layers in (("resnet", RESNET), ("vit", VIT)):
        with fastcka.create_store(name) as writer:
            writer.append(layers)
    for block in re.findall(r"^```\w+\n(.*?)^```", PAGE, flags=re.S | re.M):
        if name := re.match(r"(?:#!.*\n)?# (\w+\.(?:py|sh))", block):
            (tmp_path / name[1]).write_text(block)
    return tmp_path


def put_into_path(**scripts):
    os.mkdir("bin")
    for name, text in scripts.items():
        script = Path("bin", name)
        script.write_text(text)
        script.chmod(0o755)


def run(*command):
    environment = {**os.environ, "PATH": f"{os.getcwd()}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def test_slurm(folder):
    put_into_path(sbatch=SBATCH, fastcka=f'#!/bin/bash\nexec {sys.executable} -m fastcka "$@"\n')
    run("bash", "submit.sh")
    for stage in ("median-1", "median-2", "products"):
        assert len(list(folder.glob(f"{stage}-*.partial"))) == 10
    expected = fastcka.cka_matrix(RESNET, VIT, kernel="rbf")
    assert fastcka.CKAMatrix.load("result.npz").equals(expected.with_models("resnet", "vit"))


def test_multiprocessing(folder):
    run(sys.executable, "processes.py")
    assert fastcka.CKAMatrix.load("processes.npz").equals(fastcka.cka_matrix(RESNET, kernel="rbf"))


def test_dask(folder):
    run(sys.executable, "on_dask.py")
    assert fastcka.CKAMatrix.load("stores.npz").equals(fastcka.cka_matrix(RESNET, VIT, kernel="rbf"))
    assert fastcka.CKAMatrix.load("arrays.npz").rows == ("x", "squares")


def test_dask_on_slurm(folder):
    put_into_path(sbatch=SBATCH_OF_WORKERS, scancel=SCANCEL)
    run(sys.executable, "on_slurm.py")
    expected = fastcka.cka_matrix(RESNET, VIT, kernel="rbf")
    assert fastcka.CKAMatrix.load("on-slurm.npz").equals(expected)


def test_mpi(folder):
    pytest.importorskip("mpi4py")
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed")
    options = ["--allow-run-as-root", "--oversubscribe"]
    run("mpirun", *options, "-n", "2", sys.executable, "ranks.py")
    assert fastcka.CKAMatrix.load("ranks.npz").equals(fastcka.cka_matrix(RESNET, kernel="rbf"))
