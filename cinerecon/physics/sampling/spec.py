"""Specification of sampling patterns as strings: ``gaussian:8,acs=4``, ``radial:16``, ``equispaced:8,acs=24``.

The number after the name is the nominal acceleration; for ``radial``, it is the number of spokes, as in the literature.
It is followed by options with a value (``acs``, number of fully sampled central lines) or without a value.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cinerecon.errors import ConfigError, FileError, nearest_name
from cinerecon.io.checksums import hash_file
from cinerecon.io.mask import MaskFile
from cinerecon.physics.sampling import golden_ratio, lines, points, poisson_disc
from cinerecon.physics.sampling.drawing import Flags, MaskRequest, make_rng, require_whole
from cinerecon.physics.sampling.golden_ratio import Lines
from cinerecon.physics.sampling.measure import SamplingKind
from cinerecon.physics.sampling.vista import vista


@dataclass(frozen=True)
class Pattern:
    """A pattern: the function that draws it, and its options.

    Attributes
    ----------
    draw
        Draws ``(frames, ky)`` or ``(frames, ky, kx)``.
    kind
        The kind of sampling without further options.
    n_acs
        Default number of central lines; None if the pattern has no central lines.
    flags
        Options without a value, in addition to ``fixed``, which uses one draw for all frames.
    order
        Draws the lines in temporal order, ``(frames, lines)``, if the pattern has an order.
    """

    draw: Callable[[Generator, MaskRequest], Flags]
    kind: SamplingKind = "changing lines"
    n_acs: int | None = None
    flags: tuple[str, ...] = ()
    order: Callable[[Generator, MaskRequest], Lines] | None = None

    @property
    def options(self) -> list[str]:
        """The names of all options."""
        return ["fixed", *self.flags, *([] if self.n_acs is None else ["acs"])]


PATTERNS: dict[str, Pattern] = {
    "full": Pattern(lines.full, "same lines"),
    "gaussian": Pattern(lines.gaussian, n_acs=4),
    "kt-gaussian": Pattern(lines.kt_gaussian, n_acs=16),
    "uniform": Pattern(lines.uniform, n_acs=4),
    "vds-ky": Pattern(lines.vds),
    "equispaced": Pattern(lines.equispaced, "same lines", n_acs=24, flags=("adjusted", "shifted")),
    "kt-equispaced": Pattern(lines.kt_equispaced, n_acs=0),
    "golden": Pattern(golden_ratio.golden, n_acs=0),
    "gro": Pattern(golden_ratio.gro, n_acs=0),
    "cava": Pattern(golden_ratio.cava, order=golden_ratio.cava_order),
    "vista": Pattern(vista, n_acs=0),
    "poisson": Pattern(poisson_disc.poisson_lines, n_acs=0),
    "radial": Pattern(points.radial, "points"),
    "kt-radial": Pattern(points.kt_radial, "points", n_acs=16),
    "vds": Pattern(points.vds, "points"),
    "poisson-2d": Pattern(poisson_disc.poisson_points, "points"),
    "uniform-2d": Pattern(points.uniform, "points"),
}


@dataclass(frozen=True)
class MaskSpec:
    """A sampling pattern with its settings, before the sizes of the scan are known.

    Attributes
    ----------
    pattern
        Name of the pattern, a key of `PATTERNS`.
    acceleration
        Nominal acceleration; the number of spokes for ``radial``.
    n_acs
        Number of fully sampled central ky lines; None means the default of the pattern.
    flags
        Options without a value.

    Raises
    ------
    ConfigError
        If the name or an option is unknown, or a number is out of range.
    """

    pattern: str
    acceleration: float
    n_acs: int | None = None
    flags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ConfigError(f"unknown sampling pattern '{self.pattern}'", hint=_hint_for(str(self.pattern), ""))
        known, hint = PATTERNS[self.pattern].options, _example(self.pattern)
        for option in (*self.flags, *["acs"] * (self.n_acs is not None)):
            if option not in known:
                raise ConfigError(f"'{self.pattern}' has no option '{option}'", hint=nearest_name(option, known))
        if not isinstance(self.acceleration, int | float):
            raise ConfigError(f"the acceleration is {self.acceleration!r}, expected a number", hint=hint)
        if not 1 <= self.acceleration < float("inf") or (self.n_acs is not None and self.n_acs < 0):
            raise ConfigError(f"'{self}': the acceleration must be at least 1 and acs at least 0", hint=hint)
        if self.pattern == "full" and self.acceleration != 1:
            raise ConfigError(f"'{self}': the acceleration of full is 1")
        if self.pattern == "radial" and not float(self.acceleration).is_integer():
            raise ConfigError(f"'{self}': the number for radial is the number of spokes")

    def __str__(self) -> str:
        """The string from which `parse_mask` creates this object."""
        acs = [] if self.n_acs is None else [f"acs={self.n_acs}"]
        number = self.acceleration
        short = f"{number:g}" if float(f"{number:g}") == number else repr(number)
        return ",".join([f"{self.pattern}:{short}", *acs, *sorted(self.flags)])

    @property
    def kind(self) -> SamplingKind:
        """Whether single points or lines are sampled, and whether the lines change from frame to frame."""
        kind = PATTERNS[self.pattern].kind
        if kind == "points":
            return kind
        if "fixed" in self.flags:
            return "same lines"
        return "changing lines" if "shifted" in self.flags else kind

    @property
    def samples_whole_readouts(self) -> bool:
        """Whether the mask is the same for every kx, as a Cartesian scanner acquires it."""
        return self.kind != "points"

    def draw(self, n_frames: int, ky: int, kx: int, seed: int | Generator = 0) -> Flags:
        """Draw a mask ``(frames, 1, ky, kx or 1)`` bool.

        Raises
        ------
        ConfigError
            If the pattern does not fit the matrix, e.g. more central lines than lines.
        """
        request = self._request(n_frames, ky, kx)
        drawn = PATTERNS[self.pattern].draw(make_rng(seed), request).reshape(request.n_frames, 1, ky, -1)
        return np.asarray(drawn.repeat(n_frames // request.n_frames, axis=0))

    def line_order(self, n_frames: int, ky: int, seed: int | Generator = 0) -> Lines | None:
        """Lines of the mask with the same seed in temporal order, ``(frames, lines)``; None if it has no order.

        Raises
        ------
        ConfigError
            If the pattern does not fit the matrix.
        """
        order = PATTERNS[self.pattern].order
        if order is None:
            return None
        request = self._request(n_frames, ky, 1)
        return order(make_rng(seed), request).repeat(n_frames // request.n_frames, axis=0)

    def _request(self, n_frames: int, ky: int, kx: int) -> MaskRequest:
        """Create the drawing request, with one frame if the mask is the same for all frames."""
        for name, size in (("n_frames", n_frames), ("ky", ky), ("kx", kx)):
            require_whole(name, size, 1, str(self))
        n_acs = (PATTERNS[self.pattern].n_acs or 0) if self.n_acs is None else self.n_acs
        if n_acs > ky:
            raise ConfigError(f"{n_acs} central lines of {ky}", where=str(self), hint="a smaller acs")
        return MaskRequest(1 if "fixed" in self.flags else n_frames, ky, kx, self.acceleration, n_acs, self.flags)


def parse_mask(text: str) -> MaskSpec:
    """Parse a string of the form ``name:acceleration[,acs=lines][,flag]``.

    Raises
    ------
    ConfigError
        If the string does not have this form, or the name or an option is unknown.
    """
    if not isinstance(text, str):
        raise ConfigError(
            f"a sampling pattern must be a string, found {text!r}", hint=f"write e.g. {_example('gaussian')}"
        )
    head, *options = (part.strip() for part in text.split(","))
    name, _, number = head.partition(":")
    if name not in PATTERNS:
        raise ConfigError(f"unknown sampling pattern '{name}'", where=text, hint=_hint_for(name, number))
    known, n_acs = PATTERNS[name].options, None
    flags = set()
    try:
        acceleration = 1.0 if head == "full" else float(number)
        for option in options:
            key, sign, value = option.partition("=")
            if key not in known:
                raise ConfigError(f"'{name}' has no option '{key}'", where=text, hint=nearest_name(key, known))
            if (key == "acs") != bool(sign):
                raise ValueError
            if key == "acs":
                n_acs = int(value)
            else:
                flags.add(key)
    except ValueError:
        what = f"'{text}' is not of the form NAME:NUMBER or NAME:NUMBER,OPTION,..."
        raise ConfigError(what, hint=f"write e.g. {_example(name)}") from None
    return MaskSpec(name, acceleration, n_acs, frozenset(flags))


def _example(name: str) -> str:
    """An example of the specification of a pattern."""
    if name == "full":
        return name
    options = ",acs=4" if PATTERNS[name].n_acs is not None else ""
    return f"{name}:{16 if name == 'radial' else 8}{options}"


def _hint_for(name: str, number: str) -> str:
    """A hint for an unknown name; if a number follows it directly, the colon is missing."""
    match = re.fullmatch(r"(.*?)[ =x_]?(\d+(?:\.\d+)?)x?", name)
    if match and not number and match[1] in PATTERNS:
        return f"write {match[1]}:{match[2]}"
    return nearest_name(name, list(PATTERNS))


Sampling = MaskSpec | MaskFile
"""A pattern, or a mask in a file; both have a method ``draw(n_frames, ky, kx, seed)``."""


def parse_sampling(text: str) -> Sampling:
    """Parse the specification of a sampling pattern, ``gaussian:8,acs=4``, or the name of a mask file, ``vista.mat``.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    return (MaskFile.parse(text) if isinstance(text, str) else None) or parse_mask(text)


def fingerprint_pattern(pattern: str) -> str:
    """Fingerprint of a pattern: its specification and, for a mask in a file, the hash of the file.

    Raises
    ------
    ConfigError
        If it is neither.
    FileError
        If there is no such file.
    """
    parsed = parse_sampling(pattern)
    if not isinstance(parsed, MaskFile):
        return pattern
    if not parsed.path.is_file():
        hint = f"cinerecon mask gaussian:8 -o {parsed.path}, with --frames, --ky and --kx of the scan"
        raise FileError("there is no such mask", where=pattern, hint=hint)
    return pattern + hash_file(parsed.path)
