# SPDX-License-Identifier: BSD-3-Clause
"""What `fastcka.torch.extract` records, and that it leaves everything else as it was."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import (  # noqa: E402
    Broken,
    Describe,
    Encoder,
    Repeated,
    Residual,
    breaking,
    labelled,
    mlp,
    samples,
    texts,
)

import fastcka  # noqa: E402


def extract(model, loader, layers="*", pool="flatten", **options):
    return fastcka.torch.extract(model, loader, layers, pool=pool, **{"progress": False, **options})


def equal(found, expected):
    """Compare bit by bit: recording copies, it does not compute."""
    np.testing.assert_array_equal(found, expected.detach().numpy())


# ------------------------------------------------------------------------------------------------ importing


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("import fastcka, sys; print('torch' in sys.modules)", "False"),
        ("from fastcka import *; import sys; print('torch' in sys.modules)", "False"),
        ("import fastcka; print('torch' in dir(fastcka), callable(fastcka.torch.extract))", "True True"),
    ],
)
def test_torch_is_imported_by_the_first_use_only(code, printed):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == printed


def test_without_torch_the_error_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import fastcka; fastcka.torch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.strip().endswith(
        'ImportError: fastcka.torch needs PyTorch: pip install "fastcka[torch]"'
    )


# ------------------------------------------------------------------------------------------------ recording


def test_layers_are_the_outputs_of_the_modules_in_the_order_in_which_they_ran():
    model, x = mlp(), samples()
    found = extract(model, labelled(x))
    assert list(found) == ["0", "1", "2", "3"]
    for k in range(4):
        # The batch size may change the last bit of a matrix product, so run in the same batches.
        equal(found[str(k)], torch.cat([model[: k + 1](part) for part in x.split(8)]))
    assert found.n_samples == 20
    assert found.ids is None
    assert found.skipped == {}
    assert repr(found) == "<20 samples; layers 0, 1, 2, 3>"
    assert fastcka.cka_matrix(found).rows == ("0", "1", "2", "3")


def test_what_is_recorded_is_safe_from_later_operations_in_place():
    model, x = Residual().eval(), samples(6, 3, 4, 4)
    found = extract(model, [x])
    norm = model.norm(model.conv(x))
    equal(found["norm"], norm.flatten(1))  # before the sum and the ReLU wrote to it
    equal(found["relu"], (norm + x).relu().flatten(1))


def test_inputs_are_safe_from_operations_in_place():
    x = samples()
    before = x.clone()
    extract(nn.Sequential(nn.ReLU(inplace=True)), [x])
    assert torch.equal(x, before)


def test_a_module_that_runs_repeatedly_gives_its_last_call_or_the_one_asked_for():
    model, x = Repeated(), samples()
    first = model.first(x).tanh()
    second = model.second(first).tanh()
    last = model.blocks[0](second).tanh()
    found = extract(model, [x], ["act", "act#0", "act#1"])
    equal(found["act#0"], first)
    equal(found["act#1"], second)
    equal(found["act"], last)
    assert list(extract(model, [x], "act#*")) == ["act#0", "act#1", "act#2"]
    assert extract(model, [x], "act").skipped == {
        "act#0": "an earlier call for the same batch",
        "act#1": "an earlier call for the same batch",
    }


def test_what_never_ran_or_has_no_tensor_is_left_out_and_reported():
    found = extract(Repeated(), [samples()])
    assert list(found) == ["first", "second", "blocks.0", "act"]
    assert found.skipped["unused"] == "it did not run"
    assert found.skipped["blocks"] == "it did not run"
    assert found.skipped["describe"] == "it returned no tensor but str"
    assert found.skipped["alias"] == "the same module as 'first'"


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("unused", "'unused': it did not run"), ("describe", "'describe': it returned no tensor but str")],
)
def test_a_layer_asked_for_by_name_that_gives_nothing_is_an_error(layer, reason):
    with pytest.raises(ValueError, match=reason):
        extract(Repeated(), [samples()], ["first", layer])


def test_a_shared_module_answers_to_each_of_its_names():
    model, x = Repeated(), samples()
    equal(extract(model, [x], "alias")["alias"], model.first(x))
    assert list(extract(model, [x], ["alias", "first"])) == ["first"]


def test_a_layer_that_runs_for_some_batches_only_is_named():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.big = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return self.always(x) if len(x) < 8 else self.big(self.always(x))

    with pytest.raises(ValueError, match="'big' ran for earlier batches, but not for this one"):
        extract(Sometimes(), samples().split(8))
    found = extract(Sometimes(), [samples(4), samples(8)])
    assert list(found) == ["always"]
    assert found.skipped["big"] == "it did not run for the first batch"


def test_tuples_and_dicts():
    class Two(nn.Module):
        def forward(self, x):
            return {"loss": x.mean(), "features": 2 * x, "scores": (x + 1, None)}

    x = samples()
    model = nn.ModuleDict({"lstm": nn.LSTM(6, 4, batch_first=True), "two": Two()})
    model.forward = lambda x: model["two"](model["lstm"](x[:, None])[0][:, 0])
    found = extract(model, [x], ["lstm", "two", "two:scores.0", "output:features"])
    with torch.no_grad():  # with gradients another kernel runs, whose last bit may differ
        hidden = model["lstm"](x[:, None])[0][:, 0]
    equal(found["lstm"], hidden)
    equal(found["two"], 2 * hidden)
    equal(found["two:scores.0"], hidden + 1)
    equal(found["output:features"], 2 * hidden)
    assert extract(model, [x]).skipped == {
        "lstm:1.0": "a further tensor of the output of 'lstm'",
        "lstm:1.1": "a further tensor of the output of 'lstm'",
        "two:loss": "a further tensor of the output of 'two'",
        "two:scores.0": "a further tensor of the output of 'two'",
    }


def test_hidden_states_of_hugging_face_models_have_clear_names():
    model, batches = Encoder(), texts()
    found = extract(model, batches, "hidden_states", "mean")
    assert list(found) == ["embeddings", "layer.0", "layer.1"]
    modules = extract(model, batches, ["embed", "blocks.*", "output", "pooler"], "mean")
    for state, module in [("embeddings", "embed"), ("layer.0", "blocks.0"), ("layer.1", "blocks.1")]:
        np.testing.assert_array_equal(found[state], modules[module])
    np.testing.assert_array_equal(modules["output"], modules["blocks.1"])  # last_hidden_state
    assert not model.config.output_hidden_states  # it was asked for them meanwhile
    assert "layer.0" not in extract(model, batches, "*", "mean")
    model.config.output_hidden_states = True
    everything = extract(model, batches, "*", "mean")
    assert {"embeddings", "layer.0", "layer.1", "blocks.0.linear1"} <= set(everything)
    assert list(extract(model, batches, "layer.*", "mean")) == ["layer.0", "layer.1"]


def test_a_hidden_state_of_the_same_name_as_a_module_is_told_apart():
    model = Encoder()
    model.embeddings = model.embed
    del model.embed
    model.embed = model.embeddings
    model.config.output_hidden_states = True
    found = extract(model, texts(), ["embeddings", "hidden_states"], "mean")
    np.testing.assert_array_equal(found["embeddings"], found["hidden_states.embeddings"])


def test_modules_inside_of_fused_encoder_layers_are_seen():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    found = extract(model, [samples(4, 5, 8)], "layers.*.linear1", "mean")
    assert list(found) == ["layers.0.linear1", "layers.1.linear1"]
    assert torch.backends.mha.get_fastpath_enabled()


def test_model_without_children_is_its_own_layer():
    x = samples()
    model = nn.Linear(6, 2)
    equal(extract(model, [x])["output"], model(x))
    equal(extract(model, [x], nn.Linear)["output"], model(x))
    assert list(extract(mlp(), [x], ["0", "output"])) == ["0", "output"]


def test_bfloat16_and_autocast():
    model, x = mlp(), samples()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = extract(model, [x], "0")
    assert found["0"].dtype == np.float32  # widened, exactly
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        equal(found["0"], model[0](x).float())


@pytest.mark.parametrize("dtype", ["float16", np.float64, torch.float32])
def test_dtype_of_the_arrays(dtype):
    x = samples()
    found = extract(mlp(), [x], "0", dtype=dtype)["0"]
    assert found.dtype == {"float16": np.float16, np.float64: np.float64}.get(dtype, np.float32)
    with pytest.raises(ValueError, match="unknown dtype 'int32': known are 'bfloat16'"):
        extract(mlp(), [x], dtype="int32")


def test_wrapped_models_are_looked_through():
    model, x = mlp(), samples()
    plain = extract(model, [x])
    for wrapped in (nn.DataParallel(model), torch.compile(nn.DataParallel(model), backend="eager")):
        found = extract(wrapped, [x])
        assert list(found) == list(plain)
        # Where there is a GPU, DataParallel moves the model there.
        np.testing.assert_allclose(found["3"], plain["3"], rtol=0, atol=1e-6)


@pytest.fixture
def compile_counted():
    """Options of torch.compile, and the graphs that were compiled: hooks must not be among them."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    yield {"backend": backend, "fullgraph": True}, graphs
    torch._dynamo.reset()


