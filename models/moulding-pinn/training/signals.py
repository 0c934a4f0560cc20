"""What the moulding package reads and gives: signals, ranges, places of the field; no torch."""

import numpy as np

RATE_HZ = 10.0
SIGNALS = (
    "phase", "cycle_seconds", "phase_seconds", "cavity_pressure", "melt_temperature",
    "mould_temperature_near", "mould_temperature_deep", "coolant_inlet_temperature",
    "coolant_outlet_temperature",
)  # fmt: skip
PHASE, CYCLE, ELAPSED, PRESSURE, MELT, NEAR, DEEP, INLET, OUTLET = range(9)
NOISE = 0.01
"""Of a temperature reading in degC: standard deviation over the reading."""
PRESSURE_NOISE_BAR = 1.5

LOW = np.array([np.log(2000.0), np.log(0.85), np.log(300.0), 0.45, 1.2, 3.3])
HIGH = np.array([np.log(14000.0), np.log(1.15), np.log(1500.0), 0.56, 5.1, 5.2])
"""Trained range of a cycle's conditions: ln coolant W/(m2 K), ln contact factor (1 is 5,000
W/(m2 K) filling and 2,500 under pressure), ln contact once lost; ends of filling, of contact under
pressure and of cooling, s."""
MELT_RANGE = (205.0, 275.0)
WATER_RANGE = (12.0, 36.0)
OPEN_RANGE = (1.85, 2.7)

FIELD_TIMES = ((0, 0.4), (0, 0.75), (0, 1.0), *((1, z / 8) for z in range(1, 9)),
               *((2, z / 4) for z in range(1, 5)))  # fmt: skip
"""Where the field is given: phase (fill, held, lost) and zeta, t = start + duration zeta²."""
PART_DEPTHS = tuple(np.linspace(0.0, 1.0, 9).tolist())
"""Over half the wall, from the mid-plane."""
STEEL_DEPTHS = (0.0, 0.25e-3, 0.5e-3, 1.0e-3, 1.5e-3, 2.5e-3, 4e-3, 6e-3, 8e-3, 11e-3, 15e-3)
"""From the cavity wall, m."""
