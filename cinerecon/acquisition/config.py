"""The settings of intake. They travel inside a checkpoint, so that `recon` prepares data exactly as training did."""

from typing import Literal

from pydantic import Field

from cinerecon.config import Config

Counter = Literal["average", "slice", "contrast", "phase", "repetition", "set", "segment"]


class IntakeConfig(Config):
    """How raw readouts become a cine."""

    whiten: bool = Field(True, description="Decorrelate the noise of the coils, where the scan has noise readouts.")
    n_virtual_coils: int | None = Field(None, ge=1, description="Compress to this many virtual coils; null keeps all.")
    compression: Literal["pca", "geometric"] = Field(
        "pca", description="Principal components of all samples, or of each position along the readout."
    )
    csm: Literal["smooth", "espirit", "walsh"] = Field("smooth", description="Method for the coil maps.")
    remove_oversampling: bool = Field(
        True, description="Cut the image along the readout to the field of view that was asked for."
    )
    transform: Literal["auto", "fft", "ifft"] = Field(
        "auto",
        description="What makes an image of the file's k-space; auto takes fft for Siemens, ifft for the others.",
    )
    select: dict[Counter, int] = Field(
        default_factory=dict, description="Keep one value of a counter, e.g. {contrast: 0} of a multi-echo scan."
    )
    ky_centre: int | None = Field(
        None, ge=0, description="Line at the centre of k-space; null takes the header's, and checks it with the data."
    )
    leave_out_coils: list[int] = Field(
        default_factory=list, description="Coils to leave out, counted from 0, e.g. [2] where coil 2 is broken."
    )
    memory_limit_gb: float = Field(
        16.0, gt=0, description="Refuse a scan whose slices need more than this for k-space [GB]."
    )
