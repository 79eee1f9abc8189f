# SPDX-License-Identifier: BSD-3-Clause
"""Partials and streams out of files that somebody crafted: their checksum is right, what is in them is not.

Whatever they hold, loading, merging and finishing end with a documented error, or with numbers. Under the
address sanitizer (`nox -s hostile`) they also touch no memory that is not theirs.
"""

import functools
import operator
import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastcka
from fastcka import _archive, _partial
from fastcka._headers import digest, new_header
from fastcka._streams import saved

SEARCH = settings(
    max_examples=int(os.environ.get("FASTCKA_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
INTEGERS = st.sampled_from([0, 1, 2, 3, 7, 64, 65, 300, 2**16, 2**31, 2**62, 2**63 - 1, -1, -2, -(2**63)])
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, 1e308, -1e308, np.inf, -np.inf, np.nan])
N = 260  # several tiles


def layers(**widths):
    rng = np.random.default_rng(5)
    return {name: rng.normal(size=(N, p)) for name, p in widths.items()}


@st.composite
def changes(draw, arrays):
    """Some arrays of a state with other elements, or of another length; now and then none."""
    changed = {}
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), max_size=3)):
        array = np.atleast_1d(arrays[name]).copy()
        flat, integers = array.reshape(-1), array.dtype.kind in "iu"
        how = draw(st.sampled_from(["elements", "swap", "cut", "repeat", *(["shift"] if integers else [])]))
        if how == "elements" and flat.size:
            for _ in range(draw(st.integers(1, 3))):
                flat[draw(st.integers(0, flat.size - 1))] = draw(INTEGERS if integers else NUMBERS)
        elif how == "swap" and flat.size:
            i, j = (draw(st.integers(0, flat.size - 1)) for _ in range(2))
            flat[[i, j]] = flat[[j, i]]
        elif how == "cut":
            array = array[: draw(st.integers(0, len(array)))]
        elif how == "repeat":
            array = np.concatenate([array, array[: draw(st.integers(0, len(array)))]])
        elif how == "shift":
            array = array + draw(st.integers(-3, 3))
        changed[name] = array if np.ndim(arrays[name]) or array.size != 1 else array[0]
    return changed


def outcome(act, *arguments, **options):
    """What a call returns, or None where it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return act(*arguments, **options)
    except (ValueError, MemoryError):
        return None


# ---------------------------------------------------------------------- partials


SWEEPS = {
    "Gram tiles": ((300, 5), {}),
    "features": ((3, 1), {}),
    "medians": ((300, 5), {"kernel": "rbf"}),
    "standard errors": ((300, 5), {"kernel": "rbf", "inference": True}),
    "moments": ((300, 5), {"kernel": "rbf", "inference": "moments"}),
}


@functools.cache
def sweep_of(kind):
    (a, b), options = SWEEPS[kind]
    return fastcka.Sweep(layers(a=a, b=b), layers(c=4), **options)


@functools.cache
def stages_of(kind):
    """The parts of every stage, two where it has so many blocks."""
    sweep, stages, whole = sweep_of(kind), [], None
    for stage in sweep.stages:
        shares = [sweep.share(task, 2, stage, given=whole) for task in (0, 1)]
        stages.append([sweep.run(share, stage, given=whole) for share in shares if share])
        whole = functools.reduce(operator.or_, stages[-1])
    return stages


@pytest.mark.parametrize("kind", SWEEPS)
@given(data=st.data())
@SEARCH
def test_partials(tmp_path_factory, kind, data):
    sweep = sweep_of(kind)
    own, *others = data.draw(st.sampled_from(stages_of(kind)).flatmap(st.permutations), label="parts")
    changed = data.draw(changes(own._state()), label="changes")
    state = own._state() | changed
    header = new_header("Partial", _partial.FORMAT_VERSION, own.settings)
    header["sha256"] = digest(header, _partial.contents(state))
    path = tmp_path_factory.getbasetemp() / "part.npz"
    _archive.write(path, header, state)
    part = outcome(fastcka.Partial.load, path)
    if part is None:
        assert changed
        return
    assert part.stage == own.stage
    for other in others:
        part = outcome(operator.or_, part, other) or outcome(operator.or_, other, part) or part
    outcome(sweep.result, part)
    if following := outcome(sweep.next_stage, part):
        outcome(sweep.run, 0, following, given=part)


# ---------------------------------------------------------------------- streams


STREAMS = {
    "exact": {},
    "groups": {"inference": True, "n_groups": 3},
    "mini-batches": {"method": "minibatch"},
}


def stream_of(kind):
    """A stream that has seen some batches, with a massive sample."""
    stream = fastcka.StreamingCKA(**STREAMS[kind])
    a, b = layers(a=7, b=2), layers(c=4)
    a["a"][5] *= 1e6
    for batch in np.split(np.arange(N), 5):
        stream.update({name: x[batch] for name, x in a.items()}, {name: x[batch] for name, x in b.items()})
    return stream


@functools.cache
def file_of(kind, folder):
    """Header and arrays of a saved stream."""
    stream_of(kind).save(folder / f"{kind}.npz")
    with open(folder / f"{kind}.npz", "rb") as file:
        return _archive.read(file, "StreamingCKA", saved.FORMAT_VERSION)


@pytest.mark.parametrize("kind", STREAMS)
@given(data=st.data())
@SEARCH
def test_streams(tmp_path_factory, kind, data):
    header, arrays = file_of(kind, tmp_path_factory.getbasetemp())
    changed = data.draw(changes(arrays), label="changes")
    state = arrays | changed
    path = tmp_path_factory.getbasetemp() / "stream.npz"
    _archive.write(path, {**header, "sha256": digest(header, saved._contents(state))}, state)
    stream = outcome(fastcka.StreamingCKA.load, path)
    if stream is None:
        assert changed
        return
    outcome(stream.result)
    other = stream_of(kind)
    outcome(other.merge, stream)
    outcome(other.result)
    outcome(stream.merge, stream_of(kind))
    outcome(stream.result)
