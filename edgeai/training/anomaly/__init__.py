"""Anomaly models: mathematics, ONNX graphs, training and evaluation."""
