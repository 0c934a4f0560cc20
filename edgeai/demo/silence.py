"""What the demo says in its terminal when a part of it no longer answers."""

SILENT_SECONDS = 5.0
OLD = "The table shows old values."
AGAIN = "End the demo with Ctrl-C and start it again."


def trouble(*, connected: bool, online: bool, silent_seconds: float) -> str:
    """Return what does not answer, for the terminal; empty if all is well.

    Args:
        connected: Whether the broker has accepted the connection of the demo.
        online: Whether the status of the runtime is `online`.
        silent_seconds: Time since the last prediction.
    """
    if not connected:
        return f"The broker does not answer. {OLD} {AGAIN}"
    if not online:
        return f"The runtime has ended its connection. {OLD} {AGAIN}"
    if silent_seconds > SILENT_SECONDS:
        whose = "the broker, the runtime or the simulated line does not answer"
        return f"No prediction for {silent_seconds:.0f} s: {whose}. {OLD} {AGAIN}"
    return ""