class Body(nn.Module):  # what is of torch itself is not compiled as the outermost
    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize("how", ["wrapped", "in place", "nested", "whole", "forward"])
def test_compiled_parts_are_looked_through(how, compile_counted):
    options, graphs = compile_counted
    model, x = Body().eval(), samples()
    model.net[0] = Body()
    model.net[1] = nn.Linear(5, 8)
    plain = extract(model, [x])
    if how == "in place":
        model.net[0].compile(**options)
    elif how == "forward":
        model.net[0].forward = torch.compile(model.net[0].forward, **options)
    elif how == "whole":
        model.compile(**options)
    else:
        model.net[0] = torch.compile(model.net[0], **options)
    if how == "nested":
        model = torch.compile(nn.DataParallel(torch.compile(model, **options)), **options)
    with torch.no_grad():
        model(x)
    compiled = len(graphs)
    assert compiled
    found = extract(model, [x])
    assert list(found) == list(plain)
    for name, X in plain.items():
        np.testing.assert_array_equal(found[name], X)
    assert found.skipped == {}
    assert list(extract(model, [x], nn.Linear)) == ["net.0.net.0", "net.0.net.2", "net.1", "net.2"]
    assert len(graphs) == compiled
    with torch.no_grad():
        model(x)  # still compiled, and as it was
    assert len(graphs) == compiled


