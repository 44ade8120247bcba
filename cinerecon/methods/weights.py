"""The weights of a model: written, read, and compared with the network that they are loaded into."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cinerecon.errors import WeightsError
from cinerecon.io.untrusted import refuse_pipe
from cinerecon.methods.model_file import CHECKSUM, ModelConfig, read_metadata, to_metadata
from cinerecon.networks.external import load_external
from cinerecon.networks.table import code_file


def write_model(path: Path, weights: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Write weights with their recipe, their card and their checksum in one file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = save(tensors, {**to_metadata(config), CHECKSUM: hash_weights(tensors)})
    path.write_bytes(content)  # `save_file` would leave a file that the user's colleagues cannot read


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of all tensors, with their names and shapes."""
    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def load_weights(net: nn.Module, path: Path) -> None:
    """Read weights into a network.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or a tensor is missing, unknown, or of another shape.
    """
    refuse_pipe(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "train first, or give --weights" if not path.exists() else "download the file again"
        raise WeightsError(f"cannot read weights: {error}", where=str(path), hint=hint) from None
    checksum = read_metadata(path).get(CHECKSUM)
    if checksum and checksum != hash_weights(tensors):
        raise WeightsError(
            "the weights differ from those that were written", where=str(path), hint="download the file again"
        )
    load_tensors(net, tensors, where=str(path), hint="the recipe and the weights must belong together")


def load_tensors(net: nn.Module, weights: Mapping[str, Tensor], *, where: str = "", hint: str = "") -> None:
    """Load tensors into a network; names and shapes must agree.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, or of another shape.
    """
    expected = net.state_dict()
    for name in [*expected, *weights]:
        shapes = [tuple(tensors[name].shape) if name in tensors else None for tensors in (expected, weights)]
        if shapes[0] != shapes[1]:
            known = [str(shape) if shape is not None else "none" for shape in shapes]
            message = f"weight '{name}': the recipe has {known[0]}, the file {known[1]}"
            raise WeightsError(message, where=where, hint=hint)
    net.load_state_dict(weights)


def check_code(config: ModelConfig, weights: Path) -> str:
    """SHA-256 of the code of an external network, which must be that which its weights were trained with.

    Raises
    ------
    WeightsError
        If it is not.
    """
    found = load_external(config.network).code_sha256
    trained = {config.code_sha256, read_metadata(weights).get("code_sha256")} - {None}
    if "any" not in trained and trained - {found}:
        what = f"{code_file(config.network).name} is not the code that the weights were trained with"
        hint = "the copy of it in the folder of the run; or --set code_sha256=any, if it computes the same"
        raise WeightsError(what, where=str(code_file(config.network)), hint=hint)
    return found
