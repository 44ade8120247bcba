"""Training in two processes of torchrun equals training in one process with twice the batches."""

import os
import socket
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from cinerecon.physics.operators import Encoding
from cinerecon.training import TrainOptions, init_state, train, training_loss
from cinerecon.training.batches import DataPaths, open_training_data
from cinerecon.training.data.batch import Batch
from cinerecon.training.distributed import ProcessGroup
from cinerecon.training.loop import Loop

SCRIPT = """
import sys
from pathlib import Path
import torch
from cinerecon.training import DataPaths, TrainOptions, init_state, read_recipe, train, training_loss
from cinerecon.training.batches import open_training_data
from cinerecon.physics.operators import Encoding
from cinerecon.training.data.batch import Batch
from cinerecon.training.distributed import join_process_group

def double(batch):
    csm, kspace = (tensor.to(torch.complex128) for tensor in (batch.encoding.csm, batch.kspace))
    encoding = Encoding(batch.encoding.mask, csm, matrix=batch.encoding.matrix)
    return Batch(kspace, encoding, batch.target.to(torch.complex128))

recipe, out, cases = read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
with join_process_group("cpu") as group:
    data, state = open_training_data(recipe, DataPaths(cases)), init_state(recipe)
    state.net.double()
    batch = double(next(data.load(recipe.training, 0, group, 0)))
    loss = training_loss(state.net, batch, recipe.training)
    loss.backward()
    means = group.average_gradients(state.net, loss.item(), float(group.rank))
    gradients = {name: p.grad for name, p in state.net.named_parameters() if p.grad is not None}
    torch.save({"gradients": gradients, "means": means}, out / f"rank{group.rank}.pt")
    train(recipe, out / "run", TrainOptions(DataPaths(cases), device="cpu"))
"""

SETTINGS = ("n_steps=4", "save_every=2", "data.coils=2", "symmetry_weight=0")


def joined(*batches):
    """Batches as one, in double precision."""
    csm, mask = (torch.cat([getattr(batch.encoding, name) for batch in batches]) for name in ("csm", "mask"))
    kspace, target = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("kspace", "target"))
    encoding = Encoding(mask, csm.to(torch.complex128), matrix=batches[0].encoding.matrix)
    return Batch(kspace.to(torch.complex128), encoding, target.to(torch.complex128))


def assert_same_gradients(gradients, net):
    """Equal up to rounding of double precision."""
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            assert (gradients[name] - parameter.grad).norm() <= 1e-10 * parameter.grad.norm() + 1e-18, name


@pytest.fixture(scope="module")
def together(folder, cases, make_recipe):
    """The folder that two processes wrote to."""
    out = folder / "processes"
    out.mkdir()
    recipe = make_recipe(*SETTINGS)
    open_training_data(recipe, DataPaths(cases)).draw_validation()  # phantoms are drawn once, here
    (out / "script.py").write_text(SCRIPT)
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    files = [out / "script.py", out / "recipe.yaml", out, cases]
    words = [str(part) for part in (*command, *files)]
    (out / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(out / "temporary")}
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def double_batch(cases, make_recipe):
    """A network after one batch made of two, in double precision: with its gradients, and the loss."""
    recipe = make_recipe(*SETTINGS)
    data, state = open_training_data(recipe, DataPaths(cases)), init_state(recipe)
    net = state.net.double()
    loss = training_loss(net, joined(data.batches[0], data.batches[1]), recipe.training)
    loss.backward()
    return net, loss.item()


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_the_double_batch(together, double_batch):
    net, loss = double_batch
    for rank in range(2):
        saved = torch.load(together / f"rank{rank}.pt", weights_only=True)
        assert saved["means"] == pytest.approx([loss, 0.5], rel=1e-5)
        assert_same_gradients(saved["gradients"], net)


@pytest.mark.slow
def test_no_folder_of_the_launcher_remains(together):
    assert not list((together / "temporary").glob("torchelastic*"))


def test_accumulated_gradients_are_those_of_the_double_batch(double_batch, cases, make_recipe):
    recipe = make_recipe(*SETTINGS, "n_batches=2")
    data, state = open_training_data(recipe, DataPaths(cases)), init_state(recipe)
    state.net.double()
    loop = Loop(recipe.training, ProcessGroup(torch.device("cpu")))
    loss = loop.accumulate(state, iter([joined(data.batches[0]), joined(data.batches[1])]))
    net, expected = double_batch
    assert loss == pytest.approx(expected, rel=1e-12)
    assert_same_gradients({name: parameter.grad for name, parameter in state.net.named_parameters()}, net)


@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one_with_twice_the_batches(together, folder, cases, make_recipe):
    train(make_recipe(*SETTINGS, "n_batches=2"), folder / "alone", TrainOptions(DataPaths(cases), device="cpu"))
    found, expected = (load_file(run / "last.safetensors") for run in (together / "run", folder / "alone"))
    for name in expected:
        assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name
