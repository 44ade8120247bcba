"""The command ``cinerecon openrecon``: ``openrecon label`` and ``openrecon package``."""

import typer

from cinerecon.commands.from_options import command
from cinerecon.commands.openrecon_options import LabelOptions, PackageOptions

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def openrecon() -> None:
    """Build an OpenRecon package from a container image: label, and archive for the scanner."""


def label(options: LabelOptions) -> None:
    """Write the label."""
    import json

    from cinerecon.commands.openrecon_label import LABEL_KEY, make_label
    from cinerecon.io.atomic import refuse_existing, write_text

    content = make_label(options)
    refuse_existing(options.output, force=options.force)
    write_text(options.output, json.dumps(content, indent=2) + "\n")
    print(f"wrote    {options.output}")
    print(f"methods  {', '.join(options.models)}")
    print(f'next     docker build --label "{LABEL_KEY}=$(base64 -w0 {options.output})" ...')


def package(options: PackageOptions) -> None:
    """Write the archive."""
    from cinerecon.commands.openrecon_package import make_package

    archive = make_package(options)
    print(f"wrote    {archive.path}")
    print(f"image    {archive.digest}")
    print(f"user     {archive.user}")


app.command("label")(command(LabelOptions, label))
app.command("package")(command(PackageOptions, package))