def test_compiled_parts_need_a_pytorch_that_can_run_them_as_written(compile_counted, monkeypatch):
    options, _ = compile_counted
    model, x = mlp(), samples()
    compiled = nn.Sequential(torch.compile(mlp(), **options))
    monkeypatch.delattr(torch.compiler, "set_stance")
    assert list(extract(torch.compile(model, **options), [x])) == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match=r"compiled parts need PyTorch 2\.6 or later, this is 2"):
        extract(compiled, [x])


def test_distributed_data_parallel_runs_without_the_other_processes(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(mlp())
    finally:
        torch.distributed.destroy_process_group()
    assert list(extract(wrapped, [samples()])) == ["0", "1", "2", "3"]  # no group is left to talk to


# ----------------------------------------------------------------------------------- leaving things as found


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class Interrupted(nn.Module):
    def forward(self, x):
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["ends", "interrupt", "loader breaks"])
def test_hooks_mode_gradients_and_random_states_are_as_before(how):
    model = nn.Sequential(mlp(), nn.Dropout(), nn.BatchNorm1d(5))
    model[2].eval()  # frozen, as for fine-tuning
    loader = labelled(samples(), shuffle=True, generator=torch.Generator().manual_seed(5))
    batches = loader
    if how == "interrupt":
        model.append(Interrupted())
    if how == "loader breaks":
        batches = breaking(loader, 2)

    def state():
        modes = [module.training for module in model.modules()]
        draws = [torch.get_rng_state(), *([loader.generator.get_state()] if how == "ends" else [])]
        return (
            modes,
            torch.is_grad_enabled(),
            random.getstate(),
            [x.tolist() for x in draws],
            [
                x.tolist() if isinstance(x, np.ndarray) else x
                for x in np.random.get_state()  # noqa: NPY002
            ],
        )

    before, buffers = state(), {k: v.clone() for k, v in model.state_dict().items()}
    if how == "ends":
        extract(model, batches, ids=[*range(20)])
    else:
        with pytest.raises(KeyboardInterrupt if how == "interrupt" else Broken):
            extract(model, batches, ids=[*range(20)])
    assert state() == before
    assert hooks(model) == 0
    assert all(torch.equal(v, buffers[k]) for k, v in model.state_dict().items())  # no batch statistics taken
    assert all(p.grad is None for p in model.parameters())


def test_the_model_runs_in_evaluation_mode():
    x = samples()
    equal(extract(nn.Sequential(nn.Dropout(0.9)).train(), [x])["0"], x)


def test_hooks_of_others_are_kept_and_their_changes_recorded():
    model, x = mlp(), samples()
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    equal(extract(model, [x], "0")["0"], model[0](x))
    assert hooks(model) == 1


# ------------------------------------------------------------------------------------------ inputs and ids


