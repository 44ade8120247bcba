"""The command ``cinerecon evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cinerecon.workflows.evaluate import Score


def evaluate(
    scans: Annotated[list[Path], typer.Argument(help="Fully sampled scans, prepared cases, or folders of them.")],
    model: Annotated[list[str], typer.Option("--model", "-m", help="May be repeated.")],
    undersample: Annotated[list[str], typer.Option(help="Sampling pattern, e.g. gaussian:8; may be repeated.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for scores.csv, summary.json.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling patterns.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Setting for every method, key=value.")] = None,
) -> None:
    """Undersample full scans, reconstruct them with each method, and compare with the truth."""
    from rich.console import Console

    from cinerecon.workflows.evaluate import evaluate as run
    from cinerecon.workflows.evaluate import summarise, write_scores

    console = Console(stderr=True, highlight=False)

    def report(score: "Score") -> None:
        case = f"{score.scan} slice {score.slice}, {score.n_coils} coils, {score.sampling}, {score.method}"
        console.print(f"{case}: PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.4f}, {score.seconds:.1f} s")

    scores = run(scans, model, undersample, seed=seed, device=device, settings=tuple(setting or ()), report=report)
    print("| method | sampling | coils | slices | PSNR [dB] | SSIM | seconds a slice |")
    print("|---|---|---|---|---|---|---|")
    for s in summarise(scores):
        quality = f"{s.psnr:.2f} ± {s.psnr_sd:.2f} | {s.ssim:.4f} ± {s.ssim_sd:.4f}"
        print(f"| {s.method} | {s.sampling} | {s.n_coils} | {s.n_slices} | {quality} | {s.seconds:.1f} |")
    for text in sorted({score.marks for score in scores} - {""}):
        n = len({(score.scan, score.slice) for score in scores if score.marks == text})
        console.print(f"warning  {n} slices are marked: {text}")
    for path in write_scores(scores, output) if output else []:
        print(f"wrote    {path}")
