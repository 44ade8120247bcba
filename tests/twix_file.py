"""Write Siemens twix files by twixtools from ISMRMRD readouts, to compare them with the same scan in HDF5."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

TWIX_FLAGS = {
    7: "FIRSTSCANINSLICE",
    8: "LASTSCANINSLICE",
    19: "NOISEADJSCAN",
    20: "PATREFSCAN",
    21: "PATREFANDIMASCAN",
    22: "REFLECT",
    24: "PHASCOR",
    25: "LASTSCANINMEAS",
    27: "RETRO_DUMMYSCAN",
    28: "RTFEEDBACK",
}
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


@dataclass
class TwixMeasurement:
    """Parameters and readouts of a measurement. Tests may change them before `write_twix`."""

    meas_yaps: dict[str, Any]
    meas: dict[str, Any]
    heads: np.ndarray
    samples: list[np.ndarray]
    centre_line: int = 0
    name: str = "cine"
    extra_flags: dict[int, tuple[str, ...]] = field(default_factory=dict)  # of readouts by number
    quaternion: bool = True
    packets: dict[int, list[bytes]] = field(default_factory=dict)  # synchronous data before readouts by number
    channels: dict[int, list[int]] = field(default_factory=dict)  # channel numbers of readouts by number, line VD

    def header(self) -> np.ndarray:
        buffers = {
            "Meas": "".join(
                f'<Param{"String" if isinstance(value, str) else "Double"}."{name}"> {{ '
                + (f'"{value}"' if isinstance(value, str) else f"<Precision> 6 {value}")
                + " }\n"
                for name, value in self.meas.items()
            ),
            "MeasYaps": "### ASCCONV BEGIN ###\n"
            + "".join(f"{name}\t = \t{value}\n" for name, value in self.meas_yaps.items())
            + "### ASCCONV END ###",
        }
        parts = b"".join(
            name.encode() + b"\0" + len(text).to_bytes(4, "little") + text.encode() for name, text in buffers.items()
        )
        size = max(8 + len(parts), 12_000)  # twixtools takes a shorter header for line VD
        size += -size % 32
        content = size.to_bytes(4, "little") + len(buffers).to_bytes(4, "little") + parts
        return np.frombuffer(content.ljust(size, b"\0"), "S1")

    def blocks(self, is_vd: bool) -> list[Any]:
        from twixtools.mdb import Mdb_local
        from twixtools.mdh_def import Channel_header

        blocks = []
        for number, (head, samples) in enumerate(zip(self.heads, self.samples, strict=True)):
            blocks += [packet_block(content, is_vd) for content in self.packets.get(number, [])]
            mdb = Mdb_local(samples, version_is_ve=is_vd)
            mdh = mdb.mdh
            mdh.MeasUID = 7
            for counter, name in COUNTERS.items():
                setattr(mdh.Counter, name, int(head["idx"][counter]))
            mdh.CenterCol, mdh.CenterLin = int(head["center_sample"]), self.centre_line
            mdh.CutOff.Pre, mdh.CutOff.Post = int(head["discard_pre"]), int(head["discard_post"])
            mdh.TimeStamp = int(head["acquisition_time_stamp"])
            mdh.PMUTimeStamp = int(head["physiology_time_stamp"][0])
            for axis, name in enumerate(("Sag", "Cor", "Tra")):
                setattr(mdh.SliceData.SlicePos, name, float(head["position"][axis]))
            if self.quaternion and head["read_dir"].any():
                mdh.SliceData.Quaternion[:] = quaternion_of(head)
            for flag, name in TWIX_FLAGS.items():
                if int(head["flags"]) >> flag - 1 & 1:
                    mdb.add_flag(name)
            for name in self.extra_flags.get(number, ()):
                mdb.add_flag(name)
            if number in self.channels:
                mdb.channel_hdr = [Channel_header(ChannelId=channel) for channel in self.channels[number]]
            blocks.append(mdb)
        end = Mdb_local(version_is_ve=is_vd)
        end.add_flag("ACQEND")
        return [*blocks, end]


def packet_block(content: bytes, is_vd: bool) -> Any:
    """A block of synchronous data."""
    import ctypes

    from twixtools import mdh_def, seqdata
    from twixtools.mdb import Mdb_local

    mdb = Mdb_local(version_is_ve=is_vd)
    mdb.add_flag("SYNCDATA")
    mdh_def.set_dma_len(mdb.mdh, ctypes.sizeof(type(mdb.mdh)) + len(content))
    mdb._Mdb_local__data = seqdata.SeqData(content)
    mdb.mdh.MeasUID = 7
    return mdb


def pmu_packet(
    words: dict[int, tuple[int, np.ndarray]],
    *,
    time_stamp: int,
    duration: int,
    name: bytes = b"PMUData",
    end: int = 0x01FF0000,
) -> bytes:
    """A packet of physiological signals: for each code the sampling interval [0.1 ms] and the samples."""
    parts = [np.array([time_stamp - 1, time_stamp, 0, duration], "<u4").tobytes()]
    for code, (period, values) in words.items():
        parts += [np.array([code, period], "<u4").tobytes(), np.asarray(values, "<u4").tobytes()]
    data = b"".join([*parts, np.array([end], "<u4").tobytes()])
    return len(data).to_bytes(4, "little") + name.ljust(52, b"\0") + bytes(4) + data


def quaternion_of(head: np.void) -> np.ndarray:
    """(w, x, y, z) of the rotation with the columns phase, read, slice, which must be right-handed in this order."""
    columns = np.stack([head[name] for name in ("phase_dir", "read_dir", "slice_dir")], 1).astype(float)
    assert np.linalg.det(columns) > 0.99
    return np.roll(Rotation.from_matrix(columns).as_quat(), 1)


def measurement_of(
    heads: np.ndarray,
    samples: list[np.ndarray],
    *,
    matrix: tuple[int, int],
    fov_mm: tuple[float, float],
    thickness_mm: float = 8.0,
    oversampling: float = 2.0,
    rows: int | None = None,
    n_frames: int = 1,
    n_slices: int = 1,
    centre_line: int | None = None,
    n_averages: int = 1,
) -> TwixMeasurement:
    """A measurement with the parameters of a 2-D Cartesian scan; ``matrix`` and ``fov_mm`` are (y, x) of the image."""
    (y, x), rows = matrix, rows or matrix[0]
    meas_yaps = {
        "tSequenceFileName": '"%SiemensSeq%\\trufi"',
        "tProtocolName": '"cine sax"',
        "alTR[0]": 40000,
        "alTE[0]": 1500,
        "adFlipAngleDegree[0]": 50.0,
        "lAverages": n_averages,
        "lContrasts": 1,
        "sKSpace.lBaseResolution": x,
        "sKSpace.lPhaseEncodingLines": rows,
        "sKSpace.ucDimension": "0x2",
        "sKSpace.ucTrajectory": "0x1",
        "sSliceArray.lSize": n_slices,
        "sSliceArray.asSlice[0].dThickness": thickness_mm,
        "sSliceArray.asSlice[0].dPhaseFOV": fov_mm[0],
        "sSliceArray.asSlice[0].dReadoutFOV": fov_mm[1],
        "sPhysioImaging.lPhases": n_frames,
        "sRXSPEC.alDwellTime[0]": round(1000 * float(heads["sample_time_us"][-1])),
        "sPat.lAccelFactPE": 1,
    }
    meas = {
        "iNoOfFourierColumns": round(x * oversampling),
        "iNoOfFourierLines": rows,
        "iPEFTLength": rows,
        "flReadoutOSFactor": oversampling,
        "phaseOversampling": rows / y - 1,
        "ImageColumns": x,
        "ImageLines": y,
        "iNSet": 1,
        "tPatientPosition": "HFS",
        "flMagneticFieldStrength": 1.494,
        "lFrequency": 63600000,
        "ManufacturersModelName": "Sola",
        "PatientID": "patient-0815",
        "tPatientName": "Nobody^Known",
    }
    centre = rows // 2 if centre_line is None else centre_line
    return TwixMeasurement(meas_yaps, meas, heads, samples, centre)


def noise_measurement(scan: TwixMeasurement, heads: np.ndarray, samples: list[np.ndarray]) -> TwixMeasurement:
    """The adjustment of the coils, with noise readouts, which a scanner stores before the scan."""
    meas_yaps = {**scan.meas_yaps, "tProtocolName": '"AdjCoilSens"'}
    return TwixMeasurement(meas_yaps, scan.meas, heads, samples, name="AdjCoilSens")


def write_twix(path: Path, *measurements: TwixMeasurement, line: str = "VD") -> Path:
    """Write a file by twixtools; line VB, which it does not write, has a copy of the header before each channel."""
    import twixtools
    from twixtools import hdr_def

    if line == "VB":
        (part,) = measurements
        *blocks, end = part.blocks(is_vd=False)
        channels = (
            bytes(block.mdh) + channel.tobytes()
            for block in blocks
            for channel in ([block.data] if block.is_flag_set("SYNCDATA") else block.data)
        )
        path.write_bytes(part.header().tobytes() + b"".join(channels) + bytes(end.mdh) + end.data)
        return path
    scans = []
    for number, part in enumerate(measurements):
        entry = np.zeros(1, hdr_def.MrParcRaidFileEntry)[0]
        entry["measId_"], entry["protName_"], entry["patName_"] = number + 1, part.name.encode(), b"Nobody^Known"
        scans.append({"hdr_str": part.header(), "mdb": part.blocks(line == "VD"), "raidfile_hdr": entry})
    path.unlink(missing_ok=True)
    twixtools.write_twix(scans, str(path), version_is_ve=line == "VD")
    return path
