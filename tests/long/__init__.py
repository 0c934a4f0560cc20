"""What takes hours, in pieces of at most half an hour (`make test-long`)."""
