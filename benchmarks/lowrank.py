"""Speed and accuracy of singular value shrinkage, compared with `torch.linalg.svd`.

    python benchmarks/lowrank.py                        # the Casorati matrices and the frames of a cine
    python benchmarks/lowrank.py --device cuda
    python benchmarks/lowrank.py --case frames --repeats 20

Relative soft thresholding of complex64 matrices whose singular values fall by a power law, by the singular value
decomposition and by the methods of this package in turn; the fastest of several runs counts. Gradients of the
decomposition are those of autograd. Casorati matrices are given as frames x voxels. The error is that of the shrunk
matrix, relative to double precision. "full" computes all singular values, which gradients always need; "truncated",
used without gradients, computes the leading ones, and all where these are too many or the check of the result fails.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row
from torch import Tensor

from cinerecon.memory import keep_freed_memory
from cinerecon.physics.lowrank import RelativeSoft, shrink_matrix
from cinerecon.physics.lowrank.spectral import shrink_by_all

Shrink = Callable[[Tensor, RelativeSoft], Tensor]
THRESHOLDS = (0.1, 0.01, 1e-3)
"""Relative to the largest singular value."""
HEADS = (
    *(
        "matrices",
        "threshold / s_1",
        "singular values above threshold",
        "method",
        "svd [ms]",
        "this package [ms]",
        "speed-up",
    ),
    *("speed-up with gradient", "error", "error of svd"),
)


@dataclass(frozen=True)
class Case:
    """Matrices with the singular values s_i = i^-power."""

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
    """Time of the fastest of several runs [ms]; the functions are run in turn."""
    best = dict.fromkeys(functions, math.inf)
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def print_case(case: Case, threshold: float, repeats: int, device: str) -> None:
    """Print a row for each method of this package."""
    exact = case.draw(device)
    matrix, rule = exact.to(torch.complex64), RelativeSoft(math.log(threshold / (1 - threshold)))
    methods: dict[str, Shrink] = {"svd": by_svd, "full": shrink_by_all}
    if case.kind == "frames":
        methods["truncated"] = shrink_matrix
    times = best_times(
        {name: partial(forward, method, matrix, rule) for name, method in methods.items()}, repeats, device
    )
    differentiable = {"svd": by_svd, "full": shrink_matrix}
    steps = {name: partial(forward_and_backward, method, matrix, rule) for name, method in differentiable.items()}
    step_times = best_times(steps, repeats // 2, device)
    expected = by_svd(exact, rule)
    n_above = int((torch.linalg.svdvals(exact) > threshold).sum(-1).max())
    with torch.no_grad():
        results = {name: method(matrix, rule) for name, method in methods.items()}
    errors = {name: float((result - expected).norm() / expected.norm()) for name, result in results.items()}
    for name in list(methods)[1:]:
        cells = (
            f"{case.kind} {'x'.join(str(n) for n in case.shape)}",
            f"{threshold:g}",
            n_above,
            name,
            f"{times['svd']:.1f}",
            f"{times[name]:.2f}",
            f"{times['svd'] / times[name]:.1f}",
            f"{step_times['svd'] / step_times['full']:.1f}" if name == "full" else "",
            f"{errors[name]:.1e}",
            f"{errors['svd']:.1e}",
        )
        print(markdown_row(cells), flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", choices=["casorati", "frames"])
    parser.add_argument("--repeats", type=positive, default=10)
    args = parser.parse_args()
    keep_freed_memory()
    print(markdown_head(HEADS))
    for case in CASES:
        if args.case in (None, case.kind):
            for threshold in THRESHOLDS:
                print_case(case, threshold, args.repeats, args.device)


if __name__ == "__main__":
    run_benchmark(main)
