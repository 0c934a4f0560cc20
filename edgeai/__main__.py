"""Start the command `edgeai`, also as `python -m edgeai`: note signals first, then import."""

from edgeai import stop_signals


def main() -> None:
    """Run the command line."""
    stop_signals.note_signals()
    try:
        from edgeai.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:  # the second Ctrl-C
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
