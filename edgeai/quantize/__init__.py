"""Create fp16 and int8 variants of a model package, for `edgeai quantize`."""

from edgeai.quantize.make import QuantizeReport, quantize
from edgeai.quantize.search import OutputError

__all__ = ["OutputError", "QuantizeReport", "quantize"]
