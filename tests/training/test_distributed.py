"""Training in two processes of torchrun equals training in one process with twice the batches."""

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
from cinerecon.training.data import Batch

SCRIPT = """
import sys
from pathlib import Path
import torch
from cinerecon.training import DataPaths, TrainOptions, init_state, read_recipe, train, training_loss
from cinerecon.training.batches import open_training_data
from cinerecon.training.distributed import join_process_group

recipe, out, cases = read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
with join_process_group("cpu") as group:
    data, state = open_training_data(recipe, DataPaths(cases)), init_state(recipe)
    batch = next(data.load(recipe.training, 0, group, 0))
    loss = training_loss(state.net, batch, recipe.training)
    loss.backward()
    means = group.average_gradients(state.net, loss.item(), float(group.rank))
    gradients = {name: p.grad for name, p in state.net.named_parameters() if p.grad is not None}
    torch.save({"gradients": gradients, "means": means}, out / f"rank{group.rank}.pt")
    train(recipe, out / "run", TrainOptions(DataPaths(cases), device="cpu"))
"""

SETTINGS = ("n_steps=4", "save_every=2", "data.coils=2")


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
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.slow
def test_gradients_are_those_of_the_double_batch(together, cases, make_recipe):
    recipe = make_recipe(*SETTINGS)
    data, state = open_training_data(recipe, DataPaths(cases)), init_state(recipe)
    first, second = data.batches[0], data.batches[1]
    csm, mask = (torch.cat([getattr(one.encoding, name) for one in (first, second)]) for name in ("csm", "mask"))
    encoding = Encoding(mask, csm, matrix=first.encoding.matrix)
    double = Batch(torch.cat([first.kspace, second.kspace]), encoding, torch.cat([first.target, second.target]))
    loss = training_loss(state.net, double, recipe.training)
    loss.backward()
    for rank in range(2):
        found = torch.load(together / f"rank{rank}.pt", weights_only=True)
        assert found["means"] == pytest.approx([loss.item(), 0.5], rel=1e-5)
        for name, parameter in state.net.named_parameters():
            if parameter.grad is not None:
                gradient = found["gradients"][name]
                assert (gradient - parameter.grad).norm() <= 1e-5 * parameter.grad.norm() + 1e-9, name


@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one_with_twice_the_batches(together, folder, cases, make_recipe):
    train(make_recipe(*SETTINGS, "n_batches=2"), folder / "alone", TrainOptions(DataPaths(cases), device="cpu"))
    found, expected = (load_file(run / "last.safetensors") for run in (together / "run", folder / "alone"))
    for name in expected:
        assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name
