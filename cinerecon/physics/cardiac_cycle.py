"""The cardiac phase at a time since the R wave, where systole and diastole scale differently with the R-R interval.

At higher heart rates, electromechanical systole shortens much less than the R-R interval: QS2 = 546 ms - 2.1 ms x rate
(per minute; Weissler, Harris and Schoenfeld, Circulation 1968, 10.1161/01.CIR.37.2.149). A cardiac phase is therefore
proportional to time within systole and within diastole, with two different factors.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SYSTOLE_AT_REST_MS, SYSTOLE_PER_RATE_MS = 546.0, 2.1
"""Duration of systole at a heart rate of 0, and its decrease with each beat per minute [ms]."""
SHORTEST_SYSTOLE, LONGEST_SYSTOLE = 0.2, 0.6
"""Range of systole as a fraction of the R-R interval; the regression was measured at 45 to 120 beats per minute."""

F = TypeVar("F", float, NDArray[np.float64])


def systole_ms(rr_ms: F) -> F:
    """Duration of systole in a beat of a given length, both [ms]."""
    duration = SYSTOLE_AT_REST_MS - SYSTOLE_PER_RATE_MS * 60_000.0 / rr_ms
    limited = np.clip(duration, SHORTEST_SYSTOLE * rr_ms, LONGEST_SYSTOLE * rr_ms)
    return limited if isinstance(rr_ms, np.ndarray) else float(limited)


def cardiac_phase(since_r_ms: NDArray[np.float64], rr_ms: F, systole: F, end_systole: float) -> NDArray[np.float64]:
    """Map times since the R wave to the cardiac phase of a mean beat, scaling systole and diastole separately.

    Parameters
    ----------
    since_r_ms
        ``(readouts,)`` time since the R wave [ms].
    rr_ms
        Length of the beat of each readout, or of all beats [ms].
    systole
        Duration of systole in these beats [ms].
    end_systole
        Cardiac phase at which systole ends in the mean beat, 0 to 1.

    Returns
    -------
    ``(readouts,)`` phase, 0 at the R wave and 1 at the next one.
    """
    in_systole = end_systole * since_r_ms / systole
    in_diastole = end_systole + (1 - end_systole) * (since_r_ms - systole) / (rr_ms - systole)
    return np.where(since_r_ms < systole, in_systole, in_diastole)
