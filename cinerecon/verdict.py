"""The verdict on an image: its expected error with an interval, and whether it can be used."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["as expected", "doubtful", "do not use"]
"""Statuses in order of severity, the worst one last."""
COVERAGE = 0.9
"""Probability with which the intervals contain the true error."""


@dataclass(frozen=True)
class Verdict:
    """Estimated error and status of an image, without a reference.

    Attributes
    ----------
    status
        ``as expected``: the error is that of an intact scan; ``doubtful``: it may be larger; ``do not use``: it is
        probably twice as large or larger.
    reasons
        Reasons why the image is not as expected; empty if it is.
    psnr, psnr_low, psnr_high
        Expected PSNR of the magnitude, and its 90 % interval [dB].
    heart_error, heart_error_low, heart_error_high
        Expected root-mean-square error around the heart, relative to the root mean square of the image there, and its
        interval.
    usual_psnr
        PSNR of an intact scan with the same sampling, coils and noise [dB].
    risk
        Probability that the error is more than twice the usual one, estimated by logistic models; increased if a sign
        of a failure is sufficient by itself.
    """

    status: Status
    reasons: tuple[str, ...]
    psnr: float
    psnr_low: float
    psnr_high: float
    heart_error: float
    heart_error_low: float
    heart_error_high: float
    usual_psnr: float
    risk: float

    @property
    def summary(self) -> str:
        """Status and reasons in words."""
        return f"{self.status}: {'; '.join(self.reasons)}" if self.reasons else self.status

    @property
    def numbers(self) -> str:
        """The expected errors with their intervals, in words."""
        psnr = f"PSNR {self.psnr:.1f} dB ({self.psnr_low:.1f} to {self.psnr_high:.1f})"
        heart = f"error of the heart {self.heart_error:.0%} ({self.heart_error_low:.0%} to {self.heart_error_high:.0%})"
        return f"expected {psnr}, {heart}, {COVERAGE:.0%} intervals"

    @property
    def remark(self) -> str:
        """The verdict as a text that accompanies the image."""
        return f"verdict: {self.summary}; {self.numbers}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning unless the image is as expected."""
        return () if self.status == "as expected" else (self.summary,)


def worst_status(verdicts: Iterable[Verdict | None]) -> str:
    """The worst status of several images; empty if none of them has a verdict."""
    order = get_args(Status)
    return max((verdict.status for verdict in verdicts if verdict), key=order.index, default="")
