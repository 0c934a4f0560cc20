"""Write the CSV file of an invented press, with the faults that files from a line have.

    python examples/training/press_csv.py press.csv

It holds 3 hours at one row a second, in the local time of Korea without a zone: 2 healthy hours, a
leak of the hydraulics at 10:10, and a worn pump at 10:40. Some rows are missing, one row is there
twice, one cell is empty, and one holds a text.
"""

import math
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

START = datetime(2024, 3, 4, 8, 0)  # noqa: DTZ001  the file has local times, as many do
SECONDS = 3 * 3600
CYCLE_SECONDS = 12
LEAK_AT, WORN_AT, FAULT_SECONDS = 2 * 3600 + 600, 2 * 3600 + 2400, 600
LOST = range(1500, 1680)  # the logger was restarted


def rows() -> list[str]:
    """Return the lines of the file."""
    random.seed(20240304)
    lines = ["time,pressure,oil temperature,motor current,stroke"]
    warm = 0.0
    for second in range(SECONDS):
        warm = 0.998 * warm + random.gauss(0.0, 0.05)
        phase = 2 * math.pi * second / CYCLE_SECONDS
        leak = min(1.0, max(0.0, second - LEAK_AT) / 60) * (second < LEAK_AT + FAULT_SECONDS)
        worn = min(1.0, max(0.0, second - WORN_AT) / 60) * (second < WORN_AT + FAULT_SECONDS)
        pressure = 120 + 30 * math.sin(phase) - 25 * leak + random.gauss(0.0, 0.8)
        oil = 46 + warm + 0.02 * (pressure - 120) + 3 * worn + random.gauss(0.0, 0.1)
        current = 8 + 2 * math.sin(phase + 0.4) + 1.5 * worn + 0.02 * warm + random.gauss(0.0, 0.1)
        stroke = 250 + 240 * math.sin(phase - 0.9) + random.gauss(0.0, 1.0)
        at = START + timedelta(seconds=second)
        if second not in LOST:
            lines.append(f"{at},{pressure:.2f},{oil:.2f},{current:.3f},{stroke:.1f}")
    lines.insert(501, lines[500])  # sent twice
    lines[1000] = lines[1000].replace(lines[1000].split(",")[1], "Bad", 1)
    cells = lines[4000].split(",")
    lines[4000] = ",".join([*cells[:3], "", cells[4]])
    return lines


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(rows()) + "\n", encoding="utf-8")