def test_batches_as_tensors_tuples_and_dicts_give_the_same():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, pixels, scale=None):
            return self.body(pixels)

    model, x = Named(), samples()
    labels = torch.arange(20)
    for loader in (
        labelled(x, 20),
        [x],
        [(x, labels)],
        [[x, labels]],
        [x.numpy()],
        [{"pixels": x, "label": labels}],
        [({"pixels": x}, labels)],
    ):
        equal(extract(model, loader)["body.3"], model.body(x))


def test_a_model_gets_as_many_inputs_as_it_requires():
    model = nn.Bilinear(6, 3, 4)
    x, y = samples(), samples(20, 3)
    equal(extract(model, [(x, y, torch.zeros(20))])["output"], model(x, y))
    with pytest.raises(ValueError, match=r"1 entries, but Bilinear.forward needs 2: input1, input2") as error:
        extract(model, [x])
    assert error.value.__notes__ == ["batch 0 of the loader"]


def test_a_dict_without_the_models_inputs_is_explained():
    batch = {"image": samples(), "label": torch.zeros(20)}
    with pytest.raises(TypeError) as error:  # the model may take the whole dict
        extract(mlp(), [batch])
    assert any("takes input; a batch has the entries image, label: name" in x for x in error.value.__notes__)
    with pytest.raises(
        ValueError, match="forward takes x, y; a batch has the entries image, label: name the"
    ):
        extract(Pair(), [batch])


class Pair(nn.Module):
    def forward(self, x, y):
        return x + y


