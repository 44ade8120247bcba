"""How much faster singular value shrinkage is than by `torch.linalg.svd`, and how exact.

    python benchmarks/lowrank.py                        # the Casorati matrices and the frames of a cine
    python benchmarks/lowrank.py --device cuda
    python benchmarks/lowrank.py --case frames --repeats 20

Relative soft thresholding of complex64 matrices whose singular values fall by a power law, by the singular value
decomposition and by ours in turn, the best of several runs of each; backward by autograd through the decomposition.
Casorati matrices are given as frames x voxels. The error is that of the shrunk matrix, relative to double precision.
"full" takes all singular values, as gradients always do; "truncated" is what runs without gradients: the leading ones,
and the full method where they are too many or the check of the result fails.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cinerecon.memory import keep_freed_memory
from cinerecon.physics.lowrank import RelativeSoft, shrink_matrix
from cinerecon.physics.lowrank.spectral import shrink_by_all

Shrink = Callable[[Tensor, RelativeSoft], Tensor]
THRESHOLDS = (0.1, 0.01, 1e-3)


@dataclass(frozen=True)
class Case:
    """Matrices, and how their singular values fall: s_i = i^-power."""

    kind: str
    shape: tuple[int, ...]
    power: float

    def draw(self, device: str) -> Tensor:
        """Double precision matrices."""
        generator = torch.Generator().manual_seed(0)
        *batch, rows, columns = self.shape
        n = min(rows, columns)
        left, right = (
            torch.linalg.qr(torch.randn(*batch, side, n, dtype=torch.complex128, generator=generator)).Q
            for side in (rows, columns)
        )
        values = torch.arange(1, n + 1, dtype=torch.float64) ** -self.power
        return ((left * values) @ right.mH).to(device)


CASES = [
    Case("casorati", (16, 36864), 2.5),
    Case("casorati", (25, 65536), 2.2),
    Case("frames", (16, 128, 128), 1.0),
    Case("frames", (16, 192, 192), 1.0),
]


def by_svd(matrix: Tensor, rule: RelativeSoft) -> Tensor:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    threshold = torch.sigmoid(torch.as_tensor(rule.theta, dtype=s.dtype, device=s.device)) * s[..., :1]
    return (u * torch.relu(s - threshold).unsqueeze(-2)) @ vh


def forward(shrink: Shrink, matrix: Tensor, rule: RelativeSoft) -> None:
    with torch.no_grad():
        shrink(matrix, rule)


def forward_and_backward(shrink: Shrink, matrix: Tensor, rule: RelativeSoft) -> None:
    leaf = matrix.detach().requires_grad_()
    theta = torch.tensor(float(rule.theta), device=matrix.device, requires_grad=True)
    shrink(leaf, RelativeSoft(theta)).backward(matrix)


def best_times(functions: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, float]:
    """Milliseconds, the best of several runs, one of each in turn."""
    best = dict.fromkeys(functions, math.inf)
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def show(case: Case, share: float, repeats: int, device: str) -> None:
    exact = case.draw(device)
    matrix, rule = exact.to(torch.complex64), RelativeSoft(math.log(share / (1 - share)))
    roads: dict[str, Shrink] = {"svd": by_svd, "full": shrink_by_all}
    if case.kind == "frames":
        roads["truncated"] = shrink_matrix
    times = best_times({name: partial(forward, road, matrix, rule) for name, road in roads.items()}, repeats, device)
    learners = {"svd": by_svd, "full": shrink_matrix}
    steps = {name: partial(forward_and_backward, road, matrix, rule) for name, road in learners.items()}
    step_times = best_times(steps, repeats // 2, device)
    expected = by_svd(exact, rule)
    survivors = int((torch.linalg.svdvals(exact) > share).sum(-1).max())
    with torch.no_grad():
        errors = {name: float((road(matrix, rule) - expected).norm() / expected.norm()) for name, road in roads.items()}
    for name in list(roads)[1:]:
        cells = [
            f"{case.kind} {'x'.join(str(n) for n in case.shape)}",
            f"{share:g}",
            f"{survivors}",
            name,
            f"{times['svd']:.1f}",
            f"{times[name]:.2f}",
            f"{times['svd'] / times[name]:.1f}",
            f"{step_times['svd'] / step_times['full']:.1f}" if name == "full" else "",
            f"{errors[name]:.1e}",
            f"{errors['svd']:.1e}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", choices=["casorati", "frames"])
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    keep_freed_memory()
    print("| matrices | threshold / s_1 | values above | method | svd [ms] | this package [ms] | speed-up ", end="")
    print("| speed-up with gradient | error | error of svd |\n|" + 10 * "---|")
    for case in CASES:
        if args.case in (None, case.kind):
            for share in THRESHOLDS:
                show(case, share, args.repeats, args.device)


if __name__ == "__main__":
    main()
