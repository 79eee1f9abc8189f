# SPDX-License-Identifier: BSD-3-Clause
"""How do the published packages do on the same arrays, where they compute the same thing?

``fastcka.bench.peers`` says how each is called. A package that computes something else is refused by the
check of values and gets no time; one that is not installed, or cannot be imported, is listed with the reason.
"""

from __future__ import annotations

from suite import measured, standalone

from fastcka.bench import against_peer, peers

SETTINGS = ((2, 500, 768), (12, 500, 768), (2, 2000, 1024))  # layers, samples, features
# repsim multiplies n x n matrices, n³ operations, on one thread and without AVX: minutes at 2000 samples.
MOST_SAMPLES = {"repsim": 500}


def run(threads: int) -> list[dict]:
    found, missing = peers.load()
    rows = []
    for count, n, p in SETTINGS:
        for peer in found:
            if n > MOST_SAMPLES.get(peer.name, n):
                continue
            case = against_peer(peer, count, n, p, threads)
            rows += measured([case], 3, peer=peer.name, computes=peer.computes)
    for name, reason in missing.items():
        print(f"{name}: not imported ({reason})", flush=True)
        rows.append({"name": name, "peer": name, "not_imported": reason})
    return rows


if __name__ == "__main__":
    standalone(run)
