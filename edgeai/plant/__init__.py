"""A simulated production line: physical models of machines and the controllers that publish.

Everything here is a simulation. It serves the demo, trains the shipped models on healthy data and
injects faults in tests. It is pure: no sockets, no threads, no clock; a seed decides every value.

`line.Line` is the line as the demo runs it, `simulate.simulate` records one machine, and
`conduction` is a heat solver of general use.
"""

__all__: list[str] = []
