"""The candidates of a device profile: one model for each execution provider, chosen by `provider`.

The keys have types; `options` of each model turns them into the provider's own options. Sources:
the providers' pages of the ONNX Runtime documentation, and our own runs (docs/providers.md).
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.accelerator import BOOL_TEXT, AcceleratorConfig, Options, WindowShape
from edgeai.config.base import NotBool, Precision, Strict
from edgeai.config.nvidia import Cuda, TensorRt, TensorRtRtx
from edgeai.config.openvino import OpenVino


class CpuProvider(Strict):
    """ONNX Runtime's CPU provider, inside edgeai's own process. It is always available."""

    provider: Literal["cpu"] = Field(description="ONNX Runtime's CPU provider.")
    threads: int = Field(
        1, ge=1, le=256, description="Number of threads for one operator (intra-op threads)."
    )

    label: ClassVar[str] = "cpu"


class Auto(Strict):
    """Stands for the candidates of the shipped profiles that fit the hardware of this machine."""

    provider: Literal["auto"] = Field(
        description="The candidates of the shipped profiles that fit this machine's hardware."
    )


class Qnn(AcceleratorConfig):
    """Qualcomm's Hexagon NPU (HTP), Adreno GPU or CPU, through the plugin onnxruntime-qnn."""

    provider: Literal["qnn"] = Field(description="Qualcomm's QNN provider.")
    library: str = Field(
        "onnxruntime_qnn", min_length=1, description="Plugin: a Python module, or a file."
    )
    backend: Literal["htp", "gpu", "cpu"] = Field(
        "htp",
        description="Device: `htp` is the Hexagon NPU, `gpu` the Adreno GPU, `cpu` Qualcomm's own "
        "CPU backend.",
    )
    fp16: bool = Field(
        False,
        description="Whether the HTP may compute an fp32 graph in half precision. The HTP has no "
        "fp32, so an fp32 graph needs `true`.",
    )
    performance: Literal[
        "default", "burst", "balanced", "high_performance", "power_saver", "low_power_saver",
        "sustained_high_performance",
    ] = Field(
        "sustained_high_performance", description="Power and clock mode of the HTP."
    )  # fmt: skip
    finalization: Annotated[Literal[0, 1, 2, 3], NotBool] = Field(
        3,
        description="Optimisation level of the HTP's compiler. 3 optimises most and takes longest.",
    )
    vtcm_mb: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Fast memory (VTCM) of the HTP for this model, in MB. By default the provider "
        "decides.",
    )

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
        """Name of the provider in predictions and metrics."""
        return f"qnn-{self.backend}"

    execution_provider: ClassVar[str] = "QNNExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return "fp16" if self.fp16 else "fp32"

    @property
    def device(self) -> Options:
        """The device of the plugin to use."""
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

    provider: Literal["vitisai"] = Field(description="AMD's Vitis AI provider.")
    config_file: str | None = Field(
        None,
        min_length=1,
        description="AMD's vaip_config.json, relative to this file's folder. By default the "
        "provider uses its own.",
    )
    xclbin: str | None = Field(
        None,
        min_length=1,
        description="NPU binary for int8 graphs, relative to this file's folder. By default the "
        "provider decides.",
    )
    target: Literal["X1", "X2", "VAIML"] | None = Field(
        None, description="Compiler target of the provider. By default the provider decides."
    )
    cache: bool = Field(True, description="Whether compiled models are kept in the state folder.")
    bf16: bool = Field(
        False,
        description="Whether the NPU may compute an fp32 graph in bfloat16; the tolerance is that "
        "of fp16. The NPU has no fp32, so an fp32 graph needs `true`.",
    )
    start_timeout_seconds: float = Field(
        1800.0,
        gt=0,
        le=7200,
        description="Longest time to load the model, in seconds. The first start compiles the "
        "model, which takes minutes.",
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
        """Precision in which the device computes an fp32 graph."""
        return "fp16"

    def options(self, cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        options: Options = {}
        if self.cache and cache is not None:
            # Each model has a folder of its own, so the key may be the same for all models.
            options |= {"cache_dir": str(cache), "cache_key": "model"}
        given = {"config_file": self.config_file, "xclbin": self.xclbin, "target": self.target}
        return options | {name: value for name, value in given.items() if value is not None}


class MiGraphX(AcceleratorConfig):
    """AMD GPUs with ROCm, through the build onnxruntime-migraphx."""

    provider: Literal["migraphx"] = Field(description="AMD's MIGraphX provider.")
    device_id: int = Field(0, ge=0, le=63, description="Number of the GPU, from 0.")
    fp16: bool = Field(
        False, description="Whether MIGraphX may compute an fp32 graph in half precision."
    )
    exhaustive_tune: bool = Field(
        False,
        description="Whether MIGraphX tunes its kernels exhaustively when it compiles, which takes "
        "longer.",
    )
    start_timeout_seconds: float = Field(
        600.0,
        gt=0,
        le=7200,
        description="Longest time to load the model, in seconds. The model is compiled then.",
    )

    label: ClassVar[str] = "migraphx"
    execution_provider: ClassVar[str] = "MIGraphXExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return "fp16" if self.fp16 else "fp32"

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        return {
            "device_id": str(self.device_id),
            "migraphx_fp16_enable": BOOL_TEXT[self.fp16],
            "migraphx_exhaustive_tune": BOOL_TEXT[self.exhaustive_tune],
        }


class Plugin(AcceleratorConfig):
    """Any other provider plugin of ONNX Runtime. Its options are passed on unchanged."""

    provider: Literal["plugin"] = Field(description="A provider plugin of ONNX Runtime.")
    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        description="Name of the provider in predictions and metrics.",
    )
    library: str = Field(
        min_length=1,
        description="Plugin: a Python module with get_library_path(), or a shared library.",
    )
    execution_provider: str = Field(
        min_length=1,
        description="Name of the provider in ONNX Runtime, such as WebGpuExecutionProvider.",
    )
    device_type: Literal["CPU", "GPU", "NPU"] | None = Field(
        None, description="Type of the plugin's device. Default: any type."
    )
    device_index: int = Field(
        0, ge=0, le=63, description="Number of the device among those of this type, from 0."
    )
    arithmetic: Precision = Field(
        "fp32",
        description="Precision in which the device computes an fp32 graph. It decides the "
        "tolerance of the golden outputs.",
    )
    provider_options: Options = Field(
        {}, description="Options of the provider, as text. Default: none."
    )

    @property
    def label(self) -> str:
        """Name of the provider in predictions and metrics."""
        return self.name

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return self.arithmetic

    @property
    def device(self) -> Options:
        """The device of the plugin to use."""
        return _device_of(self.device_type, self.device_index)

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        return dict(self.provider_options)


class Compiled(AcceleratorConfig):
    """A compiled backend: an adapter package for hardware without an ONNX Runtime provider."""

    provider: Literal["compiled"] = Field(description="A compiled backend (docs/backends.md).")
    backend: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the adapter's entry point."
    )
    source: Literal["artefact", "graph"] = Field(
        "artefact",
        description="What the adapter loads. `artefact`: the file that the package's manifest "
        "names under `compiled`; `graph`: the ONNX graph, which the adapter compiles itself.",
    )
    device_type: str | None = Field(
        None, min_length=1, description="Type of the device, such as NPU. Default: any type."
    )
    device_index: int = Field(
        0, ge=0, le=63, description="Number of the device among those of this type, from 0."
    )
    arithmetic: Precision = Field(
        "fp32",
        description="Precision in which the device computes; `source: graph` only. It decides the "
        "tolerance of the golden outputs.",
    )
    backend_options: Options = Field(
        {}, description="Options of the adapter, as text. Default: none."
    )

    @model_validator(mode="after")
    def _no_key_is_ignored(self) -> Self:
        ignored = {"io_binding", "min_nodes_share"} & self.model_fields_set
        if ignored:
            msg = f"`{min(ignored)}` is ONNX Runtime's, not a compiled backend's: leave it out"
            raise ValueError(msg)
        ignored = {"arithmetic", "variant"} & self.model_fields_set
        if self.source == "artefact" and ignored:
            msg = (
                f"`{min(ignored)}` belongs to `source: graph`; the model package states it for an "
                "artefact"
            )
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Literal["ort", "compiled"]:
        """Kind of model that the child process loads: here a compiled artefact."""
        return "compiled"

    @property
    def label(self) -> str:
        """Name of the provider in predictions and metrics."""
        return f"compiled:{self.backend}"

    @property
    def execution_provider(self) -> str:
        """Name of the adapter's entry point."""
        return self.backend

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return self.arithmetic

    @property
    def device(self) -> Options:
        """The device to use."""
        return _device_of(self.device_type, self.device_index)

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the adapter's options."""
        return dict(self.backend_options)


def _device_of(kind: str | None, index: int) -> Options:
    """Return a device by its type, None for any, and its number among those of this type."""
    number = {"index": str(index)}
    return number if kind is None else {"type": kind, **number}


AnyAccelerator = (
    OpenVino | Cuda | TensorRt | TensorRtRtx | Qnn | VitisAi | MiGraphX | Plugin | Compiled
)
Candidate = Annotated[CpuProvider | Auto | AnyAccelerator, Field(discriminator="provider")]
