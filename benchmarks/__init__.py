"""Benchmarks of edgeai and of alternatives that a user could write: `python -m benchmarks`."""

import edgeai  # noqa: F401  before onnxruntime: it turns off what that reports to its maker
