"""Tests of `edgeai doctor`."""
