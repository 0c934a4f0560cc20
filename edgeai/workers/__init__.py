"""Several processes that share the streams of one node."""
