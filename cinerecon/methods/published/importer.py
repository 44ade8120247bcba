"""Convert the variables of a published checkpoint to a model file of this package."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.errors import WeightsError
from cinerecon.io.atomic import moved_into_place, refuse_existing
from cinerecon.io.output_folder import FolderKind, require_folder_of
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import (
    MODEL_ENDING,
    ModelConfig,
    ScaleName,
    imported_folder,
    load_tensors,
    write_model,
)
from cinerecon.methods.published.layouts import LAYOUTS, CheckpointLayout
from cinerecon.methods.published.read import Checkpoint, Variables, read_checkpoint
from cinerecon.networks.unrolled import count_parameters

_BOOKKEEPING = re.compile(r"(save_counter|optimizer|.*\.OPTIMIZER_SLOT)(/.*)?")
_ITERATION = re.compile(r"(?:celllist/|cell|conv_blocks\.)(\d+)[/.](.+)")
_ARRAY = re.compile(r"arr_(\d+)")
_ARRAYS_PER_CASCADE = 10
_SHORT_KERNEL = re.compile(r"(?:conv_\d|(?P<stack>sconv)_(?P<layer>\d))")
_SAMPLING = re.compile(r"(radial|vds|vista)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A published network with the names of this package.

    Attributes
    ----------
    layout
        The network and its program.
    architecture
        Settings of the network here.
    weights
        Tensors by the names of the parameters here.
    """

    layout: CheckpointLayout
    architecture: dict[str, Any]
    weights: dict[str, Tensor]

    def build(self, where: str = "") -> nn.Module:
        """Build the network with these weights; constants of the program keep their initial values.

        Raises
        ------
        WeightsError
            If a tensor is missing or has the wrong shape.
        """
        net = networks.build(self.layout.network, self.architecture)
        constant = {
            name: value for name, value in net.state_dict().items() if name.endswith(tuple(self.layout.as_built))
        }
        load_tensors(net, {**constant, **self.weights}, where=where, hint="the checkpoint may be damaged")
        return net


def map_variables(variables: Variables, *, where: str = "", **architecture: Any) -> ImportedNetwork:
    """Recognise a network by its variables, and translate their names.

    Parameters
    ----------
    variables
        Arrays by the names of the program: as in its checkpoint, or short, ``cell0/conv_1`` and ``cell0/sconv_0`` for
        ``celllist/0/conv_1/mylayers/0/kernel`` and ``celllist/0/sconv/mylayers/0/kernel``.
    where
        Location for error messages.
    architecture
        Settings of the network that do not follow from the variables, e.g. the slope of its activations.

    Raises
    ------
    WeightsError
        If the network is unknown, or variables are missing in some of its iterations.
    """
    cells: dict[int | None, dict[str, Any]] = {}
    for name, value in variables.items():
        if not _BOOKKEEPING.fullmatch(name):
            iteration, path = _split_name(name)
            cells.setdefault(iteration, {})[path] = value
    layout = _recognise(cells, where)
    _require_complete(cells, layout, where)
    weights = {}
    for iteration in cells:
        prefix = "" if iteration is None else f"cascades.{iteration}."
        for path, value in cells[iteration].items():
            weights[prefix + layout.cascade[path]] = _to_torch(value, layout)
    entry = _to_torch(next(iter(cells.values()))[layout.entry], layout)
    counted = {"n_channels": len(entry)} | ({} if None in cells else {"n_cascades": len(cells)})
    return ImportedNetwork(layout, {**layout.architecture, **counted, **architecture}, weights)


def _split_name(name: str) -> tuple[int | None, str]:
    """The iteration to which a variable belongs (None if all iterations share it), and its path in the iteration."""
    name = name.removeprefix("w/").removeprefix("module.")
    if match := _ARRAY.fullmatch(name):
        iteration, number = divmod(int(match[1]), _ARRAYS_PER_CASCADE)
        return iteration, f"arr_{number}"
    match = _ITERATION.fullmatch(name)
    if match is None:
        return None, name
    path = match[2]
    if short := _SHORT_KERNEL.fullmatch(path):
        path = f"{short['stack'] or path}/mylayers/{short['layer'] or 0}/kernel"
    return int(match[1]), path


def _recognise(cells: Mapping[int | None, Mapping[str, Any]], where: str) -> CheckpointLayout:
    """The layout that has exactly these variables."""
    paths = set().union(*cells.values())
    for layout in LAYOUTS:
        if layout.required <= paths <= set(layout.cascade):
            kernel = next(cell[layout.entry] for cell in cells.values() if layout.entry in cell)
            if kernel.ndim == layout.n_dims and _to_torch(kernel, layout).shape[1] == layout.n_in:
                return layout
    first_paths = ", ".join(sorted(paths)[:4]) or "none"
    known = "; ".join(layout.title for layout in LAYOUTS)
    raise WeightsError(f"unknown network with the variables {first_paths}, ...", where=where, hint=f"known: {known}")


