"""Settings of a simulated scan."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from cinerecon.config import Config


class SimulateConfig(Config):
    """Settings of a simulated scan; sizes that are not set are those of the measured cine, if there is one."""

    renamed: ClassVar[Mapping[str, str]] = {"frames": "n_frames", "coils": "n_coils", "slices": "n_slices"}

    seed: int = Field(0, ge=0, description="the same seed draws the same scan, on every machine")
    n_frames: int = Field(25, ge=1, le=1000, description="time steps, spread evenly over the heart beat")
    ky: int = Field(192, ge=8, le=1024, description="phase-encode lines")
    kx: int = Field(192, ge=8, le=1024, description="image columns along the readout")
    n_coils: int = Field(8, ge=1, le=128, description="receive coils")
    n_slices: int = Field(
        1, ge=1, le=64, description="parallel slices, 10 mm apart; of a measured cine those in its middle"
    )
    view: Literal["short", "long"] | None = Field(
        None, description="short or long axis of the heart; drawn if not given"
    )
    undersample: str | None = Field(None, description="sampling pattern, e.g. gaussian:8,acs=4; all lines if not given")
    noise: float = Field(0.01, ge=0, description="standard deviation of the complex noise, of the image's maximum")
    subject: str = Field("", description="name or number of the subject, of which a hash is kept in the header")
    oversampling: int = Field(2, ge=1, le=4, description="readout samples per image column")

    @property
    def matrix(self) -> tuple[int, int]:
        """Image size (y, x)."""
        return self.ky, self.kx
