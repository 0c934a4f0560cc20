"""The turn: from messages to predictions."""
