"""The candidates of a device profile: one model for each execution provider, chosen by `provider`.

Options are typed; each model says how they read in the provider's own words. Sources: the
providers' pages of the ONNX Runtime documentation, and what was run (docs/providers.md).
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.accelerator import BOOL_TEXT, AcceleratorConfig, Options, WindowShape
from edgeai.config.base import Precision, Strict
from edgeai.config.nvidia import Cuda, TensorRt, TensorRtRtx
from edgeai.config.openvino import OpenVino


class CpuProvider(Strict):
    """ONNX Runtime's CPU provider, in the engine's process: always there, always proven."""

    provider: Literal["cpu"]
    threads: int = Field(1, ge=1, le=256, description="Intra-op threads.")

    label: ClassVar[str] = "cpu"


class Auto(Strict):
    """The candidates of the shipped profiles that fit the hardware found, in this place."""

    provider: Literal["auto"]


class Qnn(AcceleratorConfig):
    """Qualcomm's Hexagon NPU (HTP), Adreno GPU or CPU, a plugin: onnxruntime-qnn."""

    provider: Literal["qnn"]
    library: str = Field("onnxruntime_qnn", min_length=1)
    backend: Literal["htp", "gpu", "cpu"] = "htp"
    fp16: bool = Field(
        False, description="Let the HTP compute an fp32 graph in half precision; it has no fp32."
    )
    performance: Literal[
        "default", "burst", "balanced", "high_performance", "power_saver", "low_power_saver",
        "sustained_high_performance",
    ] = "sustained_high_performance"  # fmt: skip
    finalization: Literal[0, 1, 2, 3] = Field(
        3, description="How long the HTP's compiler searches; 3: longest."
    )
    vtcm_mb: int | None = Field(None, ge=1, le=64, description="Of the HTP's fast memory.")

    @model_validator(mode="after")
    def _htp_has_no_fp32(self) -> Self:
        if self.backend == "htp" and self.variant == "fp32" and not self.fp16:
            msg = (
                "the HTP has no fp32: write `fp16: true`, or `variant: int8` for a quantised graph"
            )
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """The name that predictions and metrics bear."""
        return f"qnn-{self.backend}"

    execution_provider: ClassVar[str] = "QNNExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return "fp16" if self.fp16 else "fp32"

    @property
    def device(self) -> Options:
        """Which of the plugin's devices."""
        return {"type": "NPU" if self.backend == "htp" else self.backend.upper()}

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        options: Options = {"backend_type": self.backend}
        if self.backend == "htp":
            options |= {
                "htp_performance_mode": self.performance,
                "htp_graph_finalization_optimization_mode": str(self.finalization),
                "enable_htp_fp16_precision": BOOL_TEXT[self.fp16],
            }
            if self.vtcm_mb is not None:
                options["vtcm_mb"] = str(self.vtcm_mb)
        return options


