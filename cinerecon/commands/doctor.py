"""The command ``cinerecon doctor``."""

import platform
from collections.abc import Iterator

import typer

from cinerecon.version import installed_version

PACKAGES = ("cinerecon", "torch", "numpy", "h5py", "ismrmrd", "sigpy", "pydantic", "nibabel", "pydicom", "pillow")

app = typer.Typer(add_completion=False)


@app.command()
def doctor() -> None:
    """Check the installation, e.g. for bug reports: versions, device, operators, reconstruction of a phantom."""
    for name, text in examine_versions():
        _print(name, text, None)
    # imported after the versions are printed, since this import may fail
    from cinerecon.commands.doctor_compute import examine_computation

    results = []
    for name, text, is_good in examine_computation():
        _print(name, text, is_good)
        results.append(is_good)
    if False in results:
        raise typer.Exit(1)


def examine_versions() -> Iterator[tuple[str, str]]:
    """Yield name and text of a line: Python with its platform, and the packages, which are not imported."""
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "packages", ", ".join(f"{name} {installed_version(name)}" for name in PACKAGES)


def _print(name: str, text: str, is_good: bool | None) -> None:
    marks = {True: "ok", False: "FAIL", None: "--"}
    print(f"{marks[is_good]:<5}{name:<10}{text}", flush=True)
