# SPDX-License-Identifier: BSD-3-Clause
"""What depends on where tensors are, on each device that is here: the processor, and CUDA if there is one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Encoder, Residual, Seq2Seq, labelled, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402
from fastcka.torch import cka, cka_loss  # noqa: E402

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
pytestmark = pytest.mark.parametrize("device", DEVICES)
# Devices add up float32 in other orders, and this through a few layers.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def full_float32():
    """No TensorFloat-32: it has 10 bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def extract(model, loader, layers="*", pool="flatten", **options):
    return fastcka.torch.extract(model, loader, layers, pool=pool, **{"progress": False, **options})


def same(found, expected):
    assert list(found) == list(expected)
    assert found.ids == expected.ids
    for name, X in expected.items():
        assert found[name].dtype == X.dtype
        np.testing.assert_allclose(found[name], X, **CLOSE)


# ------------------------------------------------------------------------------------------------- extract


@pytest.mark.parametrize("pool", ["flatten", "gap"])
def test_maps(device, pool):
    model, x = Residual(), samples(12, 3, 6, 6)
    expected = extract(model, labelled(x), pool=pool)
    same(extract(model.to(device), labelled(x), pool=pool), expected)
    same(extract(model, [part.to(device) for part in x.split(5)], pool=pool), expected)  # inputs are there
    pinned = labelled(x, pin_memory=device == "cuda", num_workers=1)
    same(extract(model, pinned, pool=pool), expected)


@pytest.mark.parametrize("pool", ["mean", "last", "cls", "tokens"])
def test_positions_and_masks(device, pool):
    model, batches = Encoder(), texts()
    layers = {"layers": ["embed", "blocks.*", "hidden_states"], "pool": pool}
    expected = extract(model, batches, **layers)
    same(extract(model.to(device), batches, **layers), expected)
    there = [{k: v.to(device) for k, v in batch.items()} for batch in batches]
    same(extract(model, there, **layers, ids="sample"), extract(model.cpu(), batches, **layers, ids="sample"))


def test_masks_of_encoder_and_decoder(device):
    batches = [{**batch, "decoder_attention_mask": batch["attention_mask"].flip(0)} for batch in texts()]
    layers = ["encoder.block.0", "decoder.block.0"]
    expected = extract(Seq2Seq(), batches, layers, "mean")
    same(extract(Seq2Seq().to(device), batches, layers, "mean"), expected)


def test_a_function_pools_on_the_device_and_gets_the_mask_there(device):
    seen = []

    def pool(x, mask):
        seen.append((x.device.type, mask.device.type))
        return (x * mask[:, :, None]).sum(1)

    model, batches = Encoder(), texts()
    expected = extract(model, batches, "blocks.*", pool)
    seen.clear()
    same(extract(model.to(device), batches, "blocks.*", pool), expected)
    assert set(seen) == {(device, device)}


def test_records_are_copies_that_later_operations_do_not_reach(device):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            y = self.layer(x)
            for _ in range(50):  # enough that a copy which nobody waits for would be late
                y.mul_(0)
            return y

    x = samples(64, 4096)
    there = x.to(device)
    for batch in (x, there):
        np.testing.assert_array_equal(
            extract(InPlace().to(device), [batch], "layer", device=device)["layer"], x
        )
    assert torch.equal(there.cpu(), x)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast(device, dtype, tmp_path):
    kind = getattr(torch, dtype)
    model, x = mlp().to(device), samples()
    with torch.autocast(device, dtype=kind):
        found = extract(model, [x])
        store = extract(model, [x], out=tmp_path / "s")
        with torch.no_grad():
            expected = model[0](x.to(device))
    assert expected.dtype == kind
    np.testing.assert_array_equal(found["0"], expected.float().cpu())
    assert found["0"].dtype == (np.float32 if dtype == "bfloat16" else np.float16)
    assert store["0"].dtype == ("V2" if dtype == "bfloat16" else np.float16)


def test_bfloat16_models(device):
    model, x = mlp().bfloat16().to(device), samples().bfloat16()
    with torch.no_grad():
        expected = model[0](x.to(device)).float().cpu()
    np.testing.assert_array_equal(extract(model, [x])["0"], expected)
    assert extract(model, [x], dtype="float64")["0"].dtype == np.float64


def test_data_parallel_is_looked_through(device):
    model, x = mlp(), samples()
    expected = extract(model, [x])
    same(extract(nn.DataParallel(model.to(device)), [x]), expected)


def test_inputs_can_be_sent_elsewhere_than_the_first_parameter(device):
    class Late(nn.Module):
        """Its first parameter stays on the processor."""

        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))
            self.body = mlp().to(device)

        def forward(self, x):
            return self.body(x)

    x = samples()
    same(extract(Late(), [x], "body.3", device=device), extract(Late().cpu(), [x], "body.3"))


