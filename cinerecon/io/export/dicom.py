"""Writer of classic DICOM MR images, one for each slice and frame; anonymous unless a patient is given.

All identifiers are derived from the provenance of the images. Reconstructions of a scan by different methods are
different series of the same study with the same frame of reference, and repeated runs have the same identifiers.
"""

import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cinerecon.image import CineImage, each, stacks
from cinerecon.io.export.dicom_elements import (
    MANUFACTURER,
    add_verdict,
    describe,
    identify,
    new_dataset,
    provenance_of_pixels,
    scale_and_white,
    set_acquisition,
    set_date,
    set_geometry,
    set_pixels,
    set_values,
    spacing_and_normal,
    stored_pixels,
)
from cinerecon.io.export.display import display_turns, turned
from cinerecon.io.ismrmrd.header import parse_header
from cinerecon.provenance import Patient

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FILE_PATTERN = "slice*_frame*.dcm"
"""Pattern of the names of classic images."""


def write_dicom(folder: Path, cines: list[CineImage], patient: Patient | None = None) -> None:
    """Write files ``slice00_frame000.dcm`` etc. to a folder: one study with one series for each stack of slices.

    Images are turned to the orientation in which scanners store them, with the corresponding positions and directions
    (`export.display`). Elements that cannot be determined from geometry and header of the scan are empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    provenance, now = cines[0].provenance or provenance_of_pixels(cines), datetime.datetime.now().astimezone()
    scale, white = scale_and_white(cines)
    header = parse_header(cines[0].header_xml.encode()) if cines[0].header_xml else None
    turns = iter(display_turns(cines))
    for number, stack in enumerate(stacks(cines)):
        instance = 0
        for original in each(stack):
            turn = next(turns)
            cine, spacing = turned(original, turn), spacing_and_normal(original, stack, cines)
            stored = stored_pixels(cine, scale)
            for frame in range(cine.n_frames):
                instance += 1
                dataset = new_dataset(provenance, patient or Patient(), number, instance, cine.quantity)
                set_date(dataset, patient, now)
                describe(dataset, cine, scale)
                add_verdict(dataset, cine)
                identify(dataset, patient, provenance.study)
                set_acquisition(dataset, header, is_turned=turn.is_swapped)
                set_geometry(dataset, cine, *spacing)
                _set_time(dataset, cine, frame)
                set_pixels(dataset, stored[frame], white)
                set_values(dataset, cine, scale)
                dataset.save_as(folder / f"slice{cine.meta.slice:02d}_frame{frame:03d}.dcm", enforce_file_format=True)


def _set_time(dataset: "Dataset", cine: CineImage, frame: int) -> None:
    """Set the time of the frame: trigger time and R-R interval for a gated scan, a time offset otherwise."""
    dataset.TemporalPositionIdentifier = frame + 1
    dataset.NumberOfTemporalPositions = cine.n_frames
    times, interval = cine.times_ms, cine.frame_interval_ms
    if interval is not None:
        dataset.TemporalResolution = f"{interval:.8g}"
    if not cine.meta.is_one_beat:
        if times:
            dataset.TemporalPositionTimeOffset = times[frame] / 1000  # [s]
        return
    dataset.ScanOptions, dataset.TriggerTime = "CG", f"{times[frame]:.8g}" if times else None  # cardiac gating
    dataset.CardiacNumberOfImages = cine.n_frames
    if interval is not None:
        dataset.NominalInterval = round(interval * cine.n_frames)
        dataset.HeartRate = round(60_000 / (interval * cine.n_frames))


def is_own(path: Path) -> bool:
    """Whether a DICOM file was written by this package; False if it cannot be read."""
    return _read_element(path, "Manufacturer") == MANUFACTURER


def holds_reconstruction(path: Path) -> bool:
    """Whether a DICOM file contains a reconstruction by this package; False if it cannot be read."""
    return re.match(r"cinerecon \w", _read_element(path, "SeriesDescription")) is not None


def _read_element(path: Path, name: str) -> str:
    """Read an element of a DICOM file as text; empty if it is missing, or the file cannot be read."""
    import pydicom

    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[name]).get(name, ""))
    except Exception:  # the parser may fail in any way on arbitrary bytes
        return ""
