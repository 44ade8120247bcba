"""The request for a reconstruction, which is checked before the reconstruction starts."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.formats import require_cine
from cinerecon.acquisition.source import CineSource
from cinerecon.errors import ConfigError
from cinerecon.external import code_file, is_external
from cinerecon.io.atomic import would_overwrite
from cinerecon.io.bart import cfl_files
from cinerecon.io.export import DICOM, Target
from cinerecon.io.mask import MaskFile, files_of
from cinerecon.io.paths import absolute
from cinerecon.io.recognise import is_cfl
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import model_label
from cinerecon.options import split_settings, with_options
from cinerecon.physics.sampling import parse_sampling
from cinerecon.provenance import Patient
from cinerecon.reconstruction.options import ReconSettings

DEFAULT_ENDINGS = (".h5", ".mp4", ".png")
VIRTUAL_FOLDERS = ("/dev", "/proc")
"""Folders of devices and processes; a scan may be given by a link in them, but no image is written there."""


IMAGE_SETTINGS = (
    *("csm", "compress_coils", "memory", "dataset", "measurement", "noise", "undersample", "seed", "frames", "gating"),
    *("partial_fourier", "set_index", "venc", "axes", "maps", "pattern", "pixel_size", "frame_time", "oversampling"),
    "slices",
)
"""Settings, in addition to ``settings``, that affect the images, in the order in which they are written to files."""
FILE_SETTINGS = ("noise", "undersample", "maps", "pattern")
"""Settings among these that may be files, which are identified by their content."""
RESULT_SETTINGS = ("settings", "device", "snr", "n_replicas", "verdict", "uncertainty", "n_variants")
"""Settings that affect the results of a slice in another way."""
SLICE_SETTINGS = {*IMAGE_SETTINGS, *RESULT_SETTINGS} - {*FILE_SETTINGS, "slices"}
"""Settings that affect the results of a slice and are not files."""
RUN_SETTINGS = ("weights", "strict")
"""Settings that are equal for all reconstructions of a batch and do not affect the results of a slice."""


class ReconRequest(ReconSettings):
    """The reconstruction of one scan with one method."""

    scan: Path = Field(description="ISMRMRD raw scan, CMRxRecon file, k-space array or prepared case")
    model: str = Field(
        description="name of a method or of an imported model, a file or folder of a trained network, or a class in a "
        "Python file"
    )
    outputs: tuple[str, ...] = Field(
        default=(), description="files or folders; if not given, .h5, .mp4 and .png next to the scan"
    )
    patient: Patient | None = Field(default=None, description="identity to write into DICOM files; null: anonymous")

    def __init__(self, scan: Path, model: str, outputs: Sequence[str] = (), **values: Any) -> None:
        values |= {"scan": scan, "model": model, "outputs": tuple(outputs)}
        super().__init__(**values)

    def with_values(self, **values: Any) -> "ReconRequest":
        """A copy with different values."""
        return ReconRequest(**{name: getattr(self, name) for name in type(self).model_fields} | values)

    def image_settings(self) -> tuple[str, ...]:
        """The settings that affect the images, as texts.

        Files are given without folders, whose names may identify patients.
        """
        values = {name: getattr(self, name) for name in IMAGE_SETTINGS}
        values |= {name: Path(values[name]).name for name in FILE_SETTINGS if values[name]}
        values |= {
            "seed": self.seed if self.undersample else None,
            "partial_fourier": self.partial_fourier if self.partial_fourier != "auto" else None,
            "pixel_size": self.pixel_size and "x".join(map(str, self.pixel_size)),
            "slices": ",".join(map(str, self.slices)),
        }
        given = {name.removesuffix("_index"): value for name, value in values.items() if value not in (None, "")}
        return (*self.settings, *(f"{name}={value}" for name, value in given.items()))

    def slice_settings(self) -> str:
        """The settings that affect the results of a slice, as JSON, without files."""
        return self.model_dump_json(include=SLICE_SETTINGS)

    def changed_slice_settings(self) -> dict[str, Any]:
        """The settings that affect the results of a slice and differ from their defaults."""
        return self.model_dump(mode="json", include=SLICE_SETTINGS, exclude_defaults=True)

    def batch_settings(self) -> dict[str, Any]:
        """The settings that are equal for all reconstructions of a batch, as plain values."""
        return self.model_dump(mode="json", include={*IMAGE_SETTINGS, *RESULT_SETTINGS, *RUN_SETTINGS})

    @property
    def label(self) -> str:
        """Name of the method, without folders and suffix."""
        return model_label(self.model)

    @property
    def keeps_convergence(self) -> bool:
        """Whether the convergence is shown or written."""
        return self.verbose or any(target.ending == ".npz" for target in self.targets)

    @property
    def targets(self) -> list[Target]:
        """The files and folders to write.

        Raises
        ------
        ConfigError
            If a suffix is unknown, or the default files would be written into a folder of devices.
        """
        if self.outputs:
            return [Target.parse(output) for output in self.outputs]
        if str(self.scan.absolute()).startswith(tuple(f"{folder}/" for folder in VIRTUAL_FOLDERS)):
            raise ConfigError("images cannot be written next to a device", where=str(self.scan), hint="-o cine.h5")
        stem = f"{self.scan.stem}.{self.label}"
        return [Target(self.scan.with_name(stem + ending), ending) for ending in DEFAULT_ENDINGS]

    @property
    def scan_files(self) -> tuple[Path, ...]:
        """The files of the scan; for a BART array, its header and its samples."""
        return cfl_files(self.scan) if is_cfl(self.scan) else (self.scan,)

    @property
    def sources(self) -> list[Path]:
        """The files that are read."""
        mask = MaskFile.parse(self.undersample) if self.undersample else None
        model = code_file(self.model) if is_external(self.model) else Path(self.model)
        paths = (
            *self.scan_files,
            self.noise,
            self.weights,
            self.patient.source if self.patient else None,
            None if mask is None else mask.path,
            *files_of(self.maps),
            *files_of(self.pattern),
            model if model.is_file() else None,
        )
        return [path for path in paths if path is not None]

    def check(self, *, overwrite: bool = False, own: Container[Path] = ()) -> list[Target]:
        """Check the request before the reconstruction starts, and return the targets.

        Parameters
        ----------
        overwrite
            Whether existing images may be overwritten, as with ``force``.
        own
            Absolute paths of existing outputs that may be overwritten.

        Raises
        ------
        FileError
            If the scan is missing or has an unsupported format, or a file would be overwritten.
        ConfigError
            If an output, the sampling pattern or the frames are invalid, two outputs are the same file, or a patient is
            given without a DICOM output.
        """
        self.check_sources()
        mapped = [name for name, is_mapped in (("noise", self.snr), ("uncertainty", self.uncertainty)) if is_mapped]
        targets = [part for target in self.targets for part in target.with_maps(*mapped)]
        if self.patient and all(target.ending not in DICOM for target in targets):
            raise ConfigError("a patient can be written only to DICOM", where="-o", hint="add -o dicom/")
        for number, target in enumerate(targets):
            for source in self.sources:
                if target.may_write(source):
                    raise would_overwrite(source, target.path)
            for other in targets[:number]:
                if target.may_write(other.path) or other.may_write(target.path):
                    raise ConfigError("two outputs would be written to the same file", where=f"-o {target.path}")
            target.check(force=self.force or overwrite or absolute(target.path) in own)
        return self.targets

    def check_sources(self) -> None:
        """Check the scan and the sampling pattern before the reconstruction starts.

        Raises
        ------
        FileError
            If the scan is missing or has an unsupported format.
        ConfigError
            If the sampling pattern is invalid.
        """
        require_cine(self.scan)
        self._check_texts()

    def check_settings(self, method: Reconstructor) -> None:
        """Check the settings that do not involve files.

        Raises
        ------
        ConfigError
            If a setting is invalid; the error names the option.
        """
        self.preprocessing(method)
        self._check_texts()

    def _check_texts(self) -> None:
        """Check the texts that are parsed later: the memory limit and the sampling pattern."""
        _ = self.memory_limit
        if self.undersample:
            parse_sampling(self.undersample)

    def preprocessing(self, method: Reconstructor) -> AcquisitionConfig:
        """The preprocessing of the network's training, or the defaults, updated by the settings of the request."""
        config = AcquisitionConfig.parse(method.preprocessing, where=self.model)
        config = config.with_settings(split_settings(self.settings)[1], where="--set preprocessing")
        config = config.with_arrays(self).with_set(self.set_index)
        keys = {"csm": "csm", "compress_coils": "n_virtual_coils", "gating": "gating"}
        return with_options(config, self, keys | ({"frames": "gated_frames"} if self._counts_frames else {}))

    @property
    def _counts_frames(self) -> bool:
        """Whether ``--frames`` is the number of frames of a retrospectively gated cine, not a selection of frames."""
        return self.gating == "retro" and self.frames.isdecimal()

    def chosen_slices(self, scan: CineSource) -> tuple[int, ...]:
        """Indices of the slices to reconstruct, without duplicates.

        Raises
        ------
        ConfigError
            If the scan does not contain a requested slice.
        """
        for index in self.slices:
            if not 0 <= index < scan.n_slices:
                known = f"0 to {scan.n_slices - 1}" if scan.n_slices > 1 else "0 alone"
                raise ConfigError(f"there is no slice {index}", where="--slice", hint=f"the scan has {known}")
        return tuple(dict.fromkeys(self.slices)) or tuple(range(scan.n_slices))

    def chosen_frames(self, n_frames: int, where: str) -> slice:
        """The range of frames to reconstruct.

        Raises
        ------
        ConfigError
            If the text is neither ``first:last`` nor an index, or no frame remains.
        """
        start, stop = self._requested_frames(n_frames)
        if not 0 <= start < min(stop, n_frames):
            what = f"{where} has no frame {self.frames}"
            raise ConfigError(what, where="--frames", hint=f"its frames are 0 to {n_frames - 1}")
        return slice(start, min(stop, n_frames))

    def frame_warnings(self, n_frames: int, where: str) -> list[str]:
        """A warning if ``--frames`` requests frames after the last one."""
        _, stop = self._requested_frames(n_frames)
        text = f"--frames {self.frames}: {where} has {n_frames} frames; the other requested frames do not exist"
        return [text] if stop > n_frames else []

    def _requested_frames(self, n_frames: int) -> tuple[int, int]:
        """The first requested frame and the one after the last requested frame, even if they do not exist."""
        first, colon, last = ("" if self._counts_frames else self.frames).partition(":")
        try:
            start = int(first or 0)
            return start, start + 1 if first and not colon else int(last or n_frames)
        except ValueError:
            raise ConfigError(f"'{self.frames}' is not first:last", where="--frames", hint="e.g. 0:12") from None
