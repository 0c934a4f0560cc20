"""A simulated production line: physical models of machines, and their controllers.

The simulation drives the demo, produces training data for the shipped models, and injects faults in
tests. It uses no sockets, threads or clock; the seed determines every value.

`line.Line` is the line of the demo, `simulate.simulate` records one machine, and `conduction` is a
general solver for one-dimensional heat conduction.
"""

__all__: list[str] = []
