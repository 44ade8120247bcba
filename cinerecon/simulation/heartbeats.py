"""Heartbeats of variable length with ectopic beats: R waves, cardiac phase over time, and ECG.

R-R intervals vary with breathing (respiratory sinus arrhythmia) and at random. An ectopic beat is premature: it
shortens the diastole of the preceding beat, its contraction is weak, and it is followed by a compensatory pause, so
that the next regular R wave occurs at the same time as without the ectopic beat.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.physics.cardiac_cycle import cardiac_phase, systole_ms

BREATHING_MS = 4000.0
"""Period of the respiratory sinus arrhythmia [ms]."""
BREATHING_PART = 0.6
"""Fraction of the R-R variation that follows breathing; the remainder is random."""
EARLIEST, LATEST = 0.55, 0.7
"""Range of the time of an ectopic beat, as a fraction of the regular R-R interval."""
WEAK_CONTRACTION = 0.6
"""Fraction of systole that the contraction of an ectopic beat reaches before the heart relaxes."""
SYSTOLE_SPREAD = 0.08
"""Largest relative difference of a subject's systole from the mean of all subjects."""

ECG_STEP_MS = 2.5
"""Sampling interval of the ECG [ms]."""
ECG_LEADS = (1.0, 0.7, -0.4, 0.5)
"""Amplitude of the four leads relative to the first."""
ECG_BASELINE, ECG_AMPLITUDE, ECG_NOISE, ECG_WANDER = 2048.0, 600.0, 15.0, 80.0
"""Zero level, height of an R wave, noise and wander of the baseline [digits]."""
TRIGGER_LEVEL = 16384
"""Value of the trigger channel at an R wave."""


@dataclass(frozen=True)
class Beat:
    """The interval from one R wave to the next.

    Attributes
    ----------
    start_ms
        Time of its R wave [ms].
    rr_ms
        Time to the next R wave [ms].
    regular_ms
        Time to the next regular R wave, without an ectopic beat [ms].
    is_ectopic
        Whether its R wave is that of an ectopic beat.
    """

    start_ms: float
    rr_ms: float
    regular_ms: float
    is_ectopic: bool = False

    @property
    def end_ms(self) -> float:
        """Time of the next R wave [ms]."""
        return self.start_ms + self.rr_ms

    @property
    def is_regular(self) -> bool:
        """Whether the beat is neither ectopic nor shortened by an ectopic beat."""
        return self.rr_ms == self.regular_ms and not self.is_ectopic


@dataclass(frozen=True)
class Rhythm:
    """A heart rhythm, and the cardiac phase as a function of time in its beats.

    Attributes
    ----------
    mean_ms
        Mean R-R interval of regular beats [ms].
    variation
        Largest relative difference of a regular R-R interval from the mean.
    ectopic
        Fraction of the beats that are ectopic.
    systole_factor
        Duration of systole relative to the mean of all subjects.
    pace
        Factor for all R-R intervals, such that the beats of a short scan have the specified mean.
    """

    mean_ms: float
    variation: float = 0.0
    ectopic: float = 0.0
    systole_factor: float = 1.0
    pace: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator, mean_ms: float, variation: float, ectopic: float) -> "Rhythm":
        """Draw the rhythm of a random subject."""
        return cls(mean_ms, variation, ectopic, float(rng.uniform(1 - SYSTOLE_SPREAD, 1 + SYSTOLE_SPREAD)))

    def beats(self, rng: np.random.Generator) -> Iterator[Beat]:
        """An endless sequence of beats from time 0; the first one is regular."""
        time, offset = 0.0, rng.uniform(0, 2 * np.pi)
        probability = self.ectopic / (1 - self.ectopic)
        while True:
            breathing = np.sin(2 * np.pi * time / (self.pace * BREATHING_MS) + offset)
            change = BREATHING_PART * breathing + (1 - BREATHING_PART) * rng.uniform(-1, 1)
            regular = self.pace * self.mean_ms * (1 + self.variation * change)
            if rng.random() < probability:
                early = regular * rng.uniform(EARLIEST, LATEST)
                yield Beat(time, early, regular)
                yield Beat(time + early, 2 * regular - early, regular, is_ectopic=True)
                time += 2 * regular
            else:
                yield Beat(time, regular, regular)
                time += regular

    @property
    def end_systole(self) -> float:
        """Cardiac phase at which systole ends."""
        return self.systole_factor * systole_ms(self.mean_ms) / self.mean_ms

    def phase(self, beat: Beat, since_r_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cardiac phase, 0 to 1, at times since the R wave of a beat; motion depends only on the cardiac phase."""
        systole = self.systole_factor * systole_ms(beat.regular_ms)
        if not beat.is_ectopic:
            return cardiac_phase(since_r_ms, beat.regular_ms, systole, self.end_systole)
        contraction = np.sin(np.pi * np.minimum(since_r_ms / systole, 1.0)) ** 2
        return WEAK_CONTRACTION * self.end_systole * contraction


def draw_ecg(rng: np.random.Generator, beats: Sequence[Beat], systole_factor: float) -> NDArray[np.uint32]:
    """The ECG of consecutive beats, four leads and a trigger channel, ``(channels, samples)`` in steps of 2.5 ms.

    The first beat is at time 0; T waves are at the end of systole.
    """
    time = np.arange(0.0, beats[-1].end_ms, ECG_STEP_MS)
    signal, triggers = np.zeros(len(time)), np.zeros(len(time), np.uint32)
    for beat in beats:
        end = systole_factor * systole_ms(beat.regular_ms)
        for delay_ms, width_ms, height in _waves(end, is_ectopic=beat.is_ectopic):
            signal += height * np.exp(-0.5 * ((time - beat.start_ms - delay_ms) / width_ms) ** 2)
        triggers[min(round(beat.start_ms / ECG_STEP_MS), len(time) - 1)] = TRIGGER_LEVEL
    wander = ECG_WANDER * np.sin(2 * np.pi * time / BREATHING_MS + rng.uniform(0, 2 * np.pi))
    leads = np.array(ECG_LEADS)[:, None] * (ECG_AMPLITUDE * signal) + wander
    leads = ECG_BASELINE + leads + rng.normal(0, ECG_NOISE, leads.shape)
    return np.concatenate([np.round(leads).clip(0, 4095).astype(np.uint32), triggers[None]])


def _waves(end_systole_ms: float, *, is_ectopic: bool) -> list[tuple[float, float, float]]:
    """Delay after the R wave [ms], width [ms] and height of each wave; ectopic beats are wide and have no P wave."""
    if is_ectopic:
        return [(0.0, 28.0, 1.1), (60.0, 25.0, -0.4), (end_systole_ms - 60.0, 50.0, -0.35)]
    p_wave, q_wave, s_wave = (-160.0, 22.0, 0.12), (-22.0, 7.0, -0.12), (22.0, 8.0, -0.25)
    return [p_wave, q_wave, (0.0, 9.0, 1.0), s_wave, (end_systole_ms - 60.0, 40.0, 0.28)]
