"""Configuration: the node's file, devices, and how YAML is read."""
