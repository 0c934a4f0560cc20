"""`python -m edgeai` is the command `edgeai`."""

from edgeai.cli import main

main()
