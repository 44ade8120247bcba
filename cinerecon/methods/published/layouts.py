"""The variable names of published programs, and the corresponding parameters of the networks in this package.

Each `CheckpointLayout` is one network of one program. Its table maps the path of a variable in one unrolled iteration,
as stored by the program, to the name of the same parameter in a cascade of this package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Program:
    """A published program.

    Attributes
    ----------
    source
        Its repository.
    licence
        Licence of the repository, and therefore of its weights.
    trained_on
        Training data of its weights, according to its repository.
    kernels
        Order of the axes of a convolution kernel.
    """

    source: str
    licence: str
    trained_on: str
    kernels: Literal["frames y x in out", "out in y x frames"]


UNROLLINGNETS = Program("https://github.com/yhao-z/UnrollingNets-dMRI", "GPL-3.0", "OCMR cines", "frames y x in out")
JOTLASNET = Program("https://github.com/yhao-z/JotlasNet", "GPL-3.0", "OCMR cines", "frames y x in out")
T2LRNET = Program("https://github.com/yhao-z/T2LR-Net", "GPL-3.0", "cines, one coil", "frames y x in out")
LSNET = Program("https://github.com/wenqihuang/LS-Net-Dynamic-MRI", "none given", "cines", "frames y x in out")
DEEP_MRI = Program(
    "https://github.com/js3611/Deep-MRI-Reconstruction",
    "Apache-2.0",
    "cines, one coil, ky lines",
    "out in y x frames",
)


@dataclass(frozen=True)
class CheckpointLayout:
    """One network of one program.

    Attributes
    ----------
    title
        Name of the network in that program.
    program
        The program that contains it.
    network, architecture
        Name and settings of the same network in this package; the numbers of cascades and channels follow from the
        variables.
    cascade
        Names of the parameters of a cascade by the paths of the variables of an iteration.
    entry
        Path of the first kernel, which is applied to the image; its shape determines the number of channels.
    n_in, n_dims
        Numbers of input channels and axes of this kernel.
    as_built
        Parameters of the cascades here that are constant in some iterations of the program.
    """

    title: str
    program: Program
    network: str
    cascade: Mapping[str, str]
    entry: str
    n_in: int = 2
    n_dims: int = 5
    architecture: Mapping[str, Any] = field(default_factory=dict)
    as_built: Sequence[str] = ()

    @property
    def required(self) -> set[str]:
        """Paths that every iteration has."""
        return {path for path, name in self.cascade.items() if name not in self.as_built}


def _convolutions(path: str, name: str, layers: Sequence[int] = (0, 2, 4)) -> dict[str, str]:
    """Kernels of a stack whose layers (including activations) have the same numbers in both programs."""
    return {path.format(layer): name.format(layer) for layer in layers}


def _numbered(names: Sequence[str]) -> dict[str, str]:
    """Kernels ``conv_1``, ``conv_2``, ... and the corresponding parameters."""
    return {f"conv_{i}/mylayers/0/kernel": f"{name}.weight" for i, name in enumerate(names, start=1)}


_ANALYSIS_SYNTHESIS = _numbered([f"{part}.{layer}" for part in ("analysis", "synthesis") for layer in (0, 2, 4)])
_LOWRANK_STACKS = _numbered([f"lowrank.{part}.{layer}" for part in ("analysis", "synthesis") for layer in (0, 2, 4)])
_LCONV = {
    **_convolutions("lconv_1/mylayers/{}/kernel", "lowrank.analysis.{}.weight"),
    **_convolutions("lconv_2/mylayers/{}/kernel", "lowrank.synthesis.{}.weight"),
}

LAYOUTS = (
    CheckpointLayout(
        "SLR-Net",
        UNROLLINGNETS,
        "slrnet",
        cascade={
            **_ANALYSIS_SYNTHESIS,
            "lambda_step": "step",
            "lambda_step_2": "coupling",
            "soft_thr": "sparse_threshold",
            "thres_coef": "lowrank.level",
            "eta": "multiplier_rate",
        },
        entry="conv_1/mylayers/0/kernel",
        architecture={"variant": "code", "shrinkage": "relative_soft"},
    ),
    CheckpointLayout(
        "ISTA-Net+",
        UNROLLINGNETS,
        "istanet",
        cascade={**_ANALYSIS_SYNTHESIS, "mu": "step", "thres_coef": "sparse_threshold"},
        entry="conv_1/mylayers/0/kernel",
        architecture={"variant": "plus"},
    ),
    CheckpointLayout(
        "DC-CNN of ten cascades",
        UNROLLINGNETS,
        "dccnn",
        cascade=_numbered([f"refine.{layer}" for layer in range(0, 12, 2)]),
        entry="conv_1/mylayers/0/kernel",
        architecture={"variant": "d6c10"},
    ),
    CheckpointLayout(
        "DC-CNN D5C5, frame by frame",
        DEEP_MRI,
        "dccnn",
        cascade={
            f"arr_{2 * number + is_bias}": f"refine.{2 * number}.{'bias' if is_bias else 'weight'}"
            for number in range(5)
            for is_bias in (False, True)
        },
        entry="arr_0",
        n_dims=4,
        architecture={"n_dimensions": 2},
    ),
    CheckpointLayout(
        "DC-CNN D5C5",
        DEEP_MRI,
        "dccnn",
        cascade={f"{n}.{kind}": f"refine.{n}.{kind}" for n in range(0, 10, 2) for kind in ("weight", "bias")},
        entry="0.weight",
    ),
    CheckpointLayout(
        "CRNN-MRI",
        DEEP_MRI,
        "crnn",
        cascade={
            f"{path}.{kind}": f"cascade.{name}.{kind}"
            for path, name in {
                "bcrnn.CRNN_model.i2h": "in_time.from_input",
                "bcrnn.CRNN_model.ih2ih": "in_time.from_iteration",
                "bcrnn.CRNN_model.h2h": "in_time.from_neighbour",
                "conv1_x": "layers.0.from_input",
                "conv1_h": "layers.0.from_iteration",
                "conv2_x": "layers.1.from_input",
                "conv2_h": "layers.1.from_iteration",
                "conv3_x": "layers.2.from_input",
                "conv3_h": "layers.2.from_iteration",
                "conv4_x": "to_image",
            }.items()
            for kind in ("weight", "bias")
        },
        entry="bcrnn.CRNN_model.i2h.weight",
        n_dims=4,
    ),
    CheckpointLayout(
        "S-Net",
        LSNET,
        "istanet",
        cascade={**_convolutions("sconv/mylayers/{}/kernel", "sparse.{}.weight"), "gamma": "step"},
        entry="sconv/mylayers/0/kernel",
        architecture={"variant": "snet"},
        as_built=("step",),
    ),
    CheckpointLayout(
        "L+S-Net",
        UNROLLINGNETS,
        "lsnet",
        cascade={
            **_convolutions("sconv/mylayers/{}/kernel", "sparse.{}.weight"),
            "thres_coef": "lowrank.level",
            "gamma": "step",
        },
        entry="sconv/mylayers/0/kernel",
        n_in=4,
        as_built=("step",),
    ),
    CheckpointLayout(
        "L+S-Net that keeps the first singular value",
        LSNET,
        "lsnet",
        cascade={**_convolutions("sconv/mylayers/{}/kernel", "sparse.{}.weight"), "gamma": "step"},
        entry="sconv/mylayers/0/kernel",
        n_in=4,
        architecture={"shrinkage": "topk_hard", "rank": 1},
        as_built=("step", "lowrank.level"),
    ),
    CheckpointLayout(
        "T2LR-Net by ADMM",
        T2LRNET,
        "t2lrnet",
        cascade={
            **_LOWRANK_STACKS,
            "thres_coef": "lowrank.lowrank.level",
            "mu": "step",
            "eta": "multiplier_rate",
        },
        entry="conv_1/mylayers/0/kernel",
        architecture={"variant": "admm"},
    ),
    CheckpointLayout(
        "T2LR-Net by gradient steps",
        UNROLLINGNETS,
        "t2lrnet",
        cascade={**_LCONV, "thres_lr": "lowrank.lowrank.level", "mu": "step"},
        entry="lconv_1/mylayers/0/kernel",
        architecture={"variant": "gradient"},
    ),
    CheckpointLayout(
        "JotlasNet",
        JOTLASNET,
        "jotlasnet",
        cascade={
            **_LCONV,
            **_convolutions("sconv_1/mylayers/{}/kernel", "sparse.analysis.{}.weight"),
            **_convolutions("sconv_2/mylayers/{}/kernel", "sparse.synthesis.{}.weight"),
            "ST/att/layer_with_weights-0/kernel": "sparse.attention.squeeze.weight",
            "ST/att/layer_with_weights-0/bias": "sparse.attention.squeeze.bias",
            "ST/att/layer_with_weights-1/kernel": "sparse.attention.excite.weight",
            "ST/att/layer_with_weights-1/bias": "sparse.attention.excite.bias",
            "thres_lr": "lowrank.lowrank.level",
            "mu": "step",
            "t": "momentum",
            "w": "w",
        },
        entry="lconv_1/mylayers/0/kernel",
    ),
)
