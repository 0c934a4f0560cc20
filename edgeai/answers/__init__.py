"""Answers that a controller reads: values of predictions as text, flat JSON, structs, registers."""

__all__: list[str] = []