class VitisAi(AcceleratorConfig):
    """AMD's XDNA NPU with AMD's own build of ONNX Runtime (the Ryzen AI installer)."""

    provider: Literal["vitisai"]
    config_file: str | None = Field(
        None, min_length=1, description="AMD's vaip_config.json, from this file's folder."
    )
    xclbin: str | None = Field(None, min_length=1, description="NPU binary, for int8 graphs.")
    target: Literal["X1", "X2", "VAIML"] | None = None
    cache: bool = Field(True, description="Keep compiled models in the state folder.")
    bf16: bool = Field(
        False, description="The NPU computes fp32 graphs in bfloat16; judged as fp16."
    )
    start_timeout_seconds: float = Field(
        1800.0, gt=0, le=7200, description="The first time the model is compiled, for minutes."
    )

    @model_validator(mode="after")
    def _npu_has_no_fp32(self) -> Self:
        if self.variant == "fp32" and not self.bf16:
            msg = (
                "this NPU has no fp32: write `bf16: true`, or `variant: int8` for a quantised graph"
            )
            raise ValueError(msg)
        return self

    label: ClassVar[str] = "vitisai"
    execution_provider: ClassVar[str] = "VitisAIExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return "fp16"

    def options(self, cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        options: Options = {}
        if self.cache and cache is not None:
            # The folder is one model's own, so its key may be the same for all.
            options |= {"cache_dir": str(cache), "cache_key": "model"}
        given = {"config_file": self.config_file, "xclbin": self.xclbin, "target": self.target}
        return options | {name: value for name, value in given.items() if value is not None}


class MiGraphX(AcceleratorConfig):
    """AMD GPUs with ROCm (the build onnxruntime-migraphx)."""

    provider: Literal["migraphx"]
    device_id: int = Field(0, ge=0, le=63)
    fp16: bool = Field(False, description="Let MIGraphX compute in half precision.")
    exhaustive_tune: bool = False
    start_timeout_seconds: float = Field(600.0, gt=0, le=7200)

    label: ClassVar[str] = "migraphx"
    execution_provider: ClassVar[str] = "MIGraphXExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return "fp16" if self.fp16 else "fp32"

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        return {
            "device_id": str(self.device_id),
            "migraphx_fp16_enable": BOOL_TEXT[self.fp16],
            "migraphx_exhaustive_tune": BOOL_TEXT[self.exhaustive_tune],
        }


class Plugin(AcceleratorConfig):
    """Any other provider plugin of ONNX Runtime: its options go to it as they stand here."""

    provider: Literal["plugin"]
    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,31}$", description="The name that predictions and metrics bear."
    )
    library: str = Field(
        min_length=1, description="A module with get_library_path(), or a shared library."
    )
    execution_provider: str = Field(
        min_length=1, description="Its name in ONNX Runtime: WebGpuExecutionProvider."
    )
    device_type: Literal["CPU", "GPU", "NPU"] | None = None
    device_index: int = Field(0, ge=0, le=63)
    arithmetic: Precision = Field("fp32", description="What it computes in; decides the tolerance.")
    provider_options: Options = Field({}, description="Its own, as text.")

    @property
    def label(self) -> str:
        """The name that predictions and metrics bear."""
        return self.name

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return self.arithmetic

    @property
    def device(self) -> Options:
        """Which of the plugin's devices."""
        index = {"index": str(self.device_index)}
        return index if self.device_type is None else {"type": self.device_type, **index}

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        return dict(self.provider_options)


class Compiled(AcceleratorConfig):
    """A compiled backend: an adapter package for hardware without an ONNX Runtime provider."""

    provider: Literal["compiled"]
    backend: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the adapter's entry point."
    )
    source: Literal["artefact", "graph"] = Field(
        "artefact",
        description="`artefact`: what the package's manifest names under `compiled`; `graph`: the "
        "ONNX graph, which the adapter compiles itself.",
    )
    device_type: str | None = Field(None, min_length=1, description="CPU, NPU, ...")
    device_index: int = Field(0, ge=0, le=63)
    arithmetic: Precision = Field(
        "fp32", description="`graph`: what it computes in; decides the tolerance."
    )
    backend_options: Options = Field({}, description="The adapter's own, as text.")

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        ignored = {"io_binding", "min_nodes_share"} & self.model_fields_set
        if ignored:
            msg = f"`{min(ignored)}` is ONNX Runtime's, not a compiled backend's"
            raise ValueError(msg)
        ignored = {"arithmetic", "variant"} & self.model_fields_set
        if self.source == "artefact" and ignored:
            msg = f"`{min(ignored)}` belongs to `source: graph`; of an artefact the package says it"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Literal["ort", "compiled"]:
        """What the child loads."""
        return "compiled"

    @property
    def label(self) -> str:
        """The name that predictions and metrics bear."""
        return f"compiled:{self.backend}"

    @property
    def execution_provider(self) -> str:
        """Name of the adapter's entry point."""
        return self.backend

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return self.arithmetic

    @property
    def device(self) -> Options:
        """Which device."""
        index = {"index": str(self.device_index)}
        return index if self.device_type is None else {"type": self.device_type, **index}

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the adapter's options."""
        return dict(self.backend_options)


AnyAccelerator = (
    OpenVino | Cuda | TensorRt | TensorRtRtx | Qnn | VitisAi | MiGraphX | Plugin | Compiled
)
Candidate = Annotated[CpuProvider | Auto | AnyAccelerator, Field(discriminator="provider")]
