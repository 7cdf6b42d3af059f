"""The volume-time curve of a heartbeat: ejection, isovolumic rest, rapid filling, diastasis, atrial kick; then again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

#: electromechanical systole is 546 - 2.1 ms a beat (Weissler, Circulation 1968;37:149; from memory); the least volume lies before
#: its end and is counted from the trigger, which comes after the Q wave
SYSTOLE, SYSTOLE_A_BEAT, BEFORE_ITS_END = 546.0, 2.1, 75.0
#: ms: pause between trigger and ejection, isovolumic relaxation, duration of rapid filling, of the atrial kick
BEFORE_EJECTION, RELAXATION, RAPID, KICK = 35.0, 65.0, 170.0, 120.0


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A heartbeat: ``heart_rate`` (1/min) and the share of the filling that is the atrial ``kick`` (0-1)."""

    heart_rate: float
    kick: float

    @property
    def length(self) -> float:
        """RR interval in ms."""
        return 60_000 / self.heart_rate

    @property
    def end_systole(self) -> float:
        """Share of the RR interval at which the volume is least."""
        return (SYSTOLE - SYSTOLE_A_BEAT * self.heart_rate - BEFORE_ITS_END) / self.length

    def contraction(self, phases: int) -> Float[np.ndarray, " t"]:
        """How far each of evenly spaced phases is from end-diastole (0, the first) to end-systole (1, the least volume seen).

        The cycle is closed: one more phase would be the first again.
        """
        curve = self.curve()(np.arange(phases) / phases)
        return np.clip(curve / curve.max(), 0, 1)

    def curve(self) -> PchipInterpolator:
        """Contraction over the share of the cycle that has passed, without overshoot (Fritsch and Carlson 1980)."""
        end, ms = self.end_systole, 1 / self.length
        left = 1 - end
        rest = min(RELAXATION * ms, 0.2 * left)
        kick = min(KICK * ms, 0.28 * left)
        rapid = min(RAPID * ms, 0.55 * (left - rest - kick))
        start = min(BEFORE_EJECTION * ms, 0.15 * end)
        knots = [
            (0.0, 0.0),
            (start, 0.015),
            (start + 0.3 * (end - start), 0.45),
            (start + 0.65 * (end - start), 0.86),
            (end - 0.02 * end, 0.995),
            (end, 1.0),
            (end + rest, 0.985),
            (end + rest + 0.5 * rapid, self.kick + 0.42 * (1 - self.kick)),
            (end + rest + rapid, self.kick + 0.1 * (1 - self.kick)),
            (1 - kick, self.kick),
            (1 - 0.5 * kick, 0.42 * self.kick),
            (1.0, 0.0),
        ]
        places, values = zip(*knots, strict=True)
        return PchipInterpolator(places, values)
