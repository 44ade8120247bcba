"""Names of networks from outside the package: ``mynet.py:MyNet``, a class in a Python file."""

import re
from pathlib import Path

_NAME = re.compile(r"(?P<path>.+\.py):(?P<network>[A-Za-z_]\w*)")


def is_external(name: str) -> bool:
    """Whether the name of a network is that of a class in a file."""
    return _NAME.fullmatch(name) is not None


def code_file(name: str) -> Path:
    """The file that holds an external network."""
    return Path(name.rpartition(":")[0])


def located(name: str, folder: Path) -> str:
    """The name with the full path of its file, resolved relative to a folder; other names are unchanged."""
    if not is_external(name):
        return name
    return f"{(folder / code_file(name)).resolve()}:{name.rpartition(':')[2]}"


def portable(name: str) -> str:
    """The name without the folder of its file, for a folder that holds a copy of the code."""
    return f"{code_file(name).name}:{name.rpartition(':')[2]}" if is_external(name) else name