class WholeDict(nn.Module):
    """As SentenceTransformer and Lightning have it; its output is a dataclass."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 4)

    def forward(self, batch):
        return Output(self.body(batch["image"]), [batch["image"]])


@dataclasses.dataclass
class Output:
    scores: object
    others: object


def test_models_that_take_the_whole_dict_and_give_a_dataclass():
    batch = {"image": samples(), "label": torch.zeros(20)}
    found = extract(WholeDict(), [batch], ["body", "output", "output:others.0"])
    np.testing.assert_array_equal(found["output"], found["body"])
    np.testing.assert_array_equal(found["output:others.0"], batch["image"])


class Beside(nn.Module):
    """Gives what is the same for all samples, as position embeddings."""

    def __init__(self):
        super().__init__()
        self.body, self.positions = nn.Linear(6, 4), nn.Embedding(3, 4)

    def forward(self, x):
        return self.body(x) + self.positions(torch.arange(3)[None])[:, 0]


def test_a_first_batch_of_one_sample_lets_through_what_later_ones_do_not(tmp_path):
    x = samples(9)
    with pytest.warns(UserWarning, match="layer 'positions': it fitted in earlier batches, but now"):
        found = extract(Beside(), [x[:1], x[1:]], pool="mean")
    assert (list(found), found.n_samples) == (["body"], 9)
    assert "it fitted in earlier batches" in found.skipped["positions"]
    for loader in ([x[:1], x[1:]], iter([x[:1], x[1:]])):
        with pytest.warns(fastcka.DegenerateWarning, match="layer 'positions' of Beside A: it fitted in"):
            matrix = fastcka.torch.compare(Beside(), Beside(), loader, pool="mean", progress=False)
        assert np.isnan(matrix.values).tolist() == [[False, True], [True, True]]
    with pytest.raises(ValueError, match="layer 'positions': it fitted in earlier batches"):
        extract(Beside(), [x[:1], x[1:]], ["body", "positions"], "mean")
    with pytest.raises(ValueError, match=r"layer 'positions', which is in .*: it fitted in earlier batches"):
        extract(Beside(), [x[:1], x[1:]], pool="mean", out=tmp_path / "s")
    assert list(extract(Beside(), [x], pool="mean")) == ["body"]  # without a warning


@pytest.mark.parametrize("ids", ["sample", lambda batch: batch["sample"], list(range(100, 112))])
def test_ids_from_the_batches_or_a_list(ids):
    found = extract(Encoder(), texts(), "pooler", ids=ids, max_samples=10)
    assert found.ids == tuple(range(100, 110))


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="ids has 2 entries, but the loader gave 8 samples so far"):
        extract(mlp(), labelled(samples()), ids=["a", "b"])
    with pytest.raises(ValueError, match=r"ids='nr' is not in the batch, which has the entries input_ids,"):
        extract(Encoder(), texts(), ids="nr")
    with pytest.raises(ValueError, match="ids gave 1 ids for a batch of 4 samples"):
        extract(Encoder(), texts(), ids=lambda batch: batch["sample"][:1])
    with pytest.raises(TypeError, match=r"ids must be strings or integers, one for each sample, got 0.5"):
        extract(mlp(), labelled(samples()), ids=[0.5] * 20)


def test_n_samples_cuts_the_last_batch_and_asks_for_no_more():
    x = samples()
    found = extract(mlp(), breaking(x.split(8), after=2), max_samples=11)
    assert found["3"].shape == (11, 5)
    np.testing.assert_array_equal(found["3"], extract(mlp(), x.split(8))["3"][:11])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (torch.zeros(4, 6), r"loader is a single torch.Tensor, .*loader=tensor.split\(64\)"),
        (torch.utils.data.TensorDataset(torch.zeros(4, 6)), "loader is a data set.*DataLoader"),
        (3, "loader must be an iterable of batches, got int"),
        (["text"], "a batch must be a tensor, a tuple.*got str"),
    ],
)
def test_loaders_that_are_none(loader, message):
    with pytest.raises(TypeError, match=message):
        extract(mlp(), loader)


def test_an_empty_loader_is_an_error():
    with pytest.raises(ValueError, match="loader gave no sample"):
        extract(mlp(), [])


def test_model_must_be_a_module():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got function"):
        extract(mlp, [samples()])


# ---------------------------------------------------------------------------------- what cannot be recorded


class TimeFirst(nn.Module):
    """Gives (positions, samples, features), and what nothing follows."""

    def __init__(self, lost=False):
        super().__init__()
        self.body, self.turn = nn.Linear(6, 6), nn.Identity()
        self.lost = lost

    def forward(self, x):
        x = self.body(x)
        return self.turn(torch.einsum("npf->pnf", x) if self.lost else x.transpose(0, 1))


@pytest.mark.parametrize("n", [4, 5])
def test_samples_are_followed_to_another_axis(n):
    found = extract(TimeFirst(), [samples(n, 5, 6)])
    np.testing.assert_array_equal(found["turn"], found["body"])


def test_a_layer_whose_first_dimension_is_not_the_batch_is_left_out_with_a_warning():
    x = samples(4, 5, 6)
    reason = r"layer 'turn': its first dimension is not the batch: shape \(5, 4, 6\) for 4 samples"
    with pytest.warns(UserWarning, match=f"skipped: {reason}"):
        found = extract(TimeFirst(lost=True), [x])
    assert list(found) == ["body"]
    assert "first dimension" in found.skipped["turn"]
    with pytest.raises(ValueError, match=reason):
        extract(TimeFirst(lost=True), [x], ["body", "turn"])
    turned = extract(
        TimeFirst(lost=True), [x], pool={"turn": lambda a: a.transpose(0, 1).flatten(1), "*": "flatten"}
    )
    np.testing.assert_array_equal(turned["turn"], turned["body"])
    told = extract(TimeFirst(lost=True), [x], axes={"turn": "pnf"})
    np.testing.assert_array_equal(told["turn"], told["body"])


def test_samples_that_may_be_along_two_axes_are_never_mixed():
    x = samples(5, 5, 6)
    with pytest.raises(
        ValueError, match=r"layer 'turn': which of its axes are the samples is not known.*axes="
    ):
        extract(TimeFirst(lost=True), [x], ["turn"])
    told = extract(TimeFirst(lost=True), [x], axes={"turn": "pnf"})
    np.testing.assert_array_equal(told["turn"], told["body"])


@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
def test_modules_of_torch_jit_are_left_out_and_named():
    x, reason = samples(), "it is compiled by torch.jit, and cannot be watched"
    scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 3), nn.ReLU()))
    found = extract(nn.Sequential(nn.Linear(6, 6), scripted), [x])
    assert list(found) == ["0"]
    assert found.skipped == {"1": reason, "1.0": reason, "1.1": reason}
    with pytest.raises(ValueError, match=f"layer '1.0': {reason}"):
        extract(nn.Sequential(nn.Linear(6, 6), scripted), [x], ["0", "1.0"])
    for model in (scripted, torch.jit.trace(mlp(), x)):
        with pytest.raises(ValueError, match=f"no layer returns usable activations .'0': {reason}"):
            extract(model, [x])
        assert list(extract(model, [x], "output")) == ["output"]


def test_tensors_that_are_not_dense_are_left_out():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.sparse, self.complex, self.dense = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            self.sparse(x.to_sparse()), self.complex(x + 0j)
            return self.dense(x)

    with pytest.warns(
        UserWarning, match=r"'sparse': its tensor is not dense but torch.sparse_coo; .*complex"
    ):
        assert list(extract(Odd(), [samples()])) == ["dense"]


def test_a_layer_without_features_is_left_out_with_a_warning():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.none = nn.Linear(6, 4), nn.Identity()

        def forward(self, x):
            return self.none(self.body(x)[:, :0])

    with pytest.warns(UserWarning, match=r"layer 'none': it has no features: its shape is \(20, 0\)"):
        assert list(extract(Cut(), [samples()])) == ["body"]


def test_an_earlier_call_that_does_not_fit_is_no_harm():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            self.layer(x.T)
            return self.layer(x)

    x = samples()
    found = extract(Twice(), x.split(10), "layer")
    equal(found["layer"], x)
    assert found.skipped == {"layer#0": "an earlier call for the same batch"}


def test_when_nothing_can_be_used_the_reasons_are_given():
    with pytest.raises(ValueError, match=r"no layer returns usable activations .'output': it returned no"):
        extract(Describe(), [samples()])


@pytest.mark.filterwarnings("error")
def test_finite_values_with_an_infinite_sum_are_finite():
    x = torch.full((8, 4), 60000.0, dtype=torch.float16)  # the largest is 65504
    assert not x.sum().isfinite()
    equal(extract(nn.Sequential(nn.Identity()), [x])["0"], x)


def test_nan_is_reported_with_layer_sample_and_feature_and_kept():
    x = samples()
    x[13, 2] = float("nan")
    with pytest.warns(UserWarning, match="layer '0': contains NaN, first at sample 13, feature 2") as caught:
        found = extract(nn.Sequential(nn.Identity()), x.split(4))
    assert len(caught) == 1
    assert np.isnan(found["0"]).sum() == 1


def test_inputs_of_different_sizes_need_pooling():
    model = nn.Sequential(nn.Linear(6, 4))
    batches = [samples(4, 5, 6), samples(4, 7, 6)]
    with pytest.raises(ValueError, match="'0' has 28 features in this batch, 20 in the first one: bring all"):
        extract(model, batches)
    assert extract(model, batches, pool="mean")["0"].shape == (8, 4)


# -------------------------------------------------------------------------------------- memory and progress


def test_size_is_shown_before_the_run_and_refused_over_max_bytes(capsys):
    model, loader = mlp(), labelled(samples())
    exact = 20 * (8 + 8 + 5 + 5) * 4
    extract(model, loader, progress=True, max_bytes=exact)
    assert "extract: 4 layers of 20 samples, 2.08 kB in memory" in capsys.readouterr().err
    ran = []
    model[0].register_forward_hook(lambda *_: ran.append(1))
    with pytest.raises(MemoryError, match=rf"take 2.08 kB \({exact} bytes\) in memory, .*out="):
        extract(model, loader, max_bytes=exact - 1)
    assert len(ran) == 1


def test_size_is_bounded_where_the_loader_has_no_length():
    batches = (x for x in samples(200).split(8))
    with pytest.raises(MemoryError, match="samples so far take"):
        extract(mlp(), batches, max_bytes=4000)
    found = extract(mlp(), (x for x in samples(200).split(8)), max_bytes=10**6)
    np.testing.assert_array_equal(found["3"], extract(mlp(), samples(200).split(8))["3"])


def test_progress_function_and_silence(capsys):
    seen = []
    extract(mlp(), labelled(samples()), progress=lambda *done: seen.append(done))
    assert seen == [(8, 20), (16, 20), (20, 20)]
    assert capsys.readouterr() == ("", "")


def test_a_mask_in_a_tuple_is_not_taken_for_labels():
    batch = texts()[0]
    with pytest.raises(ValueError, match="entry 1 looks like attention_mask, but Encoder"):
        extract(Encoder(), [(batch["input_ids"], batch["attention_mask"])], "blocks.*", "mean")
    labels = torch.arange(len(batch["input_ids"]))
    assert extract(Encoder(), [(batch["input_ids"], labels)], "blocks.0", "cls")["blocks.0"].shape == (4, 8)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
def test_joined_batches_are_not_held_twice():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    model = nn.Sequential(nn.Identity(), nn.Identity())
    batches = [torch.ones(2000, 500)] * 20
    extract(model, batches[:1])  # what a first call imports is not meant
    fastcka.release_buffers()
    before = resident()
    found = extract(model, batches)
    held = sum(X.nbytes for X in found.values())
    assert held == 2 * 20 * 2000 * 500 * 4
    assert resident() - before < 1.75 * held  # twice would be 2; malloc keeps some of what it got back
