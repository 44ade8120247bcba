"""Detection of R waves in the ECG of a scan.

The detector follows Pan and Tompkins, A real-time QRS detection algorithm (1985), 10.1109/TBME.1985.325532: band-pass
filter, slope, squaring, moving average, and thresholds that follow the amplitudes of QRS complexes and noise.

Departs from the paper in: zero-phase filters, since the whole recording is available; all leads, each scaled by its
noise; half the threshold in the search back for missed beats; and the R wave is the maximum of the filtered leads,
which the shape of ectopic beats shifts by a few ms. The triggers of the scanner replace the R waves of disturbed leads.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.gating.clock import Clock, unwrap
from cinerecon.io.ismrmrd.waveforms import Waveform, ecg_of

Numbers = NDArray[np.float64]

SHORTEST_RR_MS = 200.0
"""Shortest interval between two R waves [ms], the refractory period."""

QRS_BAND_HZ = (5.0, 15.0)
"""Pass band of the filter for QRS complexes [Hz]."""
QRS_WIDTH_MS = 150.0
"""Window of the moving average [ms]."""
T_WAVE_MS, T_WAVE = 360.0, 0.5
"""A peak within this time after a QRS complex [ms], with less than this fraction of its energy, is a T wave."""
SEARCH_BACK = 1.66
"""Ratio of an interval to the mean of the preceding intervals above which it is searched for a weaker QRS complex."""
N_RECENT = 8
"""Number of intervals in this mean."""
IRREGULAR, MORE_REGULAR = 0.35, 0.1
"""Relative difference from the median above which an interval is irregular, and difference between the fractions of
irregular intervals above which the triggers of the scanner are more reliable than the leads."""


def r_waves_of_ecg(waveforms: Sequence[Waveform], clock: Clock) -> Numbers:
    """R waves in the ECG of a scan, ``(beats,)`` [ms], on the time axis of the readouts; empty without an ECG."""
    waveforms = ecg_of(waveforms)
    if not waveforms:
        return np.empty(0)
    starts_ms = _starts_ms(waveforms, clock)
    order = np.argsort(starts_ms, kind="stable")
    step_ms = 1e-3 * float(np.median([block.sample_time_us for block in waveforms]))
    n_channels = min(len(block.values) for block in waveforms)
    waves: list[Numbers] = []
    for group in _continuous(order, starts_ms, waveforms, step_ms):
        signal = np.concatenate([waveforms[i].values[:n_channels] for i in group], axis=1).astype(np.float64)
        waves.append(starts_ms[group[0]] + detect_r_waves(signal, step_ms))
    return np.concatenate(waves)


def _starts_ms(waveforms: Sequence[Waveform], clock: Clock) -> Numbers:
    """Time of the first sample of each block [ms], on the time axis of the readouts."""
    stamps = unwrap(np.array([clock.origin, *(block.time_stamp for block in waveforms)], np.int64))[1:]
    return (stamps - clock.origin).astype(np.float64) * clock.tick_ms


def ecg_interval_ms(waveforms: Sequence[Waveform], clock: Clock) -> tuple[float, float]:
    """Start and end of the ECG of a scan [ms], on the time axis of the readouts; both 0 without an ECG."""
    waveforms = ecg_of(waveforms)
    if not waveforms:
        return 0.0, 0.0
    starts_ms = _starts_ms(waveforms, clock)
    lengths_ms = np.array([1e-3 * block.sample_time_us * block.values.shape[1] for block in waveforms])
    return float(starts_ms.min()), float((starts_ms + lengths_ms).max())


def _continuous(
    order: NDArray[np.intp], starts_ms: Numbers, waveforms: Sequence[Waveform], step_ms: float
) -> list[list[int]]:
    """Groups of consecutive blocks without gaps."""
    groups: list[list[int]] = []
    end_ms = -np.inf
    for i in map(int, order):
        if abs(starts_ms[i] - end_ms) <= max(4 * step_ms, 10.0):
            groups[-1].append(i)
        elif starts_ms[i] > end_ms:
            groups.append([i])
        else:
            continue  # block stored twice
        end_ms = starts_ms[i] + waveforms[i].values.shape[1] * step_ms
    return groups


def detect_r_waves(ecg: Numbers, step_ms: float) -> Numbers:
    """Detect the R waves of an ECG.

    Parameters
    ----------
    ecg
        ``(channels, samples)`` leads and trigger channels; triggers are used if there are no leads, or if their
        intervals are clearly more regular.
    step_ms
        Time between samples [ms].

    Returns
    -------
    ``(beats,)`` time of each R wave since the first sample [ms].
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    is_lead = np.array([len(np.unique(channel)) > 8 for channel in ecg], bool)
    if ecg.shape[1] * step_ms < 2 * SHORTEST_RR_MS:
        return np.empty(0)
    if not is_lead.any():
        return _triggers(ecg) * step_ms
    sections = butter(2, QRS_BAND_HZ, "bandpass", fs=1e3 / step_ms, output="sos")
    leads = sosfiltfilt(sections, np.stack([_signed(lead) for lead in ecg[is_lead]]), axis=1, padtype="even")
    leads = leads / np.maximum(np.median(np.abs(leads), axis=1, keepdims=True), 1e-9)
    slope = np.gradient(leads, axis=1)
    energy = uniform_filter1d((slope**2).sum(0), max(round(QRS_WIDTH_MS / step_ms), 1))
    peaks = _qrs_complexes(energy, step_ms)
    strength, half = (leads**2).sum(0), max(round(0.5 * QRS_WIDTH_MS / step_ms), 1)
    r_waves = [max(peak - half, 0) + int(strength[max(peak - half, 0) : peak + half + 1].argmax()) for peak in peaks]
    found = np.array(r_waves, np.float64)
    triggers = _triggers(ecg[~is_lead])
    is_disturbed = _irregularity(triggers) < _irregularity(found) - MORE_REGULAR
    return (triggers if is_disturbed else found) * step_ms


