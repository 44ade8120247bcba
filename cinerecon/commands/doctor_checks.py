"""Report the versions of this installation, which loads none of the packages."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("cinerecon", "torch", "numpy", "h5py", "ismrmrd", "sigpy", "pydantic", "nibabel", "pydicom", "pillow")


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``is_good`` is None where there is nothing to judge."""

    name: str
    text: str
    is_good: bool | None = None


def examine_versions() -> Iterator[Finding]:
    """Yield Python with its platform, and the installed packages."""
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
