"""Which unit a value outside its range may be in, and the `scale` and `offset` that convert it."""

from collections.abc import Sequence

CELSIUS = frozenset({"degc", "°c", "c", "celsius", "deg c", "cel"})
TEMPERATURES = (("kelvin", 1.0, -273.15), ("degrees Fahrenheit", 0.555556, -17.7778))
PRESSURES = frozenset({"bar", "bara", "barg"})
OF_PRESSURE = (("mbar", 0.001), ("kPa", 0.01), ("Pa", 1e-5), ("MPa", 10.0), ("psi", 0.0689476))
POWERS = (10.0, 100.0, 1000.0, 10_000.0, 1_000_000.0)
MIDDLE = 0.01
"""A value near zero fits any range that holds zero, so it must reach this part of its end."""


def unit_remedy(signal: str, unit: str, value: float, limits: Sequence[float]) -> str:
    """Return how to convert a value that is outside its range; empty: nothing makes it fit.

    Args:
        signal: Its name.
        unit: Of the model.
        value: As it came, in the sender's unit.
        limits: (2,) of the range.
    """

    def fits(converted: float) -> bool:
        largest = max(abs(limits[0]), abs(limits[1]))
        return limits[0] <= converted <= limits[1] and abs(converted) >= MIDDLE * largest

    if unit.lower() in CELSIUS:
        for name, scale, offset in TEMPERATURES:
            if fits(value * scale + offset):
                shown = f"scale: {scale:g}, " if scale != 1 else ""
                return f"if it is in {name}, set {signal}: {{{shown}offset: {offset:g}}}"
    if unit.lower() in PRESSURES:
        for name, scale in OF_PRESSURE:
            if fits(value * scale):
                return f"if it is in {name}, set {signal}: {{scale: {scale:g}}}"
    for power in POWERS:
        for scale in (1 / power, power):
            if fits(value * scale):
                return (
                    f"if it is {power:,.0f} times too {'large' if scale < 1 else 'small'} by its "
                    f"unit, set {signal}: {{scale: {scale:g}}}"
                )
    return ""