def _require_complete(cells: Mapping[int | None, Mapping[str, Any]], layout: CheckpointLayout, where: str) -> None:
    """Check that iterations are numbered from 0 without gaps and have the same variables, except possibly the last."""
    everywhere = set().union(*cells.values())
    for n in range(len(cells)):
        iteration = n if n in cells else None
        is_last = n == len(cells) - 1
        missing = (layout.required if is_last else everywhere) - cells.get(iteration, {}).keys()
        if missing:
            what = f"the checkpoint is damaged: '{min(missing)}' is missing in iteration {n}"
            raise WeightsError(what, where=where)


def _to_torch(value: Any, layout: CheckpointLayout) -> Tensor:
    """A variable with the axis order of PyTorch; the axes of a kernel are frames, y, x."""
    tensor = torch.tensor(value, dtype=torch.float32)
    match layout.program.kernels, tensor.ndim:
        case "frames y x in out", 5:
            tensor = tensor.permute(4, 3, 0, 1, 2)
        case "frames y x in out", 2:
            tensor = tensor.mT
        case "out in y x frames", 5:
            tensor = tensor.permute(0, 1, 4, 2, 3)
    return tensor.contiguous()


def import_checkpoint(path: Path, **architecture: Any) -> tuple[nn.Module, ModelConfig]:
    """Load published weights into their network.

    Parameters
    ----------
    path
        See `read_checkpoint`.
    architecture
        Settings that do not follow from the variables.

    Returns
    -------
    The network with its weights, and its recipe with the card.

    Raises
    ------
    FileError
        If there is no checkpoint, or a part of it is missing.
    WeightsError
        If it is damaged, contains code, or belongs to an unknown network.
    UnsupportedError
        If it was written by TensorFlow 1.
    """
    checkpoint = read_checkpoint(path)
    mapped = map_variables(checkpoint.variables, where=str(path), **architecture)
    net = mapped.build(str(path))
    sampling = _SAMPLING.search(checkpoint.label)
    config = ModelConfig(
        network=mapped.layout.network,
        architecture=mapped.architecture,
        scale=_scale(sampling),
        card=_card(mapped.layout, checkpoint, sampling).model_copy(update={"n_parameters": count_parameters(net)}),
    )
    return net, config


def _scale(sampling: re.Match[str] | None) -> ScaleName:
    """The scale used in training: maximum of 1 in images; for VISTA (several coils), maximum of 1 in k-space."""
    return "kspace_max" if sampling and sampling[1] == "vista" else "max"


def _card(layout: CheckpointLayout, checkpoint: Checkpoint, sampling: re.Match[str] | None) -> Card:
    trained_on = layout.program.trained_on
    if sampling:
        pattern, number = sampling[1], float(sampling[2])
        text = {
            "radial": f"one coil, radial, {number:g} spokes",
            "vds": f"one coil, variable density, {1 / number if number < 1 else number:g}x",
            "vista": f"several coils, VISTA {number:g}x",
        }[pattern]
        trained_on = f"{trained_on}, {text} (according to its name)"
    return Card(
        licence=layout.program.licence,
        source=f"{layout.title}, {layout.program.source}",
        file=checkpoint.label,
        sha256=checkpoint.sha256,
        trained_on=trained_on,
    )


def import_model(path: Path, output: Path | None = None, *, force: bool = False) -> tuple[Path, ModelConfig]:
    """Convert a published checkpoint to a model file.

    Parameters
    ----------
    path
        See `read_checkpoint`.
    output
        File (``.safetensors``) or folder; None means the folder of imported models, where a model is found by its name.
    force
        Overwrite an existing file.

    Returns
    -------
    The file, and the recipe in it.

    Raises
    ------
    FileError
        If the checkpoint is missing or incomplete, or the file exists already.
    WeightsError, UnsupportedError
        See `import_checkpoint`; in this case nothing is written.
    """
    net, config = import_checkpoint(path)
    target = output or imported_folder()
    if target.suffix != MODEL_ENDING:
        require_folder_of(FolderKind.MODEL, target)
        sampling = _SAMPLING.search(config.card.file)
        target = target / f"{config.network}-{sampling[0] if sampling else 'imported'}{MODEL_ENDING}"
    refuse_existing(target, force=force)
    with moved_into_place(target) as temporary:
        write_model(temporary, net.state_dict(), config)
    return target, config
