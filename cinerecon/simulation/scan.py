"""Simulate the measurement of a phantom, or of a magnitude cine with a simulated phase, by coils with noise."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import is_same_file, refuse_existing, would_overwrite
from cinerecon.io.ismrmrd.hdf5_scan import STREAM_ENDINGS, require_scan_name
from cinerecon.io.ismrmrd.raw import SIEMENS_NOISE_BANDWIDTH
from cinerecon.io.ismrmrd.write import (
    DWELL_US,
    NOISE_DWELL_US,
    ReferenceArray,
    SimulatedScan,
    SliceReadouts,
    write_simulated_scan,
)
from cinerecon.io.ismrmrd.write_header import REPETITION_MS, Protocol
from cinerecon.io.magnitude import MagnitudeImages, open_one_magnitude
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.io.raw_file import read_raw_scan, write_raw_scan
from cinerecon.physics.fourier import fft2c, phasor
from cinerecon.physics.noise import white_noise
from cinerecon.physics.sampling import scan_acceleration
from cinerecon.provenance import hashed_name
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.heartbeats import Beat, Rhythm, draw_ecg
from cinerecon.simulation.schedule import (
    Schedule,
    sample_lines,
    schedule_frames,
    schedule_real_time,
    schedule_segments,
)
from cinerecon.simulation.slices import SimulatedSlice, complete_settings, draw_slices, n_omitted

__all__ = ["SimulateConfig", "simulate_cine", "simulate_scan"]

ComplexArray = NDArray[np.complex64]

PHANTOM_TESLA = 1.5
"""Field strength of a phantom scan [T]."""
_NOISE_READOUTS, _NOISE_SAMPLES = 16, 256
"""Number of noise readouts at the start of a scan, and of the samples of each."""
N_PACINGS = 2
"""Number of times that the beats are drawn; the second time, they are scaled to the mean length of regular beats."""
_REFERENCE_STEP = 2.0**-14
"""Step to which reference images are rounded, relative to the maximum: -84 dB; it halves their size on disk."""


def simulate_cine(config: SimulateConfig | None = None, *, source: AnyPath | None = None) -> list[CineData]:
    """Simulate a scan in memory: one `CineData` per slice, with white noise, the coil maps and the reference.

    Parameters
    ----------
    config
        Settings of the scan.
    source
        A measured magnitude cine in place of the phantom: a NumPy archive, a NIfTI file or a folder of DICOM images.

    Raises
    ------
    ConfigError
        If the sampling pattern is unknown or does not sample whole readouts, or the cine lacks slices.
    DataError
        If the measured cine is smaller than requested, or has no times or no position.
    """
    images = None if source is None else open_one_magnitude(as_path(source, "source"))
    config = complete_settings(config, images)
    if config.venc is not None:
        raise ConfigError("a phase-contrast scan has two sets", where="venc", hint="write it with cinerecon simulate")
    if config.is_timed:
        what = "a scan over heartbeats of unequal length is a list of readouts, not a cine in memory"
        raise ConfigError(what, where="segments, beats", hint="write it with cinerecon simulate, and read it by gating")
    return [_measure(part, config) for part in draw_slices(config, images)]


def _measure(part: SimulatedSlice, config: SimulateConfig) -> CineData:
    """Undersampled k-space of a slice with white noise."""
    rng = np.random.default_rng([config.seed, 3, part.meta.slice])
    kspace = fft2c(part.reference[:, None] * part.csm)
    kspace = kspace + config.noise * white_noise(rng, tuple(kspace.shape), parts_axis=0)
    meta = replace(part.meta, reference_is="truth")
    mask = part.mask
    if config.partial_echo < 1:
        mask = mask.expand(*mask.shape[:-1], config.kx).clone()
        mask[..., : n_omitted(config.kx, config.partial_echo)] = False
    return CineData(kspace * mask, mask, part.csm, part.reference, meta)


def simulate_scan(
    path: AnyPath, config: SimulateConfig | None = None, *, source: AnyPath | None = None, force: bool = False
) -> tuple[str, ...]:
    """Simulate a scan and write it to a raw ISMRMRD file together with its reference.

    The noise is correlated between the coils, and the file starts with noise readouts. The group ``truth`` contains the
    reference: ``reference`` (slices, frames, y, x), the images without noise, and ``csm`` (slices, coils, y, x), the
    coil maps. Streams do not contain this group.

    Parameters
    ----------
    path
        File to write, see `write_raw_scan`.
    config
        Settings of the scan.
    source
        A measured magnitude cine in place of the phantom: a NumPy archive, a NIfTI file or a folder of DICOM images.
    force
        Overwrite an existing file.

    Returns
    -------
    tuple[str, ...]
        Warnings about the measured cine, e.g. about omitted frames.

    Raises
    ------
    FileError
        If the file exists and is not to be overwritten, is the source, has another ending, or cannot be read or
        written.
    ConfigError
        If the sampling pattern is unknown or does not sample whole readouts, or the cine lacks slices.
    DataError
        If the measured cine is smaller than requested, or has no times or no position.
    """
    path, source = as_path(path), None if source is None else as_path(source, "source")
    if source is not None and is_same_file(path, source):
        raise would_overwrite(source, path)
    require_scan_name(path)
    refuse_existing(path, force=force)
    if path.suffix.lower() in STREAM_ENDINGS:
        return _simulate_stream(path, config, source, force=force)
    images = None if source is None else open_one_magnitude(source)
    config = complete_settings(config, images)
    parts = list(draw_slices(config, images))
    rng = np.random.default_rng([config.seed, 2])
    mixing = config.noise * _noise_mixing(rng, config.n_coils)
    protocol = _protocol(config, parts[0], images)
    noise_scale = math.sqrt(DWELL_US / NOISE_DWELL_US * SIEMENS_NOISE_BANDWIDTH)
    noise = _correlated_noise(rng, noise_scale * mixing, _NOISE_READOUTS, _NOISE_SAMPLES)
    references = {
        "reference": _reference_array([p.reference for p in parts], "slices, frames, y, x", "image without noise"),
        "csm": _reference_array(
            [p.csm for p in parts], "slices, coils, y, x", "coil sensitivity maps, sum |csm|^2 = 1"
        ),
    }
    if config.venc is not None:
        references["velocity"] = _reference_velocity(parts)
    n_sets = 1 if config.venc is None else 2
    schedules, ecg = _schedules(parts, config, n_sets * REPETITION_MS)
    if config.is_timed:
        protocol = replace(protocol, n_frames=1 + max(int(plan.counter.max()) for plan in schedules))
        references |= _reference_phases(schedules)
    readouts = _readouts(parts, schedules, mixing, config, rng)
    if config.venc is not None:
        encoded = _readouts([_encode_velocity(part, config.venc) for part in parts], schedules, mixing, config, rng)
        sets = zip(readouts, encoded, strict=True)
        readouts = (first.interleaved(second, REPETITION_MS) for first, second in sets)
    write_simulated_scan(path, SimulatedScan(protocol, noise, readouts, references, ecg), force=force)
    return tuple(dict.fromkeys(text for part in parts for text in part.meta.warnings))


def _simulate_stream(path: Path, config: SimulateConfig | None, source: Path | None, *, force: bool) -> tuple[str, ...]:
    """Simulate a scan in a temporary file, and write its readouts as a stream."""
    with TemporaryDirectory() as folder:
        stored = Path(folder) / "scan.h5"
        warnings = simulate_scan(stored, config, source=source)
        with h5py.File(stored) as file:
            xml = file["dataset/xml"][0].decode()  # with the pseudonym of the subject, which readers omit
        write_raw_scan(replace(read_raw_scan(stored), xml=xml), path, force=force)
    return (*warnings, "streams contain no reference images: write .h5 with -o scan.h5 to store them")


def _protocol(config: SimulateConfig, part: SimulatedSlice, images: MagnitudeImages | None) -> Protocol:
    """The header of the scan; ``part`` is any of its slices."""
    anatomy = "beating-heart phantom" if images is None else f"measured magnitude images, {part.meta.source}"
    notes = {
        "anatomy": anatomy,
        "simulated": "phase, coil sensitivity maps, noise" + (", anatomy, motion, contrast" if images is None else ""),
        "sampling": config.undersample or "all lines",
        "seed": str(config.seed),
        "noise": f"{config.noise:g} of the image's maximum",
    }
    if config.is_timed:
        notes["rhythm"] = f"R-R variation {config.rr_variation:g}, ectopic beats {config.ectopic:g}"
    return Protocol(
        matrix=config.matrix,
        oversampling=config.oversampling,
        pixel_size_mm=part.meta.pixel_size_mm,
        slice_thickness_mm=part.meta.slice_thickness_mm,
        n_coils=config.n_coils,
        n_frames=config.n_frames,
        n_slices=config.n_slices,
        acceleration=scan_acceleration(part.mask)[1],
        name="simulated cine, phantom" if images is None else "simulated phase and coils, measured magnitude",
        field_strength_tesla=PHANTOM_TESLA if images is None else images.field_strength_tesla,
        subject=hashed_name(config.subject) if config.subject else "" if images is None else images.subject,
        notes=notes,
        venc_cm_s=config.venc,
    )


def _schedules(
    parts: list[SimulatedSlice], config: SimulateConfig, repetition_ms: float
) -> tuple[list[Schedule], NDArray[np.uint32] | None]:
    """The schedules of all slices, and the ECG of the whole scan; None if there is no ECG."""
    if not config.is_timed:
        schedules, start_ms = [], 0.0
        for part in parts:
            schedules.append(schedule_frames(part.mask, part.meta.frame_times_ms, repetition_ms, start_ms))
            beat_ms = part.meta.frame_times_ms[-1] + _frame_ms(part.meta) + repetition_ms
            n_beats = round((schedules[-1].time_ms - schedules[-1].since_trigger_ms - start_ms).max() / beat_ms)
            start_ms += (n_beats + 2) * beat_ms
        return schedules, None
    mean_ms = parts[0].meta.frame_times_ms[-1] + _frame_ms(parts[0].meta)
    rhythm = Rhythm.draw(np.random.default_rng([config.seed, 7]), mean_ms, config.rr_variation, config.ectopic)
    for _ in range(N_PACINGS):
        schedules, beats, pauses = _schedule_beats(parts, config, rhythm, repetition_ms)
        regular = [beat.rr_ms for beat in beats if beat.is_regular and beat not in pauses]
        if not regular or config.rr_variation == 0:
            break
        rhythm = replace(rhythm, pace=rhythm.pace * mean_ms / float(np.mean(regular)))
    ecg_rng = np.random.default_rng([config.seed, 8])
    return schedules, draw_ecg(ecg_rng, beats, rhythm.systole_factor) if config.ecg else None


def _schedule_beats(
    parts: list[SimulatedSlice], config: SimulateConfig, rhythm: Rhythm, repetition_ms: float
) -> tuple[list[Schedule], list[Beat], list[Beat]]:
    """The schedules of all slices over the beats of a rhythm, these beats, and the beats skipped after each slice."""
    pauses: list[Beat] = []
    used: list[Beat] = []
    beats = _recorded(rhythm.beats(np.random.default_rng([config.seed, 9])), used)
    schedules = []
    for part in parts:
        if config.beats is not None:
            schedules.append(schedule_real_time(part.mask, config.beats, rhythm, beats, repetition_ms))
        else:
            assert config.segments is not None
            schedules.append(schedule_segments(part.mask, config.segments, rhythm, beats, repetition_ms))
        pauses.append(next(beats))  # the subject breathes between breath-holds
    return schedules, used, pauses


def _frame_ms(meta: CineMeta) -> float:
    """Time between adjacent frames [ms]."""
    return (meta.frame_times_ms[-1] - meta.frame_times_ms[0]) / max(len(meta.frame_times_ms) - 1, 1)


def _recorded(beats: Iterator[Beat], used: list[Beat]) -> Iterator[Beat]:
    """Iterate over the beats, and append each of them to a list."""
    for beat in beats:
        used.append(beat)
        yield beat


def _readouts(
    parts: list[SimulatedSlice],
    schedules: list[Schedule],
    mixing: Tensor,
    config: SimulateConfig,
    rng: np.random.Generator,
) -> Iterator[SliceReadouts]:
    """Measure every slice at the times given by its schedule."""
    for part, plan in zip(parts, schedules, strict=True):
        kspace = fft2c(_oversampled(part.reference[:, None] * part.csm, config.oversampling))
        samples = sample_lines(kspace, plan).numpy() + _correlated_noise(rng, mixing, len(plan.line), kspace.shape[-1])
        samples = samples[..., n_omitted(kspace.shape[-1], config.partial_echo) :]
        assert part.meta.geometry is not None
        yield SliceReadouts(
            samples, plan.line, plan.counter, plan.segment, plan.time_ms, plan.since_trigger_ms, part.meta.geometry
        )


def _encode_velocity(part: SimulatedSlice, venc: float) -> SimulatedSlice:
    """The slice with the velocity encoded in its phase."""
    assert part.velocity is not None
    return replace(part, reference=part.reference * phasor(part.velocity * (math.pi / venc)))


def _reference_velocity(parts: list[SimulatedSlice]) -> ReferenceArray:
    """The reference velocity of all slices."""
    fields = [part.velocity for part in parts if part.velocity is not None]
    return ReferenceArray(torch.stack(fields).numpy().astype(np.float32), "slices, frames, y, x", "velocity [cm/s]")


def _oversampled(image: Tensor, factor: int) -> Tensor:
    """The image at the centre of a field of view that is larger along the readout direction."""
    kx = image.shape[-1]
    left = factor * kx // 2 - kx // 2
    return torch.nn.functional.pad(image, (left, (factor - 1) * kx - left))


def _noise_mixing(rng: np.random.Generator, n_coils: int) -> Tensor:
    """Matrix ``(coils, coils)`` that correlates the noise of the coils; the mean variance remains 1."""
    mixing = torch.eye(n_coils) + 0.2 * white_noise(rng, (n_coils, n_coils), parts_axis=0) / math.sqrt(n_coils)
    mixing = mixing * torch.from_numpy(rng.uniform(0.75, 1.3, (n_coils, 1)).astype(np.float32))
    scaled: Tensor = mixing * math.sqrt(n_coils) / torch.linalg.matrix_norm(mixing)
    return scaled


def _correlated_noise(rng: np.random.Generator, mixing: Tensor, n_readouts: int, n_samples: int) -> ComplexArray:
    """Correlated noise of the coils, ``(readouts, coils, samples)``."""
    return (mixing @ white_noise(rng, (n_readouts, len(mixing), n_samples), parts_axis=0)).numpy()


def _reference_phases(schedules: list[Schedule]) -> dict[str, ReferenceArray]:
    """The cardiac phase of every image readout and the kind of its beat, in the order of the file."""
    phase, is_regular = (
        np.concatenate([getattr(plan, name) for plan in schedules]).astype(np.float32)
        for name in ("phase", "is_regular")
    )
    return {
        "cardiac_phase": ReferenceArray(
            phase, "image readouts", "true cardiac phase, 0 to 1, at the time of each readout"
        ),
        "is_regular": ReferenceArray(
            is_regular, "image readouts", "1 in regular beats, 0 during an ectopic contraction"
        ),
    }


def _reference_array(parts: list[Tensor], axes: str, meaning: str) -> ReferenceArray:
    """Arrays of all slices as one, rounded to `_REFERENCE_STEP`."""
    values = torch.view_as_real(torch.stack(parts))
    rounded = torch.view_as_complex((values / _REFERENCE_STEP).round() * _REFERENCE_STEP)
    return ReferenceArray(rounded.numpy(), axes, f"{meaning}; simulated, rounded to 2^-14")
