"""Contributions of the parts of ST-VarNet: short trainings of variants that differ in one setting, and their gains.

    python models/study.py --series FOLDER --series FOLDER -o runs/study

Each variant is trained for 250 steps on the same patches (Gaussian 8x, strips of 128 x 32, one coil in five of six),
with the same random numbers. The table has the PSNR of its initial image and of its image on patches of a subject that
was not used for training, and the time of the training. Finished trainings are not repeated.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).parent
SHORT_TRAINING = (
    *("n_steps=250", "n_warmup=20", "ema_decay=0.95", "save_every=250"),
    *("data.crops=[128x32]", "data.coils={1: 5, 4: 1}", "data.masks=[gaussian:8]", "compared_with=null"),
)
VARIANTS = {
    "as shipped": (),
    "without low rank": ("architecture.lowrank=null",),
    "low rank of the whole image": ("architecture.block_size=0",),
    "features computed again in each cascade": ("architecture.carries_features=false",),
    "from the zero-filled image": ("initial_method=null",),
    "from the view-shared image": ("initial_method={method: viewshared}",),
    "without demodulation": ("demodulate=false",),
    "root mean square as loss": ("training.loss=rmse",),
    "AdamW": ("training.optimizer=adamw", "training.learning_rate=1.0e-3"),
    "2 cascades of 3 blocks": ("architecture.n_cascades=2", "architecture.n_blocks=3"),
    "6 cascades of 1 block": ("architecture.n_cascades=6", "architecture.n_blocks=1"),
    "32 channels, 12 cascades of 2 blocks": ("architecture.n_channels=32", "architecture.n_cascades=12"),
}


def train(name: str, arguments: argparse.Namespace) -> Path:
    """Train a variant, and return its run folder."""
    run = arguments.output / name.replace(" ", "-").replace(",", "")
    if not (run / "log.csv").exists():
        command = [sys.executable, "-m", "cinerecon.cli", "train", str(MODELS / "stvarnet"), "-o", str(run)]
        command += [part for folder in arguments.series for part in ("--series", str(folder))]
        command += ["--cache", str(arguments.cache or arguments.output / "cases")]
        settings = (*(f"training.{setting}" for setting in SHORT_TRAINING), *VARIANTS[name])
        command += [part for setting in settings for part in ("--set", setting)]
        with run.with_suffix(".log").open("w", encoding="utf-8") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    return run


def row_of(name: str, run: Path) -> str:
    """The row of a variant in the table."""
    words = run.with_suffix(".log").read_text(encoding="utf-8").split()
    initial = float(words[words.index("validation") + 1])
    with (run / "log.csv").open(encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    final = float(last["validation_db"])
    return f"| {name} | {initial:.2f} | {final:.2f} | {final - initial:+.2f} | {float(last['seconds']):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="variant", help=f"default: all. {'; '.join(VARIANTS)}")
    parser.add_argument("--series", type=Path, required=True, action="append", help="measured magnitude cines (.npz)")
    parser.add_argument("--cache", type=Path, help="folder of simulated cines")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of run folders")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print("| | initial image [dB] | after 250 steps [dB] | gain [dB] | seconds |\n|---|---|---|---|---|")
    for name in arguments.variants or VARIANTS:
        print(row_of(name, train(name, arguments)), flush=True)


if __name__ == "__main__":
    main()
