"""Settings of a reconstruction, as options of the command and as arguments of a request."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cinerecon.options import SEED, ArrayOptions, DeviceOptions, Flag, MemoryLimit, PartialFourier, RawScanOptions


class ReconSettings(DeviceOptions, ArrayOptions, RawScanOptions, MemoryLimit):
    """Settings that all reconstructions of a command share."""

    slices: Annotated[tuple[int, ...], Flag(("--slice",))] = Field(
        default=(), description="index of a slice, counted from 0; may be repeated; by default all slices"
    )
    frames: str = Field(
        default="",
        description="range of frames, first:last (the last is not included), or the index of one frame; with --gating "
        "retro, the number of frames of the cine",
    )
    csm: Annotated[str | None, Flag(default_text="that of the model, or smooth")] = Field(
        default=None, description="method for the coil maps: smooth, espirit or walsh"
    )
    compress_coils: Annotated[str | None, Flag(default_text="that of the model, or none")] = Field(
        default=None,
        description="number of virtual coils to compress to, or auto: the smallest number that keeps 99 % of the "
        "signal energy",
    )
    memory: str | None = Field(
        default=None,
        description="memory limit, e.g. 4GB; the measures taken are reported before the start; coils are compressed "
        "only if nothing else is sufficient",
    )
    undersample: str | None = Field(
        default=None,
        description="undersample a fully sampled scan retrospectively: a pattern, e.g. gaussian:8,acs=4, or a mask "
        "file",
    )
    partial_fourier: PartialFourier = Field(
        default="auto",
        description="fill in the side of k-space that was not measured (partial Fourier, asymmetric echo): pocs, "
        "homodyne, none, or auto: pocs with weights by its expected error",
    )
    set_index: int | None = Field(
        default=None,
        ge=0,
        description="index of the set to reconstruct if a scan has several; by default, two sets are reconstructed as "
        "phase contrast",
    )
    venc: float | None = Field(
        default=None,
        gt=0,
        description="velocity encoding (VENC) of a phase-contrast scan, if the header contains none [cm/s]",
    )
    weights: Path | None = Field(default=None, description="weights to use instead of the weights of the model")
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="method setting, key=value, or preprocessing setting, preprocessing.key=value"
    )
    snr: bool = Field(
        default=False,
        description="map the noise; the noise map and the image in SNR units are written to separate files, .noise "
        "and .snr",
    )
    n_replicas: Annotated[int, Flag(("--replicas",), needs=("snr",))] = Field(
        default=16,
        ge=2,
        description="number of pseudo-replicas for the noise map of methods without an analytic noise map",
    )
    verdict: Annotated[bool, Flag(("--verdict/--no-verdict",))] = Field(
        default=True,
        description="estimate the error of the image without a reference, and mark it: as expected, doubtful or do not"
        " use",
    )
    uncertainty: bool = Field(
        default=False,
        description="map how much the image changes between reconstructions of variants of the data; written to a "
        "separate file, .uncertainty",
    )
    n_variants: Annotated[int, Flag(("--variants",), needs=("uncertainty",))] = Field(
        default=8,
        ge=2,
        description="number of variants of the data for the uncertainty map; each takes as long as one reconstruction",
    )
    seed: Annotated[int, Flag(needs=("undersample", "snr", "uncertainty"))] = Field(
        default=SEED, description="seed of the sampling pattern, the pseudo-replicas and the variants"
    )
    force: bool = Field(default=False, description="overwrite existing files, except input files")
    resume: bool = Field(
        default=False,
        description="resume an interrupted run, or write missing images; finished slices and scans are kept",
    )
    strict: bool = Field(default=False, description="treat warnings as errors: no images are written, exit code 2")
    verbose: Annotated[bool, Flag(("--verbose", "-v"))] = Field(
        default=False, description="report the convergence of iterative methods: cost, residual, change"
    )
