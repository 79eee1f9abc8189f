# SPDX-License-Identifier: BSD-3-Clause
"""Heads, inputs of modules, some of the tokens; what models take; what results say of their origin."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Encoder, labelled, mlp, samples, texts  # noqa: E402

import fastcka  # noqa: E402


def extract(model, loader, *arguments, **options):
    return fastcka.torch.extract(model, loader, *arguments, **{"progress": False, **options})


def kept(model, batch, name):
    """Return what a module is given, and what it gives."""
    seen = {}
    handle = model.get_submodule(name).register_forward_hook(lambda m, args, y: seen.update(x=args[0], y=y))
    with torch.no_grad():
        model(batch)
    handle.remove()
    return seen["x"], seen["y"]


# ------------------------------------------------------------------------------------------ heads and inputs


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.project = nn.Linear(12, 36), nn.Linear(12, 12)
        self.norm = nn.LayerNorm(12)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.norm(x + self.project(mixed))


@pytest.mark.parametrize("pool", ["flatten", "mean", "last", "tokens"])
def test_heads_of_attention_are_what_its_projection_is_given(pool):
    net, x = Attention().eval(), samples(10, 5, 12)
    found = extract(net, x.split(4), ["project:input", "norm"], pool=pool, split={"project:*": 3})
    assert list(found) == ["project:input#h0", "project:input#h1", "project:input#h2", "norm"]
    given, _ = kept(net, x, "project")
    for head in range(3):
        part = given[..., 4 * head : 4 * head + 4]
        rows = {
            "flatten": part.flatten(1),
            "mean": part.mean(1),
            "last": part[:, -1],
            "tokens": part.flatten(0, 1),
        }[pool]
        np.testing.assert_allclose(found[f"project:input#h{head}"], rows, rtol=1e-6, atol=1e-6)


def test_a_number_of_heads_is_for_all_layers():
    found = extract(mlp((6, 8, 4)), [samples()], split=2)
    assert list(found) == [f"{layer}#h{head}" for layer in range(4) for head in range(2)]
    whole = extract(mlp((6, 8, 4)), [samples()])
    np.testing.assert_array_equal(found["2#h1"], whole["2"][:, 2:])


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        (3, ValueError, "its 8 features cannot be split into 3"),
        (0, ValueError, "split: 0 for '\\*' is not a number of heads"),
        ({"1": "x"}, ValueError, "split: 'x' for '1' is not a number of heads"),
        ("12", TypeError, "split must be a number of heads, or a mapping"),
    ],
)
def test_what_is_no_number_of_heads(split, error, message):
    with pytest.raises(error, match=message):
        extract(mlp(), [samples()], "1", split=split)


def test_inputs_of_modules():
    class Two(nn.Module):
        def forward(self, x, *, scale):
            return x * scale

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.act = Two(), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(self.two(x, scale=x[:, :1]))

    x = samples(9)
    found = extract(Net(), [x], ["*:input", "two:input.scale"])
    assert list(found) == ["two:input", "two:input.scale", "act:input"]
    np.testing.assert_array_equal(found["two:input"], x)
    np.testing.assert_array_equal(found["two:input.scale"], x[:, :1])
    np.testing.assert_array_equal(found["act:input"], x * x[:, :1])  # before it is written to, in place
    assert list(extract(Net(), [x])) == ["two", "act"]  # not unless they are asked for


# ------------------------------------------------------------------------------------------------- tokens


def test_some_tokens_are_the_same_for_all_models_and_batches():
    whole = extract(Encoder(), texts(), "hidden_states", pool="tokens")
    places = {i: k for k, i in enumerate(whole.ids)}
    for size in (4, 3):
        some = extract(Encoder(1), texts(batch_size=size), "hidden_states", pool="tokens", max_tokens=2)
        assert set(some.ids) < set(whole.ids)
        per_sample = [i.split(":")[0] for i in some.ids]
        assert max(map(per_sample.count, per_sample)) == 2
        ours = extract(Encoder(), texts(batch_size=size), "hidden_states", pool="tokens", max_tokens=2)
        assert ours.ids == some.ids
        chosen = [places[i] for i in ours.ids]
        np.testing.assert_allclose(ours["layer.1"], whole["layer.1"][chosen], rtol=1e-5, atol=1e-6)
    others = extract(Encoder(), texts(batch_size=3), "hidden_states.embeddings", pool="tokens", max_tokens=1)
    assert len({i.split(":")[1] for i in others.ids}) > 1  # not always the first one
    with pytest.raises(ValueError, match="max_tokens is for pool='tokens'"):
        extract(Encoder(), texts(), pool="mean", max_tokens=2)


def test_special_tokens_are_no_tokens():
    batches = texts()
    for batch in batches:
        batch["special_tokens_mask"] = torch.zeros_like(batch["input_ids"])
        batch["special_tokens_mask"][:, 2] = 1
    whole, without = (
        extract(Encoder(), b, "hidden_states.embeddings", pool="tokens").ids for b in (texts(), batches)
    )
    assert without == tuple(i for i in whole if not i.endswith(":2"))


# ------------------------------------------------------------------------------------------ what models take


def test_a_first_batch_of_one_sample():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body = nn.Embedding(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.body(x + self.embed(torch.arange(5)[None]))

    net, x = Positions(), samples(9, 5, 6)
    with pytest.warns(UserWarning, match="skipped: layer 'embed': it fitted in earlier batches"):
        found = extract(net, [x[:1], x[1:]], pool="mean")
    assert list(found) == ["body"]
    np.testing.assert_allclose(found["body"], net(x).mean(1).detach(), rtol=1e-5, atol=1e-6)


def test_outputs_that_are_dataclasses_and_forward_with_one_dict():
    @dataclass
    class Output:
        scores: torch.Tensor
        note: str = ""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, batch):
            return Output(self.inner(batch["features"]))

    x = samples()
    found = extract(Net(), [{"features": x, "label": torch.zeros(20)}], ["output", "output:scores"])
    np.testing.assert_array_equal(found["output"], found["output:scores"])
    np.testing.assert_array_equal(found["output"], mlp()(x).detach())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (["a text", "another"], "a batch is a list of texts, .* tokeniser"),
        ((["a text"], torch.zeros(1)), "a batch is a list of texts"),
        ({"input_ids": ["a text"]}, "entry 'input_ids' of a batch is a list of texts"),
        (
            {"input_ids": [[1, 2], [3, 4]]},
            r"entry 'input_ids' of a batch is a list of list.*set_format\('torch'\)",
        ),
    ],
)
def test_texts_and_lists_of_numbers_are_told_about_tokenisers(batch, message):
    with pytest.raises(TypeError, match=message):
        extract(Encoder(), [batch])


def test_images_get_the_type_of_a_model_in_half_precision():
    x = samples()
    for dtype in (torch.bfloat16, torch.float16):
        net = mlp().to(dtype)
        np.testing.assert_array_equal(extract(net, [x])["0"], extract(net, [x.to(dtype)])["0"])
    assert extract(mlp().double(), [x.double()])["0"].dtype == np.float64


# ------------------------------------------------------------------------------------------- what is doubtful


def test_means_that_are_rounding_are_named():
    """A layer norm averaged over its features, as who takes the wrong axis for positions gets it."""
    net = nn.Sequential(nn.LayerNorm(32, elementwise_affine=False))
    x = samples(12, 7, 32)
    with pytest.warns(
        UserWarning, match=r"layer '0': its means are rounding error, .* set axes= .*'nfp' was"
    ):
        extract(net, [x], pool="mean", axes={"0": "nfp"})
    with pytest.warns(UserWarning, match="layer '0' of model_a: its means are rounding error"):
        matrix = fastcka.torch.compare(
            net, mlp((32, 4)), [x], layers_b="0", pool="mean", axes_a={"0": "nfp"}, progress=False
        )
    assert any("rounding" in text for text in matrix.warnings)
    extract(net, [x], pool="mean")  # over positions: no warning


# ------------------------------------------------------------------------------------------ borrowed memory


def test_memory_that_the_model_writes_to_later_is_copied():
    """In the first batch, in a later one only, and behind the back of version counters."""

    class Writing(nn.Module):
        def __init__(self, how, batch):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(6, 5), nn.Identity()
            self.how, self.batch, self.seen = how, batch, set()

        def forward(self, x):
            y = self.first(x)
            if x[0, 0] >= self.batch:
                if self.how == "in place":
                    y.mul_(2)
                else:
                    y.data.mul_(2)
            return self.second(y)

    x = samples(40)
    x[:, 0] = torch.arange(40) // 10
    clean = nn.Linear(6, 5)
    torch.manual_seed(0)
    clean = nn.Linear(6, 5)
    for how, batch in (("in place", 0), ("in place", 2), ("data", 0)):
        matrix = fastcka.torch.compare(
            Writing(how, batch), clean, x.split(10), layers_a="first", layers_b="output", progress=False
        )
        assert matrix.values.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", ["exact", "minibatch"])
def test_memory_that_is_written_to_again_by_the_other_model_is_copied(method):
    class Reusing(nn.Module):
        """Gives the same memory each time it runs."""

        def __init__(self):
            super().__init__()
            self.memory = torch.zeros(10, 6)

        def forward(self, x):
            return self.memory.copy_(x)

    net = nn.Sequential(Reusing(), nn.Identity())
    x = samples(40)
    matrix = fastcka.torch.compare(
        net,
        net,
        x.split(10),
        layers_a="0",
        layers_b="0",
        transform_b=torch.square,
        method=method,
        progress=False,
    )
    stream = fastcka.StreamingCKA(method)
    for batch in x.split(10):
        stream.update(batch.numpy(), batch.square().numpy())
    np.testing.assert_allclose(matrix.values, stream.result().values, atol=1e-6)


def test_later_batches_that_are_not_as_the_first_are_seen():
    """Rows that are memory of the model are made without a look at each tensor: what differs is found."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            return self.layer(x)

    def compared(*batches, method="exact"):
        options = {"layers_a": "layer", "layers_b": "layer", "method": method, "progress": False}
        options |= {"axes_a": {"layer": "npf"}, "axes_b": {"layer": "npf"}}
        return fastcka.torch.compare(Plain(), Plain(), batches, **options)

    first, x = samples(8, 5, 4), samples(8, 5, 4, seed=2)
    both = torch.cat([first, x]).flatten(1)
    expected = fastcka.cka(both.numpy(), both.numpy())
    for later in (x, x.transpose(1, 2).contiguous().transpose(1, 2), x.clone().requires_grad_()):
        assert compared(first, later).values.item() == pytest.approx(expected, abs=1e-6)
    wide = torch.cat([first.double(), x.double()]).flatten(1).numpy()
    assert compared(first.double(), x).values.item() == pytest.approx(fastcka.cka(wide, wide), abs=1e-6)
    with pytest.raises(ValueError, match="has 24 features in this batch, 20 in the first one"):
        compared(first, samples(8, 6, 4))
    with pytest.raises(ValueError, match="made this a float32 stream"):
        compared(first, x.double(), method="minibatch")
    mask = torch.ones(8, 5)
    mask[2, 3:] = 0
    with pytest.raises(ValueError, match="'flatten' would count padding"):
        compared({"x": first}, {"x": x, "attention_mask": mask})


