"""Input signals, trained ranges and points of the field; importable without torch."""

import numpy as np

RATE_HZ = 10.0
SIGNALS = (
    "phase", "cycle_seconds", "phase_seconds", "cavity_pressure", "melt_temperature",
    "mould_temperature_near", "mould_temperature_deep", "coolant_inlet_temperature",
    "coolant_outlet_temperature",
)  # fmt: skip
PHASE, CYCLE, ELAPSED, PRESSURE, MELT, NEAR, DEEP, INLET, OUTLET = range(9)
"""Columns of the signals."""
NOISE = 0.01  # standard deviation of a temperature reading over the reading in degC
PRESSURE_NOISE_BAR = 1.5  # standard deviation of a pressure reading, beside NOISE

LOW = np.array([np.log(2000.0), np.log(0.85), np.log(300.0), 0.45, 1.2, 3.3])
HIGH = np.array([np.log(14000.0), np.log(1.15), np.log(1500.0), 0.56, 5.1, 5.2])
"""Trained range of the six conditions of a cycle:

0. ln of the coolant's heat transfer coefficient in W/(m2 K),
1. ln of the contact factor; factor 1 is 5,000 W/(m2 K) while filling, 2,500 under pressure,
2. ln of the contact coefficient after the loss of contact in W/(m2 K),
3. to 5. end of filling, loss of contact and ejection, s since the start of filling.
"""
MELT_RANGE = (205.0, 275.0)  # degC, trained
WATER_RANGE = (12.0, 36.0)  # degC, trained
OPEN_RANGE = (1.85, 2.7)  # s that the mould is open, trained

FIELD_TIMES = ((0, 0.4), (0, 0.75), (0, 1.0), *((1, z / 8) for z in range(1, 9)),
               *((2, z / 4) for z in range(1, 5)))  # fmt: skip
"""Times of the field: phase (0 fill, 1 held, 2 lost) and zeta, t = start + duration zeta²."""
PART_DEPTHS = tuple(np.linspace(0.0, 1.0, 9).tolist())
"""Depths of the field in the part, from the mid-plane, over half the wall."""
STEEL_DEPTHS = (0.0, 0.25e-3, 0.5e-3, 1.0e-3, 1.5e-3, 2.5e-3, 4e-3, 6e-3, 8e-3, 11e-3, 15e-3)
"""Depths of the field in the steel, from the cavity wall, m."""
