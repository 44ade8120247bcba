"""Conversion of twix readout headers to ISMRMRD acquisition headers: flags, counters, times, position and directions.

All fields are set as by the converter of the ISMRMRD project, siemens_to_ismrmrd
(https://github.com/ismrmrd/siemens_to_ismrmrd), so that reading a file directly is equivalent to converting it first.

The directions of a slice in patient coordinates (LPS) are computed from the quaternion of a readout or from the
protocol. The columns of the rotation matrix of the quaternion (w, x, y, z) are the directions of phase encoding,
readout and slice; their sagittal, coronal and transversal components are the LPS components. Readout and phase encoding
are defined for the forward Fourier transform, as in converted data.
"""

import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.raw import Heads
from cinerecon.io.twix.measurements import Layout
from cinerecon.io.twix.protocol import Protocol
from cinerecon.io.twix.readouts import Mdh, has_flag

Directions = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Read, phase and slice direction."""
FLAGS = {
    "FIRSTSCANINSLICE": (7,),
    "LASTSCANINSLICE": (8,),
    "LASTSCANINMEAS": (14, 25),
    "NOISEADJSCAN": (19,),
    "PATREFSCAN": (20,),
    "PATREFANDIMASCAN": (21,),
    "REFLECT": (22,),
    "PACE": (23,),
    "RTFEEDBACK": (23, 28),
    "PHASCOR": (24,),
    "HPFEEDBACK": (26,),
    "RETRO_ENDOFMEAS": (25,),
    "RETRO_DUMMYSCAN": (27,),
    "CT_NORMALIZE": (29,),
    "REFPHASESTABSCAN": (30,),
    "PHASESTABSCAN": (31,),
}
"""Twix flags, and the numbers of the corresponding ISMRMRD flags."""
NOT_IMAGE = tuple(name for name in FLAGS if not name.startswith(("FIRST", "LAST", "REFLECT", "PATREFAND", "RETRO_END")))
"""Twix flags of readouts that are not image data."""
NO_READOUT = ("B1_CONTROLLOOP", "MDH_VOP", "SLICE_ACCEL_REFSCAN", "SLICE_ACCEL_PHASCOR", "noname60")
"""Twix flags of readouts that are omitted: they are not image data, and ISMRMRD has no flag for them."""
COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}
"""ISMRMRD counters, and the corresponding twix counters."""
ADJUSTMENT_DWELL_US = {"AdjCoilSens": 5.0, "AdjQuietCoilSens": 4.0}
"""Dwell time of the noise readouts in adjustment measurements, by protocol name [us]."""


def directions_of_quaternions(quaternions: NDArray[np.floating]) -> Directions:
    """Convert quaternions ``(readouts, 4)`` to read, phase and slice directions, ``(readouts, 3)`` each."""
    w, x, y, z = (quaternions.astype(np.float64) / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    phase = np.stack([1 - 2 * (y**2 + z**2), 2 * (x * y + z * w), 2 * (x * z - y * w)], 1)
    read = np.stack([2 * (x * y - z * w), 1 - 2 * (x**2 + z**2), 2 * (y * z + x * w)], 1)
    across = np.stack([2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x**2 + y**2)], 1)
    return read, phase, across


def directions_of_normal(normal: NDArray[np.float64], rotation: float) -> Directions:
    """Read, phase and slice direction of a slice from its normal and its in-plane rotation.

    By the convention of the scanner, phase encoding without rotation is along the projection of the anterior-posterior
    axis in transversal and sagittal slices, and of the right-left axis in coronal slices.

    Parameters
    ----------
    normal
        ``(3,)`` sagittal, coronal and transversal component.
    rotation
        In-plane rotation angle [rad].
    """
    across = normal / np.linalg.norm(normal)
    sagittal, coronal, transversal = across
    main = int(np.argmax(np.abs(across.round(6)[::-1])))  # ties: transversal before coronal before sagittal
    if main == 0:
        phase = np.array([0.0, transversal, -coronal]) / np.hypot(coronal, transversal)
    elif main == 1:
        phase = np.array([coronal, -sagittal, 0.0]) / np.hypot(sagittal, coronal)
    else:
        phase = np.array([-coronal, sagittal, 0.0]) / np.hypot(sagittal, coronal)
    phase = np.cos(rotation) * phase - np.sin(rotation) * np.cross(across, phase)
    return np.cross(across, phase), phase, across


def acquisition_heads(mdh: Mdh, layout: Layout, protocol: Protocol) -> Heads:
    """Convert the headers of readouts to ISMRMRD acquisition headers."""
    heads: Heads = np.zeros(len(mdh), acquisition_dtype["head"])
    heads["version"], heads["measurement_uid"], heads["scan_counter"] = 1, mdh["MeasUID"], mdh["ScanCounter"]
    heads["flags"] = _flags(mdh, layout)
    heads["acquisition_time_stamp"] = mdh["TimeStamp"]
    heads["physiology_time_stamp"][:, 0] = mdh["PMUTimeStamp"]
    heads["number_of_samples"] = mdh["SamplesInScan"]
    heads["active_channels"] = heads["available_channels"] = mdh["UsedChannels"]
    heads["discard_pre"], heads["discard_post"] = mdh["CutOff"]["Pre"], mdh["CutOff"]["Post"]
    heads["center_sample"] = mdh["CenterCol"]
    heads["sample_time_us"] = _dwell_times(mdh, layout, protocol)
    for name, source in COUNTERS.items():
        heads["idx"][name] = mdh["Counter"][source]
    user = [*(mdh["Counter"][name] for name in ("Ida", "Idb", "Idc", "Idd", "Ide")), mdh["CenterLin"], mdh["CenterPar"]]
    heads["idx"]["user"][:, : len(user)] = np.stack(user, 1)
    _set_geometry(heads, mdh, protocol)
    heads["patient_table_position"] = _table_position(mdh)
    return heads


def is_image_line(mdh: Mdh, layout: Layout) -> NDArray[np.bool_]:
    """Readouts that contain image data, ``(readouts,)`` bool."""
    others = tuple(name for name in NOT_IMAGE if name != "PATREFSCAN")
    is_reference = has_flag(mdh, layout, "PATREFSCAN") & ~has_flag(mdh, layout, "PATREFANDIMASCAN")
    return ~has_flag(mdh, layout, *others, *NO_READOUT) & ~is_reference


def _flags(mdh: Mdh, layout: Layout) -> NDArray[np.uint64]:
    flags = np.zeros(len(mdh), np.uint64)
    for name, numbers in FLAGS.items():
        bits = np.uint64(sum(1 << number - 1 for number in numbers))
        flags |= np.where(has_flag(mdh, layout, name), bits, np.uint64(0))
    is_both = has_flag(mdh, layout, "PATREFANDIMASCAN")
    return np.where(is_both, flags & ~np.uint64(1 << 19), flags)  # calibration and image data have only flag 21


def _dwell_times(mdh: Mdh, layout: Layout, protocol: Protocol) -> NDArray[np.float64]:
    """Dwell time of each readout [us]; noise readouts have a different bandwidth."""
    image = (protocol.number("sRXSPEC.alDwellTime[0]") or 0.0) / 1000
    n_samples = mdh["SamplesInScan"].astype(np.float64)
    adjustment = ADJUSTMENT_DWELL_US.get(protocol.text("tProtocolName"))
    if adjustment is not None:
        noise = np.full(len(mdh), adjustment)
    elif layout.line == "VB":
        noise = 1e6 / n_samples / 130.0  # noise readouts have 130 Hz per pixel
    else:
        noise = np.floor(76800.0 / n_samples) / 10
    return np.where(has_flag(mdh, layout, "NOISEADJSCAN"), noise, image)


def _set_geometry(heads: Heads, mdh: Mdh, protocol: Protocol) -> None:
    """Set position and directions, from the slice data of each readout or, if these are missing, the protocol.

    If no readout has slice data, the slice counter is the number of the slice in the protocol. A readout with a
    position but without a quaternion has the directions of the nearest slice of the protocol.
    """
    slice_data = mdh["SliceData"]
    position = np.stack([slice_data["SlicePos"][name].astype(np.float64) for name in ("Sag", "Cor", "Tra")], 1)
    quaternions = slice_data["Quaternion"].astype(np.float64)
    is_known = np.abs(np.linalg.norm(quaternions, axis=1) - 1) < 0.1
    directions = np.zeros((3, len(mdh), 3))
    directions[:, is_known] = directions_of_quaternions(quaternions[is_known])
    is_stored = has_slice_data(mdh)
    slices = protocol.items("sSliceArray.asSlice")
    centres = np.array([_vector(item.get("sPosition")) for item in slices]).reshape(-1, 3)
    number = np.zeros(len(mdh), np.intp) if len(slices) == 1 else mdh["Counter"]["Sli"].astype(np.intp)
    if slices and is_stored:
        number = np.linalg.norm(position[:, None] - centres, axis=-1).argmin(1)
    for index, item in enumerate(slices):
        normal, is_here = _vector(item.get("sNormal")), (number == index) & ~is_known
        if not is_stored:
            position[is_here] = centres[index]
        if normal.any():
            of_slice = directions_of_normal(normal, float(item.get("dInPlaneRot", 0) or 0))
            directions[:, is_here] = np.stack(of_slice)[:, None]
    heads["position"] = position
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = directions


def has_slice_data(mdh: Mdh) -> bool:
    """Whether some readout has a position or a quaternion."""
    position = mdh["SliceData"]["SlicePos"]
    return bool(mdh["SliceData"]["Quaternion"].any() or any(position[name].any() for name in ("Sag", "Cor", "Tra")))


def _vector(components: object) -> NDArray[np.float64]:
    """A vector of the protocol, in which components of zero are missing."""
    parts = components if isinstance(components, dict) else {}
    values = [parts.get(name, 0.0) for name in ("dSag", "dCor", "dTra")]
    return np.array([float(value) if isinstance(value, int | float) else 0.0 for value in values])


def _table_position(mdh: Mdh) -> NDArray[np.float64]:
    """Position of the patient table in the coordinates of the scanner, ``(readouts, 3)``; VB has one component."""
    names = mdh.dtype.names or ()
    if "PTABPosX" in names:
        return np.stack([mdh[name].astype(np.float64) for name in ("PTABPosX", "PTABPosY", "PTABPosZ")], 1)
    along = mdh["PTABPosNeg"].astype(np.float64)
    return np.stack([np.zeros_like(along), np.zeros_like(along), along], 1)
