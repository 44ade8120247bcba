"""The command ``cinerecon doctor``."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from cinerecon.commands.doctor_checks import Finding

app = typer.Typer(add_completion=False)


@app.command()
def doctor() -> None:
    """Check this installation: versions, device, operators, a phantom round trip, for bug reports."""
    from cinerecon.commands.doctor_checks import examine_versions

    for finding in examine_versions():
        _print(finding)
    from cinerecon.commands.doctor_compute import examine_computation  # an import that fails follows the versions

    findings = []
    for finding in examine_computation():
        _print(finding)
        findings.append(finding)
    if any(finding.is_good is False for finding in findings):
        raise typer.Exit(1)


def _print(finding: "Finding") -> None:
    marks = {True: "ok", False: "BAD", None: "--"}
    print(f"{marks[finding.is_good]:<4}{finding.name:<10}{finding.text}", flush=True)
