"""The command ``cinerecon models``."""


def models() -> None:
    """List the methods that --model takes, with their trained weights."""
    from rich.console import Console
    from rich.table import Table

    from cinerecon.workflows.models import list_models

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (("name", "left"), ("kind", "left"), ("parameters", "right"), ("summary", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for entry in list_models():
        parameters = "" if entry.n_parameters is None else f"{entry.n_parameters:,}"
        if entry.kind == "deep" and entry.weights is None:
            parameters = "not trained"
        table.add_row(entry.name, entry.kind, parameters, entry.summary)
    Console().print(table)
