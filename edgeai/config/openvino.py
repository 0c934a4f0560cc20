"""OpenVINO in a device profile, with its traps closed.

Precision is fp32 unless asked otherwise: OpenVINO takes bfloat16 by itself where the CPU has it.
There is no reshape_input: with it, a batch of another size gives outputs of a wrong shape and no
error. `load_config` is JSON text: a path in it ends on the CPU without an error.
"""

import json
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai.config.accelerator import AcceleratorConfig, Options, WindowShape
from edgeai.config.base import Precision


class OpenVino(AcceleratorConfig):
    """Intel's OpenVINO: CPU, GPU or NPU; as the build onnxruntime-openvino or as a plugin."""

    provider: Literal["openvino"]
    device_type: str = Field(
        "CPU",
        pattern=r"^(AUTO:|HETERO:)?(CPU|NPU|GPU(\.[0-9])?)$",
        description="CPU, GPU, GPU.1 or NPU. One device: of several inside OpenVINO nobody can "
        "say which computed; list candidates instead.",
    )
    precision_hint: Literal["FP32", "FP16", "ACCURACY", "DEFAULT"] = Field(
        "FP32",
        alias="precision",
        description="`FP32`; `ACCURACY`: the graph's own; `FP16`: GPU and NPU; `DEFAULT`: what "
        "OpenVINO likes, which is bfloat16 with AUTO on a CPU that has it.",
    )
    library: str | None = Field(
        None,
        min_length=1,
        description="The plugin: a module (onnxruntime_ep_openvino) or a file. Default: none, the "
        "build onnxruntime-openvino, in an environment of its own.",
    )
    streams: int = Field(1, ge=1, le=64)
    static_shapes: bool = Field(
        False, description="Compile for one shape (OpenVINO's disable_dynamic_shapes)."
    )
    cache: bool = Field(True, description="Keep compiled models in the state folder.")
    priority: Literal["DEFAULT", "LOW", "MEDIUM", "HIGH"] = "DEFAULT"
    properties: dict[str, dict[str, str | int | bool]] = Field(
        {}, description="OpenVINO's own properties by device: {GPU: {PERFORMANCE_HINT: LATENCY}}."
    )

    @field_validator("properties")
    @classmethod
    def _precision_has_its_key(
        cls, value: dict[str, dict[str, str | int | bool]]
    ) -> dict[str, dict[str, str | int | bool]]:
        if any("INFERENCE_PRECISION_HINT" in one for one in value.values()):
            msg = "INFERENCE_PRECISION_HINT would override `precision`: set that"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _precision_fits_the_device(self) -> Self:
        hint, device = self.precision_hint, self.device_type.rpartition(":")[2]
        if device == "NPU" and hint == "FP32":
            msg = "an NPU has no FP32: write `precision: FP16`, or ACCURACY for a quantised graph"
            raise ValueError(msg)
        if device == "CPU" and hint == "FP16":
            msg = "OpenVINO's CPU takes `precision` FP32, ACCURACY or DEFAULT"
            raise ValueError(msg)
        if device == "NPU" and self.min_nodes_share < 1:
            msg = (
                "an NPU takes all nodes: with `min_nodes_share` below 1 OpenVINO goes to its own "
                "CPU when its NPU compiler fails, and nobody can tell"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _plugin_takes_less(self) -> Self:
        asked = {"static_shapes", "priority"} & self.model_fields_set
        if self.library is not None and asked:
            msg = f"`{min(asked)}` is of the build onnxruntime-openvino; the plugin has none"
            raise ValueError(msg)
        if self.library is not None and ":" in self.device_type:
            msg = "a plugin takes one device: CPU, GPU, GPU.1 or NPU"
            raise ValueError(msg)
        return self

    @property
    def _is_npu(self) -> bool:
        return self.device_type.endswith("NPU")

    @property
    def label(self) -> str:
        """The name that predictions and metrics bear."""
        return f"openvino-{self.device_type.rpartition(':')[2].lower()}"

    execution_provider: ClassVar[str] = "OpenVINOExecutionProvider"

    @property
    def arithmetic_of_fp32(self) -> Precision:
        """In what the device computes a graph that is fp32."""
        return "fp16" if self.precision_hint == "FP16" or self._is_npu else "fp32"

    @property
    def device(self) -> Options:
        """Which of the plugin's devices."""
        name, _, index = self.device_type.rpartition(":")[2].partition(".")
        return {"type": name, "index": index or "0"} if self.library else {}

    def options(self, cache: Path | None, _window: WindowShape) -> Options:
        """Return the provider's options."""
        name = self.device_type.rpartition(":")[2]
        properties = {device: dict(values) for device, values in self.properties.items()}
        own = properties.setdefault(name, {})
        hint = {"FP32": "f32", "FP16": "f16"}.get(self.precision_hint)
        if hint is not None and name != "NPU":  # the NPU's precision is not a choice
            own["INFERENCE_PRECISION_HINT"] = hint
        if name == "CPU":
            own.setdefault("INFERENCE_NUM_THREADS", self.threads)
        if self.library and not self._is_npu:
            own.setdefault("NUM_STREAMS", self.streams)
        # The plugin knows its device from the selection; it takes the rest of its options here.
        options = {} if self.library else self._bridge_options()
        options["load_config"] = json.dumps(
            {
                device: {k: _text(v) for k, v in values.items()}
                for device, values in properties.items()
            },
            sort_keys=True,
        )
        if self.cache and cache is not None:
            options["cache_dir"] = str(cache)
        return options

    def _bridge_options(self) -> Options:
        options = {
            "device_type": self.device_type,
            "num_of_threads": str(self.threads),
            "num_streams": str(self.streams),
            "disable_dynamic_shapes": str(self.static_shapes),
            "model_priority": self.priority,
        }
        if self.precision_hint != "DEFAULT":
            options["precision"] = self.precision_hint
        return options


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value)
