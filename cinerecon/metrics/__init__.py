"""The measures of image quality: `psnr`, `ssim`, `nmse` and others, or several of them by `compare`."""

from cinerecon.metrics.frc import FrcMap, scan_correlation
from cinerecon.metrics.heart import Heart, find_heart
from cinerecon.metrics.measures import compare, compare_frames, hfen, mse, nmse, psnr, ssim
from cinerecon.metrics.profiles import DEFAULT_PROFILE, PROFILES, Profile, find_profile, measure
from cinerecon.metrics.temporal import area_agreement, temporal_sharpness, xt_ssim

__all__ = [
    "DEFAULT_PROFILE",
    "PROFILES",
    "FrcMap",
    "Heart",
    "Profile",
    "area_agreement",
    "compare",
    "compare_frames",
    "find_heart",
    "find_profile",
    "hfen",
    "measure",
    "mse",
    "nmse",
    "psnr",
    "scan_correlation",
    "ssim",
    "temporal_sharpness",
    "xt_ssim",
]
