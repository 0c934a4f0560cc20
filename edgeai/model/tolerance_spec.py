"""How far outputs may be from the golden outputs, by precision."""

from pydantic import Field

from edgeai.config.base import Precision, Strict


class Tolerance(Strict):
    """The tolerance of an output a against the golden output b: |a - b| <= atol + rtol |b|."""

    rtol: float = Field(1e-4, gt=0, le=0.1, description="Relative tolerance.")
    atol: float = Field(
        1e-5, gt=0, le=10, description="Absolute tolerance, in the unit of the output."
    )


class ReducedTolerance(Strict):
    """The tolerance of a reduced precision, without defaults: the author of the model states it."""

    rtol: float = Field(gt=0, le=0.5, description="Relative tolerance.")
    atol: float = Field(gt=0, le=1e6, description="Absolute tolerance, in the unit of the output.")


class ToleranceSpec(Tolerance):
    """Tolerances by precision. `rtol` and `atol` hold for fp32 and where no other is stated."""

    fp16: ReducedTolerance | None = Field(
        None,
        description="Tolerance of model.fp16.onnx and of devices that compute in half precision. "
        "Default: that of fp32.",
    )
    int8: ReducedTolerance | None = Field(
        None,
        description="Tolerance of model.int8.onnx and of devices that compute in 8-bit integers. "
        "Default: that of fp32.",
    )

    def of(self, precision: Precision) -> Tolerance | ReducedTolerance:
        """Return the tolerance of a precision."""
        reduced = {"fp32": None, "fp16": self.fp16, "int8": self.int8}[precision]
        return self if reduced is None else reduced