@pytest.mark.parametrize("fails", [False, True])
def test_random_states_of_all_devices_are_restored(device, fails):
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            x = x + torch.rand_like(x)
            if fails:
                raise KeyboardInterrupt
            return x

    def state():
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return [s.tolist() for s in (torch.get_rng_state(), *cuda)]

    model = Drawing().to(device)
    before = state()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            extract(model, [samples()])
    else:
        assert not np.array_equal(extract(model, [samples()])["output"], samples())
    assert state() == before
    assert not model._forward_hooks


def test_the_first_value_that_is_not_finite_is_named(device):
    x = samples(20)
    x[13, 2] = float("inf")
    with pytest.warns(UserWarning, match="layer '0': contains infinity, first at sample 13, feature 2"):
        extract(nn.Sequential(nn.Identity(), nn.Linear(6, 1)).to(device), x.split(8), "0")


# ------------------------------------------------------------------------------------------------- compare


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_compare(device, method):
    x = samples(100)
    a, b = mlp(), nn.Sequential(mlp((6, 8, 5), seed=1), nn.Linear(5, 4))
    options = {"method": method, "progress": False}
    expected = fastcka.torch.compare(a, b, x.split(16), **options)
    found = fastcka.torch.compare(a.to(device), b, x.split(16), **options)  # one model on each
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    found = fastcka.torch.compare(a, b.to(device), labelled(x.to(device), 16), **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_compare_tokens_under_autocast(device):
    a, b = Encoder().to(device), Encoder(seed=1).to(device)
    options = {"layers_a": "blocks.?", "layers_b": "blocks.?", "pool": "tokens", "progress": False}
    with torch.autocast(device, dtype=torch.bfloat16):
        matrix = fastcka.torch.compare(a, b, texts(), **options)
        kept = [extract(m, texts(), "blocks.?", "tokens") for m in (a, b)]
    np.testing.assert_allclose(matrix, fastcka.cka_matrix(*kept), rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf", fastcka.RBF(sigma=4.0)], ids=str)
@pytest.mark.parametrize("shape", [(60, 6, 4), (13, 20, 25)], ids=str)
@pytest.mark.parametrize(
    ("dtype", "digits"), [("float64", 1e-9), ("float32", 1e-4), ("float16", 2e-3), ("bfloat16", 2e-2)]
)
def test_value_and_gradients_of_the_loss(device, dtype, digits, shape, kernel, estimator):
    n, p, q = shape
    x, y = samples(n, p).to(getattr(torch, dtype)), samples(n, q, seed=2)
    y[:, 0] += 2 * x[:, 0].float()
    y = y.to(x.dtype)
    sides = [
        t.detach().double().requires_grad_() for t in (x, y)
    ]  # on the processor; its test compares with autograd
    expected = cka_loss(*sides, kernel=kernel, estimator=estimator)
    expected.backward()
    there = [t.detach().to(device).requires_grad_() for t in (x, y)]
    loss = cka_loss(*there, kernel=kernel, estimator=estimator)
    loss.backward()
    assert loss.device.type == device
    assert loss.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9 if dtype == "float64" else 1e-5)
    for tensor, exact in zip(there, sides, strict=True):
        assert (tensor.grad.device.type, tensor.grad.dtype) == (device, x.dtype)
        scale = exact.grad.abs().max().item()
        np.testing.assert_allclose(tensor.grad.double().cpu(), exact.grad, rtol=0, atol=digits * scale)


def test_the_linear_loss_has_the_gradient_of_autograd(device):
    x, y = (samples(30, p, seed=p).double() for p in (6, 4))

    def plain(x, y):
        x, y = x - x.mean(0), y - y.mean(0)
        return 1 - (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())

    a, b = x.clone().requires_grad_(), x.to(device).requires_grad_()
    plain(a, y).backward()
    cka_loss(b, y.to(device)).backward()
    np.testing.assert_allclose(b.grad.cpu(), a.grad, rtol=1e-9, atol=1e-12)


def test_the_loss_under_autocast_and_degenerate(device):
    layer, x = nn.Linear(6, 4).to(device), samples(32).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        z = layer(x)
        loss = cka_loss(z, x)
    loss.backward()
    assert loss.item() == pytest.approx(1 - fastcka.cka(z.float().detach().cpu(), x.cpu()), abs=1e-5)
    assert layer.weight.grad.isfinite().all()
    with pytest.warns(fastcka.DegenerateWarning, match="y: no variation"):
        assert torch.isnan(cka(x, torch.ones(32, 2, device=device)))


def test_many_samples_keep_their_digits(device):
    x = samples(100_000, 8)
    y = torch.cat([samples(100_000, 4, seed=2), x[:, :1]], dim=1)
    found = cka(x.to(device), y.to(device)).item()
    assert found == pytest.approx(fastcka.cka(x, y), abs=1e-6)
