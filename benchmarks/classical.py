"""Image quality and time of the classical methods on a few cines; prints a table.

Cases are phantoms, or measured magnitude series (``.npz`` with ``magnitude`` (frames, rows, columns)) that are given a
simulated smooth phase; coil maps and noise are simulated in both. With several coils the methods get the true maps, so
that the table shows the methods and not the maps, and PSNR is that of magnitudes.

    python benchmarks/classical.py
    python benchmarks/classical.py --series sax_mid.npz --coils 8 --noise 0.02 --method ktslr --set block_size=0
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cinerecon.data.cine import CineData
from cinerecon.methods.table import METHODS, load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.operators import Encoding
from cinerecon.physics.phantom import PhantomConfig, draw_coil_maps, draw_phantom, draw_phase
from cinerecon.physics.sampling import parse_mask

CLASSICAL = [name for name, method in METHODS.items() if method.kind == "classical"]


def main() -> None:
    args = read_arguments()
    print("case                      method        PSNR [dB]   SSIM     NMSE       time [s]")
    for name, image in list_images(args):
        for n_coils in args.coils:
            for noise in args.noise:
                case = f"{name} {n_coils}ch {100 * noise:g}%"
                report(case, undersample(image, n_coils, noise, args), args)


def report(case: str, data: CineData, args: argparse.Namespace) -> None:
    for name in args.method or CLASSICAL:
        fields = METHODS[name].load()[0].model_fields
        method = load_method(name, [setting for setting in args.set if setting.partition("=")[0] in fields])
        start = time.perf_counter()
        image = method(data)
        seconds = time.perf_counter() - start
        found = compare(image, data.reference, magnitude=data.n_coils > 1)
        print(f"{case:25} {name:12} {found['psnr']:9.2f} {found['ssim']:8.4f} {found['nmse']:9.2e} {seconds:10.2f}")


def list_images(args: argparse.Namespace) -> list[tuple[str, Tensor]]:
    """Names and images ``(frames, y, x)`` of peak 1."""
    if not args.series:
        config = PhantomConfig(n_frames=args.frames, matrix=args.matrix)
        return [(f"phantom {seed}", draw_phantom(seed, config)) for seed in args.phantom]
    return [(path.stem, read_series(path, args.frames, args.matrix)) for path in args.series]


def read_series(path: Path, n_frames: int, matrix: tuple[int, int]) -> Tensor:
    magnitude = torch.from_numpy(np.load(path)["magnitude"].astype(np.float32))[:n_frames]
    y, x = ((size - wanted) // 2 for size, wanted in zip(magnitude.shape[1:], matrix, strict=True))
    magnitude = magnitude[:, y : y + matrix[0], x : x + matrix[1]]
    return torch.polar(magnitude / magnitude.max(), draw_phase(0, len(magnitude), matrix))


def undersample(image: Tensor, n_coils: int, noise: float, args: argparse.Namespace) -> CineData:
    n_frames, y, x = image.shape
    csm = draw_coil_maps(args.seed, n_coils, (y, x)) if n_coils > 1 else None
    mask = parse_mask(args.mask).draw(n_frames, y, x, args.seed)
    kspace = Encoding(mask, csm, matrix=(y, x)).forward(image)
    generator = torch.Generator().manual_seed(args.seed)
    receiver_noise = noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return CineData(kspace + receiver_noise * mask, mask, csm, image)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, nargs="+", help="measured magnitude series, instead of phantoms")
    parser.add_argument("--phantom", type=int, nargs="+", default=[0, 1], help="seeds of phantoms")
    parser.add_argument("--coils", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.005], help="relative to the peak of the image")
    parser.add_argument("--mask", default="gaussian:8,acs=4")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--matrix", type=int, nargs=2, default=(192, 192), help="image size (y, x)")
    parser.add_argument("--seed", type=int, default=0, help="of mask, maps and noise")
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all classical ones")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the methods")
    args = parser.parse_args()
    args.matrix = tuple(args.matrix)
    return args


if __name__ == "__main__":
    main()
