"""What every accelerator of a device profile has, whatever its provider."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from edgeai.config.base import Precision, Strict

MAX_BATCH_SIZES = 16
Options = dict[str, str]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
WindowShape = tuple[int, int]
"""Length and channels."""
BOOL_TEXT = {True: "1", False: "0"}


class AcceleratorConfig(Strict):
    """What every accelerator has."""

    # Built with the profile that holds it, not once more by itself: an import in half the time.
    model_config = ConfigDict(defer_build=True)

    python: str | None = Field(
        None,
        min_length=1,
        description="Interpreter of the environment that holds the runtime, from this file's "
        "folder. Default: edgeai's own.",
    )
    serving: Literal["child", "in_process"] = Field(
        "child",
        description="`child`: a crash or a hang costs one turn, which the CPU answers; "
        "`in_process`: some microseconds less, and a crash ends edgeai.",
    )
    deadline_seconds: float = Field(
        0.25, gt=0, le=60, description="A call that takes longer is a failure; the CPU answers."
    )
    start_timeout_seconds: float = Field(
        120.0, gt=0, le=7200, description="To load the model; compilers for NPUs take minutes."
    )
    memory_limit_bytes: int = Field(
        8 * 1024**3, ge=64 * 1024**2, description="Resident memory of the child."
    )
    batch_sizes: list[BatchSize] = Field(
        [1, 8, 32, 128, 512],
        min_length=1,
        max_length=MAX_BATCH_SIZES,
        description="Batches are padded up to one of these; larger ones are cut.",
    )
    variant: Precision = Field(
        "fp32", description="Which graph of the package: model.onnx, model.fp16.onnx, ..."
    )
    threads: int = Field(1, ge=1, le=256, description="Threads on the host's CPU.")
    io_binding: bool = Field(
        True, description="Bind the buffers once instead of handing them over in each call."
    )
    min_nodes_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the graph's nodes that must be on the provider; the rest may be on "
        "the CPU.",
    )

    @model_validator(mode="after")
    def _in_process_has_our_python(self) -> Self:
        if self.serving == "in_process" and self.python is not None:
            msg = "`serving: in_process` runs under edgeai's own Python: leave `python` out"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Literal["ort", "compiled"]:
        """What the child loads."""
        return "ort"

    @property
    def precision(self) -> Precision:
        """The arithmetic, which decides the tolerance."""
        return self.arithmetic_of_fp32 if self.variant == "fp32" else self.variant

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return "fp32"

    @property
    def plugin(self) -> str | None:
        """The provider plugin to load: a module or a file."""
        library: str | None = getattr(self, "library", None)
        return library

    @property
    def environment(self) -> Options:
        """Variables for the child, which a vendor's library reads when it is loaded."""
        return {}

    @property
    def device(self) -> Options:
        """Which of a plugin's devices."""
        return {}