def _signed(lead: Numbers) -> Numbers:
    """A lead without the jumps of negative samples that were stored as unsigned integers with 32 or 16 bits."""
    for modulus in (2.0**32, 2.0**16):
        if modulus / 2 <= lead.max() < modulus:
            signed = (lead + modulus / 2) % modulus - modulus / 2
            return signed if np.abs(np.diff(signed)).sum() < np.abs(np.diff(lead)).sum() else lead
    return lead


def _irregularity(r_waves: Numbers) -> float:
    """Fraction of irregular intervals; 1 with fewer than two intervals."""
    intervals = np.diff(r_waves)
    return float((np.abs(intervals / np.median(intervals) - 1) > IRREGULAR).mean()) if len(intervals) > 1 else 1.0


def _triggers(channels: Numbers) -> Numbers:
    """Samples at which a trigger channel leaves its baseline; empty without channels."""
    if not len(channels):
        return np.empty(0)
    baseline = np.median(channels, axis=1, keepdims=True)
    is_high = (channels != baseline).any(0)
    return np.flatnonzero(is_high & ~np.concatenate([[False], is_high[:-1]])).astype(np.float64)


def _qrs_complexes(energy: Numbers, step_ms: float) -> list[int]:
    """Peaks of the energy that are QRS complexes, detected with thresholds that adapt to signal and noise."""
    from scipy.signal import find_peaks

    bounded = np.pad(energy, 1)  # so that a QRS complex at the start of the recording is a peak
    peaks = find_peaks(bounded, distance=max(round(SHORTEST_RR_MS / step_ms), 1))[0] - 1
    if peaks.size == 0:
        return []
    n_start = max(round(3000.0 / step_ms), 1)
    signal, noise = 0.5 * float(energy[:n_start].max()), float(np.median(energy[:n_start]))
    complexes: list[int] = []
    for number, peak in enumerate(peaks):
        threshold = noise + 0.25 * (signal - noise)
        is_t_wave = (
            bool(complexes)
            and (peak - complexes[-1]) * step_ms < T_WAVE_MS
            and energy[peak] < T_WAVE * energy[complexes[-1]]
        )
        if energy[peak] < threshold or is_t_wave:
            noise = 0.875 * noise + 0.125 * float(energy[peak])
            continue
        missed = _search_back(complexes, peaks[:number], int(peak), energy, 0.5 * threshold)
        complexes += [*missed, int(peak)]
        signal = 0.875 * signal + 0.125 * float(min(energy[peak], 4 * signal))
    return complexes


def _search_back(
    complexes: list[int], earlier: NDArray[np.intp], peak: int, energy: Numbers, threshold: float
) -> list[int]:
    """The strongest peak of a long interval without a QRS complex, if it exceeds a threshold."""
    if len(complexes) < 3:
        return []
    usual = float(np.mean(np.diff(complexes[-N_RECENT:])))
    between = earlier[(earlier > complexes[-1] + 0.45 * usual) & (earlier < peak - 0.4 * usual)]
    if peak - complexes[-1] < SEARCH_BACK * usual or between.size == 0:
        return []
    best = int(between[energy[between].argmax()])
    return [best] if energy[best] > threshold else []
