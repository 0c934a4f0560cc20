"""Which execution provider serves a model: hardware, proof, measurement."""
