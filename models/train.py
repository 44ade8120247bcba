"""Train the shipped networks, and the variants for the ablations, each with its ``model.yaml``.

    python models/train.py --series FOLDER -o runs/shipped                     # from random weights
    python models/train.py slrnet --series FOLDER -o runs/more --from models   # from the shipped weights
    python models/train.py --series FOLDER -o runs/ablations --ablations --seeds 3
    python models/train.py --series FOLDER -o runs/published --published       # of published size, on a GPU

Finished trainings are skipped, interrupted ones continue. `--jobs 2` trains two networks at a time, each on half of the
cores. Batches are the same for all networks and are drawn only once. `ship.py` then copies the weights to the folders
of their recipes; `benchmarks/ablations.py` compares the variants.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

MODELS = Path(__file__).parent
PUBLISHED, ABLATION = (MODELS / f"training-{name}.yaml" for name in ("published", "ablations"))
NETWORKS = (
    *("slrnet", "istanet", "istanet-lr", "dccnn", "dccnn-lr", "crnn", "crnn-lr"),
    *("lsnet", "t2lrnet", "jotlasnet", "passnet"),
)
"""The networks of the papers."""
VIEW_SHARED = ("initial_method={method: viewshared}", "phase_smoothing=4.0")
"""The initial image of all variants, made without a low-rank prior in a hundredth of the time of k-t SLR."""
NARROW_NETWORK = ("architecture.n_channels=8", "training.n_steps=150")
"""Settings with which a PASSNet of 17 stages can be trained on two cores."""
ABLATIONS = {
    "istanet": ("istanet", ()),  # SLR-Net without its low-rank branch
    "slrnet": ("slrnet", ()),
    "istanet-lr": ("istanet-lr", ()),
    "dccnn": ("dccnn", ()),
    "dccnn-lr-L1": ("dccnn-lr", ("architecture.lowrank.position=L1",)),
    "dccnn-lr": ("dccnn-lr", ()),  # at L2
    "dccnn-lr-L3": ("dccnn-lr", ("architecture.lowrank.position=L3",)),
    "crnn": ("crnn", ()),
    "crnn-lr": ("crnn-lr", ()),
    "passnet": ("passnet", ()),
    "passnet-relative": ("passnet", ("architecture.shrinkage=relative_soft",)),
    "passnet-addition": ("passnet", ("architecture.fusion=addition",)),
    "passnet-fixed-patches": ("passnet", ("training.data.crops=[128x32]",)),
    **{f"passnet-{n}": ("passnet", (f"architecture.n_cascades={n}", *NARROW_NETWORK)) for n in (9, 13, 15, 17)},
}
"""Model and settings of each variant, by the names in the tables of ``evaluate --table``."""
UNSCALED = ("variant", "shrinkage", "position")
"""Settings of the shipped architectures that networks of published size share; all others have published values."""


def train(name: str, seed: int, arguments: argparse.Namespace) -> bool:
    """Train one network, or continue its training; returns whether it succeeded."""
    model, settings = ABLATIONS[name] if arguments.ablations else (name, ())
    folder, recipe = arguments.output, MODELS / model / "model.yaml"
    if arguments.ablations:
        folder = folder / f"seed{seed}"
        settings = (*VIEW_SHARED, *settings)
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / name
    if arguments.published:
        recipe = write_recipe(as_published(read_recipe_values(recipe)), PUBLISHED, folder / f"{name}.yaml")
    elif arguments.ablations:
        recipe = write_recipe(read_recipe_values(recipe), ABLATION, folder / f"{name}.yaml")
    command = [sys.executable, "-m", "cinerecon.cli", "train", str(recipe), "-o", str(run)]
    command += [part for folder in arguments.series for part in ("--series", str(folder))]
    command += ["--cache", str(arguments.cache), "--workers", str(arguments.workers)]
    command += [part for setting in (f"training.seed={seed}", *settings, *arguments.set) for part in ("--set", setting)]
    if (run / "last.pt").exists():
        if (run / "done").exists():
            return True
        command.append("--resume")
    elif arguments.weights:
        command += ["--weights", str(arguments.weights / name)]
    threads = str(max(1, (os.cpu_count() or 1) // arguments.jobs))
    with (folder / f"{name}.log").open("a", encoding="utf-8") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        if subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode:
            print(f"{run}: failed, see {log.name}", flush=True)
            return False
    (run / "done").touch()
    print(f"{run}: {(run / 'log.csv').read_text(encoding='utf-8').splitlines()[-1]}", flush=True)
    return True


def read_recipe_values(recipe: Path) -> dict[str, Any]:
    """The content of a ``model.yaml``."""
    values: dict[str, Any] = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    return values


def as_published(recipe: dict[str, Any]) -> dict[str, Any]:
    """The same network in its published size, starting from the zero-filled image."""
    shipped = recipe["architecture"]
    architecture = {key: shipped[key] for key in UNSCALED if key in shipped}
    if "lowrank" in shipped:
        architecture["lowrank"] = {key: shipped["lowrank"][key] for key in UNSCALED if key in shipped["lowrank"]}
    return {"network": recipe["network"], "architecture": architecture}


def write_recipe(recipe: dict[str, Any], training: Path, path: Path) -> Path:
    """Write a recipe that refers to a file with the training, and return its path."""
    path.write_text(yaml.safe_dump({**recipe, "training": str(training.resolve())}), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="default: all shipped networks, or with --published those of papers"
    )
    parser.add_argument("--series", type=Path, required=True, action="append", help="folder of magnitude cines (.npz)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cases"), help="folder of simulated cines")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of run folders")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument("--ablations", action="store_true", help="train the variants for the ablations, briefly")
    selection.add_argument("--published", action="store_true", help="networks of published size, for a GPU")
    parser.add_argument(
        "--from", dest="weights", type=Path, metavar="FOLDER", help="folders of the weights to start from"
    )
    parser.add_argument("--jobs", type=int, default=1, help="networks to train at the same time")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant, with different random numbers")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches, for each network")
    parser.add_argument("--set", action="append", default=[], help="setting for all, e.g. training.n_steps=50000")
    arguments = parser.parse_args()
    if arguments.seeds > 1 and not arguments.ablations:
        parser.error("--seeds is for --ablations")
    default = ABLATIONS if arguments.ablations else NETWORKS if arguments.published else (*NETWORKS, "stvarnet")
    names = arguments.names or list(default)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [(name, seed) for seed in range(arguments.seeds) for name in names]
        succeeded = list(pool.map(lambda run: train(*run, arguments), runs))
    if not all(succeeded):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
