"""The versions of this package and of installed packages."""

from importlib.metadata import PackageNotFoundError, version

__version__ = version("cinerecon")


def installed_version(package: str) -> str:
    """The version of a package, which is not imported, or ``not installed``."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
