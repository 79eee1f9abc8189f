# SPDX-License-Identifier: BSD-3-Clause
"""Every layer of every family under every pooling: the rows are right, or it is skipped with a reason."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers_models", exc_type=ImportError)
from torch_families import FAMILIES, pooled  # noqa: E402

import fastcka  # noqa: E402

POOLS = ("flatten", "mean", "cls", "last", "tokens")
DOCS = Path(__file__).parents[1] / "docs" / "torch.md"
REFUSED = {"would count padding": "an error", "no layer returns usable activations": "none"}
FOUND: dict[tuple[str, str], str] = {}


def outputs(net, batch):
    """Return the module and the first tensor of the last call of each module."""
    seen = {}

    def see(name, module):
        def hook(module, args, y):
            parts = (
                [y] if isinstance(y, torch.Tensor) else () if y is None else getattr(y, "values", lambda: y)()
            )
            for x in [x for x in parts if isinstance(x, torch.Tensor)][:1]:
                seen[name] = module, x.detach().clone()

        return module.register_forward_hook(hook)

    handles = [see(name, module) for name, module in net.named_modules() if name]
    with torch.no_grad():
        net(**batch) if isinstance(batch, dict) else net(batch)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_rows_of_every_layer(family):
    net = family.make()
    truth = outputs(net, family.batch)
    for how in POOLS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is skipped
            try:
                found = fastcka.torch.extract(net, [family.batch], pool=how, progress=False)
            except ValueError as error:
                FOUND[family.name, how] = REFUSED[next(words for words in REFUSED if words in str(error))]
                continue
        right, missing = 0, []
        for name, (module, y) in truth.items():
            letters = family.axes(name, module, y)
            if name not in found:
                if letters is not None and not (how == "tokens" and "p" not in letters):
                    missing.append(name)
                assert letters is None or name in found.skipped
                continue
            assert letters is not None, name
            mask = family.mask(name)
            if mask is not None and "p" in letters and y.shape[letters.index("p")] != mask.shape[1]:
                mask = None
            expected = pooled(y, letters, mask if letters.count("p") == 1 else None, how)
            np.testing.assert_allclose(
                found[name], expected, rtol=1e-5, atol=2e-5, err_msg=f"{how} of {name}"
            )
            right += 1
        assert right
        FOUND[family.name, how] = "all" if not missing else "most" if right > len(missing) else "some"


def table():
    lines = ["| | " + " | ".join(f"`{how}`" for how in POOLS) + " |", "|---|" + "---|" * len(POOLS)]
    lines += [
        f"| {family.name} | " + " | ".join(FOUND[family.name, how] for how in POOLS) + " |"
        for family in FAMILIES
    ]
    return "\n".join(lines)


def test_the_table_of_the_docs_is_what_was_found():
    if len(FOUND) < len(FAMILIES) * len(POOLS):
        for family in FAMILIES:
            test_rows_of_every_layer(family)
    assert table() in DOCS.read_text(encoding="utf-8"), f"docs/torch.md should have\n{table()}"
