"""Run a model over a recording and render one HTML page."""
