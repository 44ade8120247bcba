"""How good the methods are on what no training has seen: held-out real series and held-out phantoms.

    python benchmarks/quality.py --series FOLDER -o results/quality

Makes fully sampled raw scans with `cinerecon simulate`, with one coil and with eight, undersamples them (another mask
in each frame and slice), reconstructs them with every method that has weights, from coil maps estimated of the
undersampled data, and compares magnitudes with the noise-free truth. The real anatomy is measured; its phase, coils and
noise are simulated. Interrupted, it goes on where it was; `report.html` in the folder shows all.
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import mean

from report import write_section

from cinerecon.evaluation import Score, Table, evaluate, tables_of, write_results
from cinerecon.methods.catalogue import list_models
from cinerecon.methods.table import METHODS
from cinerecon.metrics.statistics import compare_paired, summarise_mean, with_holm
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

HELD_OUT = ("sax_mid", "lax_4ch")
PHANTOM_SEEDS = range(1, 41)
"""None of them is among the phantoms of training, whose seeds are of many digits; a test says so."""
SAMPLINGS = ("gaussian:8", "gaussian:10", "gaussian:12", "radial:16", "vds:10", "equispaced:8")
CLASSICAL = ("zerofilled", "cgsense", "ttv", "llr", "lps", "ktslr")
SHOWN = ("psnr", "ssim", "nmse", "heart_psnr", "xt_ssim")
HARDEST = "gaussian:12"
"""The pattern at which errors of the whole image say least about the heart."""
IN_README = ("zerofilled", "ktslr", "slrnet", "passnet", "dccnn-lr", "crnn-lr")
"""Methods in the short table; networks: those of the two papers, the best and the worst."""
PHANTOMS = "phantoms"
NOTE = (
    "Brackets: 95 % bootstrap interval of the mean. Star: no significant difference (Wilcoxon's signed-rank test with "
    "Holm's correction, p of 0.05 or more)."
)
HEART = ("heart_psnr", "xt_ssim")
HEADS = {("psnr", "ssim"): "PSNR [dB] / SSIM", HEART: "heart PSNR [dB] / x-t SSIM"}


def make_scans(folder: Path, real: Path | None, n_phantoms: int, noise: float) -> dict[str, list[Path]]:
    """Write the scans that are missing; by group, one group for each real series."""
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Path]] = {}
    for coils in (1, 8):
        for name in HELD_OUT if real else ():
            sizes = SimulateConfig(n_frames=25, ky=160, kx=192, n_coils=coils, noise=noise, seed=11)
            groups.setdefault(name, []).append(_make(folder / f"{name}_{coils}.h5", sizes, real / f"{name}.npz"))
    for seed in list(PHANTOM_SEEDS)[:n_phantoms]:
        for coils in (1, 8):
            sizes = SimulateConfig(n_frames=16, ky=96, kx=96, n_coils=coils, noise=noise, seed=seed)
            groups.setdefault(PHANTOMS, []).append(_make(folder / f"phantom{seed}_{coils}.h5", sizes, None))
    return groups


def _make(path: Path, config: SimulateConfig, source: Path | None) -> Path:
    if not path.exists():
        simulate_scan(path, config, source=source)
    return path


def trained() -> list[str]:
    """The networks whose weights come with the program."""
    return [entry.name for entry in list_models() if entry.kind == "deep" and entry.weights == "ours"]


def judge(group: str, paths: list[Path], arguments: argparse.Namespace) -> list[Score]:
    """The scores of a group: every method, every sampling, but that few phantoms may do after the first sampling."""
    few = 2 * arguments.few if group == PHANTOMS and arguments.few else len(paths)
    parts = [(paths, arguments.undersample[:1]), (paths[:few], arguments.undersample[1:])]
    scores = [
        score
        for some, samplings in parts
        if samplings
        for score in evaluate(
            some,
            arguments.model,
            samplings,
            output=arguments.output,
            workers=arguments.workers,
            pictures=1 if group == PHANTOMS else 2,
        ).complete()
    ]
    return scores if group == PHANTOMS else [replace(score, subject="the volunteer") for score in scores]


def compact(scores: Iterable[Score], methods: list[str], samplings: list[str], baseline: str) -> str:
    """PSNR and SSIM of every method under every sampling, means over scans, the best of a column in bold."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.method, score.sampling), []).append(score)
    lines = ["| PSNR [dB] / SSIM | " + " | ".join(samplings) + " |", "|" + "---|" * (1 + len(samplings))]
    psnr = {key: mean(score.psnr for score in members) for key, members in found.items()}
    for method in methods:
        cells = [f"`{method}`"]
        for sampling in samplings:
            ssim = mean(score.ssim for score in found[method, sampling])
            best = max(psnr[other, sampling] for other in methods)
            text = f"{psnr[method, sampling]:.2f} / {ssim:.3f}"
            cells.append(f"**{text}**" if psnr[method, sampling] == best else text)
        lines.append("| " + " | ".join(cells) + " |")
    deep = [name for name in methods if METHODS[name].kind == "deep"] if baseline in methods else []
    gains = {name: [psnr[name, s] - psnr[baseline, s] for s in samplings] for name in deep}
    if gains:
        each = ", ".join(f"{name} {mean(values):+.2f} ({min(values):+.2f})" for name, values in gains.items())
        lines += ["", f"Gain over `{baseline}`, mean over the sampling patterns (lowest) [dB]: {each}."]
    return "\n".join(lines)


