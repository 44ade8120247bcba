"""The measures of image quality."""

from cinerecon.metrics.measures import compare, mse, nmse, psnr, ssim

__all__ = ["compare", "mse", "nmse", "psnr", "ssim"]
