"""Checks of properties, reference data, and counted calls."""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cinerecon.cli import main
from cinerecon.physics.operators import Encoding

DATA = Path(__file__).resolve().parent / "data"
"""Test data that is part of the repository, see its README."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared"
"""Reference data outside of the repository: measured series, published weights, more files of other programs."""

UNUSED_PID = 2**31 - 2
"""Number of no process."""


@cache
def formats_folder() -> Path:
    """The folder of raw files written by other programs: all files if they are available, otherwise those in `DATA`.

    The archive is unpacked into the temporary folder, once per user and version.
    """
    if (SHARED_DATA / "formats").is_dir():
        return SHARED_DATA / "formats"
    archive = DATA / "formats.tar.xz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"cinerecon-test-formats-{digest}"
    if not folder.is_dir():
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        try:
            partial.rename(folder)
        except OSError:  # another test process was faster
            shutil.rmtree(partial)
    return folder / "formats"


def complex_randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Seeded complex Gaussian numbers."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_mask(data, mask):
    """The data as if only the samples of a mask had been measured."""
    return replace(data, kspace=data.kspace * mask, mask=mask)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected||."""
    return float((torch.linalg.vector_norm(actual - expected) / torch.linalg.vector_norm(expected)).detach())


def assert_adjoint(operator: Encoding, x: Tensor, y: Tensor, tolerance: float = 1e-10) -> None:
    """Check that <A x, y> = <x, A^H y>, and that `normal` equals `adjoint` after `forward`."""
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    assert forward.shape == y.shape
    assert adjoint.shape == x.shape
    left, right = torch.vdot(forward.ravel(), y.ravel()), torch.vdot(x.ravel(), adjoint.ravel())
    assert abs(left - right) <= tolerance * max(abs(left), abs(right), 1e-30)
    assert relative_error(operator.normal(x), operator.adjoint(forward)) <= tolerance


def call_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line with these arguments, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["cinerecon", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@contextmanager
def counted(*functions):
    """Count the calls of functions, given as module and name, inside the block."""
    counts = Counter()

    def count(name, original):
        def call(*arguments, **options):
            counts[name] += 1
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in functions:
            patch.setattr(module, name, count(name, getattr(module, name)))
        yield counts
