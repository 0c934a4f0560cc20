"""Windows that are cycles: shots, strokes, welds, batches."""
