"""Configuration: the node's file, devices, and how YAML is read."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.config.device import Device as Device
    from edgeai.config.device import load_device as load_device
    from edgeai.config.node import Config as Config
    from edgeai.config.node import load_config as load_config

_MODULES = {
    "Config": "edgeai.config.node",
    "Device": "edgeai.config.device",
    "load_config": "edgeai.config.node",
    "load_device": "edgeai.config.device",
}
__all__ = ["Config", "Device", "load_config", "load_device"]
__getattr__ = lazy(__name__, _MODULES)