def describe_counts(counts: dict[str, int]) -> str:
    """How many phantoms each pattern has."""
    numbers = {*counts.values()}
    if len(numbers) == 1:
        return f"{numbers.pop()} for each pattern"
    return ", ".join(f"{n} for {sampling}" for sampling, n in counts.items())


def group_of(score: Score) -> str:
    """The phantoms, or the name of a real series."""
    return PHANTOMS if score.scan.startswith("phantom") else score.scan.rpartition("_")[0]


def gains(scores: list[Score], methods: list[str], samplings: list[str], baseline: str) -> str:
    """Mean gain of each network over the baseline with its 95 % interval over scans; a star if not significant."""
    found = {(score.method, score.sampling, score.scan): score.psnr for score in scores}
    scans = list(dict.fromkeys(score.scan for score in scores))
    deep = [name for name in methods if METHODS[name].kind == "deep"]
    cells: dict[str, list[str]] = {name: [] for name in deep}
    for sampling in samplings:
        theirs = [found[baseline, sampling, scan] for scan in scans]
        ours = [[found[name, sampling, scan] for scan in scans] for name in deep]
        for name, gain in zip(deep, with_holm([compare_paired(psnr, theirs) for psnr in ours]), strict=True):
            star = "" if gain.p_holm < 0.05 else " *"
            cells[name].append(f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]{star}")
    lines = [f"| over `{baseline}`, PSNR [dB] | " + " | ".join(samplings) + " |", "|" + "---|" * (1 + len(samplings))]
    lines += [f"| `{name}` | {' | '.join(row)} |" for name, row in cells.items()]
    return "\n".join([*lines, "", NOTE])


def in_short(scores: list[Score], methods: list[str], sampling: str, fields: tuple[str, str] = ("psnr", "ssim")) -> str:
    """Two measures of every method under one sampling, a column for each group and count of coils."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if score.sampling == sampling:
            found.setdefault((score.method, f"{group_of(score)}, {score.n_coils}"), []).append(score)
    columns = list(dict.fromkeys(column for _, column in found))
    lines = [f"| {HEADS[fields]} | {' | '.join(columns)} |", "|" + "---|" * (1 + len(columns))]
    for method in methods:
        members = [found[method, column] for column in columns]
        pairs = [
            [summarise_mean([getattr(score, field) for score in some]).mean for field in fields] for some in members
        ]
        cells = [f"{first:.2f} / {second:.3f}" for first, second in pairs]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    arguments = read_arguments()
    folder = arguments.output / f"scans_{arguments.noise:g}"
    everything: list[Score] = []
    tables: list[Table] = []
    page: list[str] = []
    baseline = arguments.baseline if arguments.baseline in arguments.model else None
    for group, paths in make_scans(folder, arguments.series, arguments.phantoms, arguments.noise).items():
        scores = judge(group, paths, arguments)
        everything += scores
        tables += [replace(table, caption=f"{group}: {table.caption}") for table in tables_of(scores, baseline, SHOWN)]
        for n_coils in sorted({score.n_coils for score in scores}):
            some = [score for score in scores if score.n_coils == n_coils]
            counts = {s: len({score.scan for score in some if score.sampling == s}) for s in arguments.undersample}
            scans = describe_counts(counts) if group == PHANTOMS else "held out"
            heading = f"**{group}, {n_coils} coil{'s' if n_coils > 1 else ''}** ({scans})"
            table = compact(some, arguments.model, arguments.undersample, arguments.baseline)
            parts = [heading, table]
            is_deep = any(METHODS[name].kind == "deep" for name in arguments.model)
            if group == PHANTOMS and baseline and is_deep and len({*counts.values()}) == 1:
                parts.append(gains(some, arguments.model, arguments.undersample, baseline))
            page.append("\n\n".join(parts))
            print(page[-1], flush=True)
    if HARDEST in arguments.undersample:
        heart = in_short(everything, arguments.model, HARDEST, HEART)
        page.append(f"**In the box around the heart, {HARDEST}**\n\n{heart}")
    if arguments.write:
        write_section("quality", "\n\n".join(page))
        few = [name for name in arguments.model if name in IN_README]
        short = in_short(everything, few, arguments.undersample[0])
        write_section("quality", short, Path(__file__).parents[1] / "README.md")
    for path in write_results(everything, arguments.output, baseline=baseline, extra_tables=tables):
        print(f"wrote {path}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, help="folder of magnitude cines, sax_mid.npz and lax_4ch.npz among them")
    parser.add_argument("--phantoms", type=int, default=len(PHANTOM_SEEDS))
    parser.add_argument("--few", type=int, help="phantoms that samplings after the first are tried on; default: all")
    parser.add_argument("--noise", type=float, default=0.01, help="noise of a sample over the image's maximum")
    parser.add_argument("--model", action="append", help="default: classical methods, and networks that have weights")
    parser.add_argument("--undersample", action="append", help=f"default: {' '.join(SAMPLINGS)}")
    parser.add_argument("--baseline", default="ktslr")
    parser.add_argument("--workers", type=int, default=1, help="0: as many as there are cores and memory for")
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/benchmarks.md, the first into README.md"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    arguments.model = arguments.model or [*(name for name in CLASSICAL if name in METHODS), *trained()]
    arguments.undersample = arguments.undersample or list(SAMPLINGS)
    return arguments


if __name__ == "__main__":
    main()
