"""The keys that every accelerator of a device profile has, whatever its provider."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from edgeai.config.base import Precision, Strict

MAX_BATCH_SIZES = 16
Options = dict[str, str]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
WindowShape = tuple[int, ...]  # of one window without the batch, such as (W, C)
BOOL_TEXT = {True: "1", False: "0"}  # how ONNX Runtime's provider options write a boolean


class AcceleratorConfig(Strict):
    """An execution provider that serves instead of the CPU."""

    # pydantic builds the validator with that of the device profile, and not a second time on its
    # own. This halves the import time.
    model_config = ConfigDict(defer_build=True)

    python: str | None = Field(
        None,
        min_length=1,
        description="Python interpreter of the environment that holds the provider's runtime, "
        "relative to this file's folder. Default: the interpreter of edgeai.",
    )
    serving: Literal["child", "in_process"] = Field(
        "child",
        description="Where the model runs. `child`: in a process of its own; after a crash or a "
        "hang the CPU answers the same turn. `in_process`: inside edgeai; a call takes some "
        "microseconds less, but a crash ends edgeai.",
    )
    deadline_seconds: float = Field(
        0.25,
        gt=0,
        le=60,
        description="Longest time for one call, in seconds. A longer call is a failure, and the "
        "CPU answers.",
    )
    start_timeout_seconds: float = Field(
        120.0,
        gt=0,
        le=7200,
        description="Longest time to load the model, in seconds. Compilers for NPUs take minutes.",
    )
    memory_limit_bytes: int = Field(
        8 * 1024**3,
        ge=64 * 1024**2,
        description="Upper limit of the resident memory of the child process, in bytes. A larger "
        "process is a failure.",
    )
    batch_sizes: list[BatchSize] = Field(
        [1, 8, 32, 128, 512],
        min_length=1,
        max_length=MAX_BATCH_SIZES,
        description="Numbers of windows in one call. A smaller batch is padded to the next of "
        "these sizes, a larger one is split.",
    )
    variant: Precision = Field(
        "fp32",
        description="Graph of the model package: `fp32` is model.onnx, `fp16` model.fp16.onnx, "
        "`int8` model.int8.onnx.",
    )
    threads: int = Field(1, ge=1, le=256, description="Number of threads on the host's CPU.")
    io_binding: bool = Field(
        True,
        description="Whether input and output buffers are bound once (ONNX Runtime's IO binding) "
        "instead of being passed in each call.",
    )
    min_nodes_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the graph's nodes, above 0 to 1, that must run on the provider. The "
        "others may run on the CPU. The default allows none on the CPU.",
    )

    @model_validator(mode="after")
    def _in_process_has_our_python(self) -> Self:
        if self.serving == "in_process" and self.python is not None:
            msg = "`serving: in_process` runs under edgeai's own Python: leave `python` out"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Literal["ort", "compiled"]:
        """Kind of model that the child process loads: a graph, or a compiled artefact."""
        return "ort"

    @property
    def precision(self) -> Precision:
        """Precision of the arithmetic. It decides the tolerance of the golden outputs."""
        return self.arithmetic_of_fp32 if self.variant == "fp32" else self.variant

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return "fp32"

    @property
    def plugin(self) -> str | None:
        """The provider plugin to load: a module, a file, or None for no plugin."""
        library: str | None = getattr(self, "library", None)
        return library

    @property
    def environment(self) -> Options:
        """Environment variables of the child process, for the vendor's library."""
        return {}

    @property
    def device(self) -> Options:
        """The device of the plugin to use: `type` and `index`. Empty: the provider decides."""
        return {}
