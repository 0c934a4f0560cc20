"""NVIDIA's providers in a device profile: CUDA, TensorRT and TensorRT for RTX.

By default reduced precision (TF32, fp16) is off, the memory arena on the GPU grows only as needed,
and one engine is built for all batch sizes and kept.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgeai.config.accelerator import BOOL_TEXT, AcceleratorConfig, Options, WindowShape
from edgeai.config.base import Precision


class _Nvidia(AcceleratorConfig):
    device_id: int = Field(0, ge=0, le=63, description="Number of the GPU, from 0.")
    tf32: bool = Field(
        False,
        description="Whether factors of products may be rounded to 10 bits of mantissa (TF32, "
        "Ampere and later).",
    )
    cuda_graph: bool = Field(
        False,
        description="Whether the kernels of each batch size are recorded once and replayed as one "
        "CUDA graph. All nodes must run on the GPU.",
    )

    @model_validator(mode="after")
    def _graph_needs_binding(self) -> Self:
        if self.cuda_graph and (not self.io_binding or self.min_nodes_share < 1):
            msg = "`cuda_graph` needs `io_binding`, and all nodes on the GPU"
            raise ValueError(msg)
        return self

    @property
    def environment(self) -> Options:
        """Environment variables of the child process, for NVIDIA's libraries."""
        # TensorRT rounds to TF32 by default, and its provider has no option to turn that off.
        return {} if self.tf32 else {"NVIDIA_TF32_OVERRIDE": "0"}


class Cuda(_Nvidia):
    """NVIDIA GPUs with CUDA and cuDNN, through the build onnxruntime-gpu."""

    provider: Literal["cuda"] = Field(description="NVIDIA's CUDA provider.")
    gpu_memory_limit_bytes: int | None = Field(
        None,
        ge=16 * 1024**2,
        description="Upper limit of the memory arena on the GPU, in bytes. Default: all memory of "
        "the GPU.",
    )
    arena: Literal["kSameAsRequested", "kNextPowerOfTwo"] = Field(
        "kSameAsRequested",
        description="How the memory arena grows. `kSameAsRequested`: by the memory needed; "
        "`kNextPowerOfTwo`: to the next power of two, which takes up to twice the memory.",
    )
    conv_search: Literal["HEURISTIC", "EXHAUSTIVE", "DEFAULT"] = Field(
        "HEURISTIC",
        description="How cuDNN chooses the algorithm of a convolution. `HEURISTIC` estimates, "
        "`EXHAUSTIVE` measures all, `DEFAULT` takes a fixed one.",
    )
    conv_max_workspace: bool = Field(
        True,
        description="Whether cuDNN may take as much GPU memory as its fastest algorithm needs.",
    )

    label: ClassVar[str] = "cuda"
    execution_provider: ClassVar[str] = "CUDAExecutionProvider"

    def options(self, _cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        options = {
            "device_id": str(self.device_id),
            "arena_extend_strategy": self.arena,
            "cudnn_conv_algo_search": self.conv_search,
            "cudnn_conv_use_max_workspace": BOOL_TEXT[self.conv_max_workspace],
            "do_copy_in_default_stream": "1",
            "use_tf32": BOOL_TEXT[self.tf32],
            "enable_cuda_graph": BOOL_TEXT[self.cuda_graph],
        }
        if self.gpu_memory_limit_bytes is not None:
            options["gpu_mem_limit"] = str(self.gpu_memory_limit_bytes)
        return options


class _Engine(_Nvidia):
    """A provider that builds one engine for all batch sizes."""

    start_timeout_seconds: float = Field(
        1800.0,
        gt=0,
        le=7200,
        description="Longest time to load the model, in seconds. The first start builds the "
        "engine, which takes minutes.",
    )
    cache: bool = Field(True, description="Whether built engines are kept in the state folder.")
    workspace_bytes: int | None = Field(
        None,
        ge=0,
        description="Upper limit of GPU memory while the engine is built, in bytes. By default "
        "the provider decides.",
    )

    def _shapes(self, prefix: str, window: WindowShape) -> Options:
        row = "x".join(map(str, window))
        sizes = {"min": 1, "opt": max(self.batch_sizes), "max": max(self.batch_sizes)}
        return {
            f"{prefix}_profile_{name}_shapes": f"window:{size}x{row}"
            for name, size in sizes.items()
        }


class TensorRt(_Engine):
    """NVIDIA TensorRT, through the build onnxruntime-gpu and TensorRT's libraries."""

    provider: Literal["tensorrt"] = Field(description="NVIDIA's TensorRT provider.")
    fp16: bool = Field(
        False, description="Whether TensorRT may compute an fp32 graph in half precision."
    )
    dla_core: int | None = Field(
        None,
        ge=0,
        le=7,
        description="Number of the deep learning accelerator (DLA) of a Jetson, from 0. Default: "
        "the GPU.",
    )

    @model_validator(mode="after")
    def _dla_has_no_fp32(self) -> Self:
        if self.dla_core is not None and self.precision == "fp32":
            msg = "the DLA has no fp32: write `fp16: true`, or `variant: int8`"
            raise ValueError(msg)
        return self

    label: ClassVar[str] = "tensorrt"
    execution_provider: ClassVar[str] = "TensorrtExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """Precision in which the device computes an fp32 graph."""
        return "fp16" if self.fp16 else "fp32"

    def options(self, cache: Path | None, window: WindowShape) -> Options:
        """Return the provider's options."""
        is_kept = self.cache and cache is not None
        options = {
            "device_id": str(self.device_id),
            "trt_fp16_enable": BOOL_TEXT[self.fp16],
            "trt_bf16_enable": "0",
            "trt_engine_cache_enable": BOOL_TEXT[is_kept],
            "trt_timing_cache_enable": BOOL_TEXT[is_kept],
            "trt_cuda_graph_enable": BOOL_TEXT[self.cuda_graph],
            **self._shapes("trt", window),
        }
        if is_kept:
            options |= {"trt_engine_cache_path": str(cache), "trt_timing_cache_path": str(cache)}
        if self.workspace_bytes is not None:
            options["trt_max_workspace_size"] = str(self.workspace_bytes)
        if self.dla_core is not None:
            options |= {"trt_dla_enable": "1", "trt_dla_core": str(self.dla_core)}
        return options


class TensorRtRtx(_Engine):
    """NVIDIA TensorRT for RTX (30 series and later), a plugin (the extra `cuda`)."""

    provider: Literal["nv_tensorrt_rtx"] = Field(description="NVIDIA's TensorRT for RTX provider.")
    library: str = Field(
        "onnxruntime_ep_nv_tensorrt_rtx",
        min_length=1,
        description="Plugin: a Python module, or a file.",
    )

    label: ClassVar[str] = "tensorrt-rtx"
    execution_provider: ClassVar[str] = "NvTensorRTRTXExecutionProvider"

    @property
    def device(self) -> Options:
        """The device of the plugin to use."""
        return {"type": "GPU", "index": str(self.device_id)}

    def options(self, cache: Path | None, window: WindowShape) -> Options:
        """Return the provider's options."""
        options = {
            "enable_cuda_graph": BOOL_TEXT[self.cuda_graph],
            **self._shapes("nv", window),
        }
        if self.cache and cache is not None:
            options["nv_runtime_cache_path"] = str(cache)
        if self.workspace_bytes is not None:
            options["nv_max_workspace_size"] = str(self.workspace_bytes)
        return options
