"""`cinerecon.reconstruct` and `cinerecon.export`, which produce the images of the command `recon` from Python."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.checks.array_table import ARRAY_CHECKS, line_warnings
from cinerecon.acquisition.checks.headers import describe_incomplete_frames
from cinerecon.acquisition.checks.measured import require_own_pattern
from cinerecon.acquisition.checks.stored_kspace import StoredSlice, require_magnitude
from cinerecon.acquisition.checks.table import run_checks
from cinerecon.acquisition.coil_maps import GriddedSlice, finish_slice, scale_maps
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.zero_filling import crop_zero_filling
from cinerecon.axes import KSPACE, MASK
from cinerecon.cine import CineData, as_tensor, require_finite
from cinerecon.cine_meta import CineMeta
from cinerecon.config import as_settings
from cinerecon.errors import CineReconWarning, ConfigError, DataError, ShapeError
from cinerecon.image import CineImage, collect_warnings
from cinerecon.io.export import DICOM, FOLDER, Target
from cinerecon.io.export import export as export_images
from cinerecon.io.paths import as_path
from cinerecon.machine import pick_device
from cinerecon.methods.base import Reconstructor
from cinerecon.options import DEVICE, METHOD, PREPROCESSING, ArrayOptions, RawScanOptions, split_settings
from cinerecon.provenance import Patient
from cinerecon.reconstruction.identity import provenance_of, with_provenance
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import iterate_slices, load_request_method
from cinerecon.reconstruction.slices import ReconstructedSlice, reconstruct_slice, with_quality, without_own_reference
from cinerecon.reconstruction.uncertainty import with_uncertainty
from cinerecon.words import counted

Array = NDArray[Any]
SCAN_OPTIONS = (
    *("slices", "frames", "undersample", "set_index", "venc"),
    *RawScanOptions.model_fields,
    *ArrayOptions.model_fields,
)
"""Options that apply only to a scan in a file."""
SLICE_OPTIONS = ("snr", "n_replicas", "uncertainty", "n_variants", "seed", "partial_fourier", "verdict")
"""Options that apply only to a scan in a file or to a slice."""


@overload
def reconstruct(scan: str | os.PathLike[str], **options: Any) -> list[ReconstructedSlice]: ...
@overload
def reconstruct(scan: CineData, **options: Any) -> ReconstructedSlice: ...
@overload
def reconstruct(scan: Tensor, mask: Array | Tensor | None = None, **options: Any) -> Tensor: ...
@overload
def reconstruct(scan: Array, mask: Array | Tensor | None = None, **options: Any) -> Array: ...
def reconstruct(
    scan: str | os.PathLike[str] | CineData | Array | Tensor,
    mask: Array | Tensor | None = None,
    *,
    method: str | Reconstructor = METHOD,
    csm: str | Array | Tensor | None = None,
    device: str | torch.device = DEVICE,
    weights: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    **options: Any,
) -> list[ReconstructedSlice] | ReconstructedSlice | Tensor | Array:
    """Reconstruct a scan or an array of k-space, with the same images as ``cinerecon recon`` writes.

    Warnings, e.g. about a scan that differs from the training data of a network, are issued as `CineReconWarning`.

    Parameters
    ----------
    scan
        Path of a scan; a slice as read by `cinerecon.open_scan`; or complex k-space ``(frames, coils, ky, kx)`` as a
        NumPy or torch array, which is the centred orthonormal Fourier transform of the coil images.
    mask
        ``(frames, 1, ky, kx or 1)`` or ``(frames, ky, kx or 1)``, bool or 0 and 1, for an array; samples outside the
        mask are not used. If None, samples that are zero in all coils are treated as not measured.
    method
        Name of a method, a model file or folder, a class ``my_method.py:MyMethod``, or the result of `load_method`.
    csm
        Method for the estimation of coil maps, ``smooth``, ``espirit`` or ``walsh``; for an array also complex maps
        ``(coils, y, x)``. None uses the default of the method.
    device
        ``auto``, ``cpu`` or ``cuda``.
    weights
        Weights to use instead of those of the method.
    settings
        ``key=value`` texts, as for ``--set`` of the command.
    options
        For a path, those of the command: ``slices`` (indices), ``frames`` (``"first:last"``), ``noise``, ``dataset``,
        ``measurement``, ``undersample``, ``seed``, ``set_index``, ``venc`` [cm/s]. For a path or a `CineData`: ``snr``,
        ``n_replicas``, ``uncertainty``, ``n_variants``, ``verdict``, ``partial_fourier``. `CineImage` holds the maps.

    Returns
    -------
    list[ReconstructedSlice] | ReconstructedSlice | Tensor | Array
        For a path, the slices in order, with ``image`` ``(frames, y, x)`` complex64, ``meta`` and figures of the
        reconstruction. For a `CineData`, one such slice. For an array, the image alone, of the same type and device.

    Raises
    ------
    CineReconError
        If the scan, the arrays or the options are not compatible, or k-space contains NaN or infinite values.
    """
    path = Path(os.fspath(scan)) if isinstance(scan, str | os.PathLike) else None
    settings = (*as_settings(settings), *_former_settings(options))
    method = os.fspath(method) if isinstance(method, os.PathLike) else method
    _check_arguments(scan, mask, csm, options)
    _check_settings(scan, method, settings, weights)
    values = {
        "scan": path or Path("array"),
        "model": method if isinstance(method, str) else method.name or type(method).__name__.lower(),
        "device": pick_device(device),
        "csm": csm if isinstance(csm, str) else None,
        "weights": weights,
        "settings": settings,
    }
    request = ReconRequest.parse(values | options, where="reconstruct")
    slices = _reconstruct(scan, mask, csm, request, method)
    for text in collect_warnings([part.cine for part in slices]):
        warnings.warn(text, CineReconWarning, stacklevel=2)
    if path or isinstance(scan, CineData):
        return slices if path else slices[0]
    return torch.from_numpy(slices[0].image).to(scan.device) if isinstance(scan, Tensor) else slices[0].image


def export(
    slices: ReconstructedSlice | CineImage | Sequence[ReconstructedSlice | CineImage],
    path: str | os.PathLike[str],
    *,
    patient: Patient | None = None,
    force: bool = False,
) -> list[Path]:
    """Write reconstructed slices to a file or folder, as ``cinerecon recon -o`` does.

    Parameters
    ----------
    slices
        One slice or several slices in order, as returned by `reconstruct`.
    path
        A file, whose suffix selects the format: ``.h5``, ``.nii.gz``, ``.nii``, ``.npz``, ``.cfl``, ``.mrd``,
        ``.mrd2``, ``.gif``, ``.mp4``, ``.png`` or ``.dcm`` (Enhanced MR); or a folder for DICOM.
    patient
        Identity to write into DICOM files, see `cinerecon.io.export.make_patient`; None for anonymous images.
    force
        Whether to overwrite existing files.

    Returns
    -------
    list[Path]
        The written files, or the folder.

    Raises
    ------
    ConfigError
        If ``slices`` are not slices, no format has this suffix, or a patient is given for a format other than DICOM.
    DataError
        If an image, or one of its maps, contains NaN or infinite values.
    FileError
        If a file already exists or cannot be written.
    """
    parts = [slices] if isinstance(slices, ReconstructedSlice | CineImage) else list(slices)
    other = next((part for part in parts if not isinstance(part, ReconstructedSlice | CineImage)), None)
    if other is not None:
        what = (
            "slices must be the result of `cinerecon.reconstruct` for a scan, or a CineImage, found "
            f"{type(other).__name__}"
        )
        raise ConfigError(what, where="slices", hint="for an array: CineImage(image), from cinerecon.image")
    as_path(path)
    if not isinstance(patient, Patient | None):
        what = f"patient must be the result of `cinerecon.io.export.make_patient`, found {type(patient).__name__}"
        raise ConfigError(what, where="patient")
    if not parts:
        raise ConfigError("there are no slices to write", where=str(path))
    is_folder = isinstance(path, Path) and not path.suffix  # a path object does not keep a trailing slash
    target = Target(path, FOLDER) if isinstance(path, Path) and is_folder else Target.parse(os.fspath(path))
    if patient is not None and target.ending not in DICOM:
        raise ConfigError("a patient can be written only to DICOM", where=str(path), hint="a folder, e.g. 'dicom/'")
    target.check(force=force)
    images = [part.cine if isinstance(part, ReconstructedSlice) else part for part in parts]
    for image in images:
        for name in ("image", "velocity", "noise", "uncertainty", "reference"):
            values = getattr(image, name)
            if values is not None and not np.isfinite(values).all():
                what = f"the {name} holds values that are NaN or infinite"
                raise DataError(what, where=f"slice {image.meta.slice}")
    return list(export_images(images, target, overwrite=force, patient=patient))


def _reconstruct(
    scan: Any,
    mask: Array | Tensor | None,
    csm: str | Array | Tensor | None,
    request: ReconRequest,
    method: str | Reconstructor,
) -> list[ReconstructedSlice]:
    """The slices of a scan in a file, or the single slice of arrays."""
    is_file = isinstance(scan, str | os.PathLike)
    if is_file:
        request.check_sources()
    method = load_request_method(request) if isinstance(method, str) else method
    if is_file:
        return list(iterate_slices(request, method))
    if isinstance(scan, CineData):
        data = without_own_reference(scan)
        data = data if data.csm is None else replace(data, csm=scale_maps(data.csm))
    else:
        data = _data_of_arrays(scan, mask, csm, request.preprocessing(method))
    data = data.to(request.device)
    part = reconstruct_slice(data, method, request)
    if request.uncertainty:
        part = with_uncertainty(part, data, method, request)
    part = with_quality(part)
    return [with_provenance(part, provenance_of(data, method, request))]


def _former_settings(options: dict[str, Any]) -> list[str]:
    """Remove the former argument ``intake`` from the options, and return it as preprocessing settings."""
    if "intake" not in options:
        return []
    texts = [f"{PREPROCESSING}{text}" for text in options.pop("intake")]
    warnings.warn(f"intake=... is now settings={texts}", DeprecationWarning, stacklevel=3)
    return texts


def _check_arguments(scan: object, mask: object, csm: object, options: Mapping[str, object]) -> None:
    """Refuse arguments that do not apply to this kind of scan."""
    unknown = next((name for name in options if name not in (*SCAN_OPTIONS, *SLICE_OPTIONS)), None)
    if unknown is not None:
        raise TypeError(f"reconstruct() got an unexpected keyword argument '{unknown}'")
    is_file = isinstance(scan, str | os.PathLike)
    allowed = SLICE_OPTIONS if isinstance(scan, CineData) else ()
    wrong = next((name for name in options if not is_file and name not in allowed), None)
    if wrong is not None:
        kind = "a slice, as `cinerecon.open_scan` reads it, or to " if wrong in SLICE_OPTIONS else ""
        raise ConfigError(f"this option belongs to {kind}a scan in a file", where=wrong)
    if mask is not None and (is_file or isinstance(scan, CineData)):
        hint = "undersample='mask.npz' undersamples a scan in a file retrospectively" if is_file else ""
        hint = f"pass the name of a method as method='{mask}'" if isinstance(mask, str) else hint
        raise ConfigError("a scan has its own mask", where="mask", hint=hint)
    if not isinstance(csm, str | None) and (is_file or isinstance(scan, CineData)):
        raise ConfigError("coil maps can be given only for a k-space array", where="csm")
    if isinstance(csm, str) and isinstance(scan, CineData):
        raise ConfigError("a slice has its own coil maps", where="csm", hint="give its k-space and mask as arrays")


def _check_settings(scan: object, method: object, settings: Sequence[str], weights: object) -> None:
    """Refuse settings that would have no effect."""
    if not isinstance(method, str | Reconstructor):
        what = f"method must be a name, a path or the result of load_method, found {type(method).__name__}"
        hint = "for a network of your own: the folder with its file and its model.yaml, e.g. './mynet/'"
        raise ConfigError(what, where="method", hint=hint if isinstance(method, torch.nn.Module) else "")
    of_method, of_preprocessing = split_settings(settings)
    if not isinstance(method, str) and (of_method or weights is not None):
        name = "settings" if weights is None else "weights"
        raise ConfigError(
            "weights and settings of a loaded method cannot be changed", where=name, hint="load_method(...)"
        )
    if isinstance(scan, CineData) and of_preprocessing:
        hint = "pass these settings to open_scan, or give k-space and mask as arrays"
        raise ConfigError("a slice is already preprocessed", where=f"settings: {of_preprocessing[0]}", hint=hint)


def _data_of_arrays(
    scan: Array | Tensor, mask: Array | Tensor | None, csm: str | Array | Tensor | None, config: AcquisitionConfig
) -> CineData:
    """K-space, mask and maps as those of a scan: in single precision, zero outside the mask, and maps normalised."""
    kspace = as_tensor(scan).detach()
    if kspace.ndim != len(KSPACE):
        raise ShapeError(f"k-space has {kspace.ndim} axes, expected ({', '.join(KSPACE)})", hint="one slice at a time")
    if not kspace.is_complex():
        raise ShapeError(f"k-space is {kspace.dtype}, expected complex numbers")
    kspace = kspace.to(torch.complex64)
    require_finite(kspace)
    measured = (kspace != 0).any(1, keepdim=True)  # (frames, 1, ky, kx)
    texts = []
    sampled = measured if mask is None else _as_mask(mask, kspace)
    require_own_pattern(sampled.expand_as(measured)[:, 0], measured[:, 0], "mask")
    empty = sampled & ~measured.any(-1, keepdim=True)
    if empty.any():
        n_lines = int(empty.any(-1).sum())
        texts.append(f"the mask includes {counted(n_lines, 'line')} without any signal, treated as not measured")
        sampled = sampled & ~empty
    whole = sampled.any(-1, keepdim=True)
    sampled = whole if bool((sampled == whole).all()) else sampled
    kspace = kspace * sampled
    if not kspace.any():
        raise DataError("there is no signal at the samples of the mask")
    require_magnitude(kspace, "kspace")
    stored = StoredSlice(kspace.cpu(), sampled.cpu(), "kspace", "the axes of an array are (frames, coils, ky, kx)")
    texts += run_checks(ARRAY_CHECKS, stored)
    matrix = kspace.shape[-2], kspace.shape[-1]
    kspace, sampled, zero_filling = crop_zero_filling(kspace, sampled)
    stored = stored._replace(kspace=kspace.cpu(), mask=sampled.cpu())
    texts += [*zero_filling, *line_warnings(stored, kspace.shape[-1])]
    lines = stored.mask[:, 0].any(-1).numpy()
    texts += filter(None, [describe_incomplete_frames(lines, lines.shape[1] // 2, has_option=False)])
    meta = CineMeta(warnings=tuple(texts))
    maps = None if isinstance(csm, str | None) else scale_maps(_as_maps(csm, kspace, matrix))
    part = GriddedSlice(kspace, sampled, interpolated_matrix=matrix if zero_filling else None)
    return finish_slice(part, meta, config, csm=maps).data


def _as_maps(csm: Array | Tensor, kspace: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Coil maps of the stored matrix as a tensor ``(coils, y, x)`` complex64."""
    maps = as_tensor(csm).detach().to(kspace)
    coils, (y, x) = kspace.shape[1], matrix
    if maps.shape != (coils, y, x):
        sizes = " x ".join(map(str, maps.shape)) or "a single number"
        raise ShapeError(f"the coil maps are {sizes}, expected ({coils} coils, {y} y, {x} x)", where="csm")
    if not bool(torch.isfinite(torch.view_as_real(maps)).all()) or not bool(maps.any()):
        raise DataError("the coil maps are not finite, or all zero", where="csm")
    return maps


def _as_mask(mask: Array | Tensor, kspace: Tensor) -> Tensor:
    """Sampling mask as a tensor ``(frames, 1, ky, kx or 1)`` bool."""
    values = as_tensor(mask).to(kspace.device)
    if values.ndim == len(MASK) - 1:
        values = values.unsqueeze(1)
    frames, _, ky, kx = kspace.shape
    if values.ndim != len(MASK) or values.shape[:-1] != (frames, 1, ky) or values.shape[-1] not in (1, kx):
        sizes = " x ".join(map(str, as_tensor(mask).shape))
        raise ShapeError(
            f"the mask is {sizes or 'a single number'}, expected ({frames} frames, 1, {ky} ky, {kx} or 1 kx)"
        )
    if values.dtype != torch.bool and bool(((values != 0) & (values != 1)).any()):
        raise DataError("the mask contains values other than 0 and 1")
    return values != 0
