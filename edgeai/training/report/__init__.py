"""What a model says of a recording, as one HTML page."""
