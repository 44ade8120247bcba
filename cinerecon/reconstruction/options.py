"""Settings of a reconstruction, as options of the command and as arguments of a request."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.options import SEED, ArrayOptions, DeviceOptions, Flag, PartialFourier


class ReconSettings(DeviceOptions, ArrayOptions):
    """Settings that all reconstructions of a command share."""

    slices: Annotated[tuple[int, ...], Flag(("--slice",))] = Field(
        default=(), description="index of a slice, counted from 0; may be repeated; all slices if not given"
    )
    frames: str = Field(
        default="",
        description="range of frames, first:last (the last is not included), or the index of one frame; with --gating"
        " retro the number of frames of the cine",
    )
    gating: Annotated[str | None, Flag(default_text="auto")] = Field(
        default=None,
        description="frames of a raw scan: counter, retro (by the time since the R wave), none (real time) or auto",
    )
    csm: Annotated[str | None, Flag(default_text="that of the model, or smooth")] = Field(
        default=None, description="method for the coil maps: smooth, espirit or walsh"
    )
    compress_coils: Annotated[str | None, Flag(default_text="that of the model, or none")] = Field(
        default=None,
        description="number of virtual coils to compress to, or auto: as few as keep 99 % of the energy of the signal",
    )
    memory: str | None = Field(
        default=None,
        description="memory limit, e.g. 4GB; how it is kept is reported before the start; coils are compressed only if"
        " nothing else is sufficient",
    )
    noise: Path | None = Field(default=None, description="separate noise scan, ISMRMRD or Siemens raw")
    dataset: str | None = Field(default=None, description="group to read if an ISMRMRD file contains several")
    measurement: int | None = Field(
        default=None, description="measurement of a Siemens raw file to read, counted from 1; the last one if not given"
    )
    undersample: str | None = Field(
        default=None,
        description="undersample a full scan retrospectively: a pattern, e.g. gaussian:8,acs=4, or a mask file",
    )
    partial_fourier: PartialFourier = Field(
        default="auto",
        description="fill in the side of k-space that was not measured (partial Fourier, asymmetric echo): pocs,"
        " homodyne, none, or auto, which is pocs if a test with measured lines supports it",
    )
    set_index: int | None = Field(
        default=None,
        ge=0,
        description="number of the set to reconstruct, if a scan has several; without it, two sets are phase contrast",
    )
    venc: float | None = Field(
        default=None, gt=0, description="velocity range of a phase-contrast scan whose header has none [cm/s]"
    )
    weights: Path | None = Field(default=None, description="weights to use instead of those of the model")
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="setting of the method, key=value, or of the preprocessing, preprocessing.key=value"
    )
    snr: bool = Field(
        default=False,
        description="map the noise; the map and the image in SNR units are separate files, .noise and .snr",
    )
    n_replicas: Annotated[int, Flag(("--replicas",), needs=("snr",))] = Field(
        default=16, ge=2, description="pseudo-replicas for the noise map of methods whose noise has no formula"
    )
    verdict: Annotated[bool, Flag(("--verdict/--no-verdict",))] = Field(
        default=True,
        description="estimate the error of the image without a reference, and mark it: as expected, doubtful or do not"
        " use",
    )
    uncertainty: bool = Field(
        default=False,
        description="map how much the image changes if variants of the data are reconstructed; a separate file,"
        " .uncertainty",
    )
    n_variants: Annotated[int, Flag(("--variants",), needs=("uncertainty",))] = Field(
        default=8,
        ge=2,
        description="variants of the data for the map of uncertainty; each takes as long as one reconstruction",
    )
    seed: Annotated[int, Flag(needs=("undersample", "snr", "uncertainty"))] = Field(
        default=SEED, description="seed of the sampling pattern, the pseudo-replicas and the variants"
    )
    force: bool = Field(default=False, description="overwrite existing files, except those that are read")
    resume: bool = Field(
        default=False,
        description="continue an interrupted run, or write missing images; finished slices and scans are kept",
    )
    strict: bool = Field(default=False, description="treat warnings as errors: no images are written, exit code 2")
    verbose: Annotated[bool, Flag(("--verbose", "-v"))] = Field(
        default=False, description="report the convergence of iterative methods: cost, residual, change"
    )
