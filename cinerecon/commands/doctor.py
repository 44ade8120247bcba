"""The command ``cinerecon doctor``."""

import typer

app = typer.Typer(add_completion=False)


@app.command()
def doctor() -> None:
    """Check this installation: versions, device, operators, a phantom round trip, for bug reports."""
    from cinerecon.commands.doctor_checks import examine

    marks = {True: "ok", False: "BAD", None: "--"}
    is_well = True
    for finding in examine():
        print(f"{marks[finding.is_good]:<4}{finding.name:<10}{finding.text}", flush=True)
        is_well &= finding.is_good is not False
    if not is_well:
        raise typer.Exit(1)