# --------------------------------------------------------------------------------------------------- origin


def test_results_say_where_they_come_from():
    loader = labelled(samples())
    matrix = fastcka.torch.compare(mlp(), mlp(seed=1), loader, pool="mean", progress=False)
    origin = matrix.provenance["torch"]
    assert origin["versions"]["torch"] == torch.__version__
    assert origin["versions"]["fastcka"] == fastcka.__version__
    assert list(origin["data"]) == ["TensorDataset of 20 samples"]
    assert (origin["device"], origin["autocast"], *origin["pool"]) == ("cpu", None, "mean", "mean")
    named = mlp()
    named.config = SimpleNamespace(name_or_path="lab/net-7")
    matrix = fastcka.torch.compare(named, mlp(), loader, progress=False)
    assert matrix.provenance["torch"]["checkpoints"] == ("lab/net-7", None)
    assert matrix.models == ("lab/net-7", "Sequential")
    assert extract(named, [samples()]).provenance["extract"]["checkpoint"] == "lab/net-7"
    with torch.autocast("cpu", torch.bfloat16):
        under = extract(mlp(), [samples()])
    assert under.provenance["extract"]["autocast"] == "bfloat16"
    assert under.provenance["extract"]["data"] == "list of 1 batches"


def test_what_is_in_memory_can_be_stored(tmp_path):
    found = extract(mlp(), labelled(samples()), ids=range(20), provenance={"seed": 0})
    store = found.save(tmp_path / "store")
    assert list(store) == list(found)
    for layer, X in found.items():
        np.testing.assert_array_equal(store[layer], X)
    assert list(map(int, store.ids)) == list(range(20))
    assert store.provenance["seed"] == 0
    assert store.provenance["extract"]["parameters"] == found.provenance["extract"]["parameters"]
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "store")


def test_one_changed_parameter_makes_another_model():
    net = mlp((40, 40))
    before = extract(net, [samples(8, 40)]).provenance["extract"]["parameters"]
    with torch.no_grad():
        net[0].weight[3, 5] += 5  # which is none of those whose values are noted
    assert extract(net, [samples(8, 40)]).provenance["extract"]["parameters"] != before


def test_what_is_done_is_logged(caplog, capsys):
    with caplog.at_level(logging.INFO, "fastcka.torch"):
        extract(mlp(), labelled(samples()))
        fastcka.torch.compare(mlp(), mlp(), labelled(samples()), progress=False)
    assert [record.message.split(":")[0] for record in caplog.records] == ["extract", "compare"]
    assert "4 layers of 20 samples" in caplog.records[0].message
    assert capsys.readouterr().err == ""
