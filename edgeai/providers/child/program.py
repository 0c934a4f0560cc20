"""Entry of the child process: `python program.py` and the arguments of `serve.main`.

The interpreter may be another environment's, which has no edgeai. The files beside this one are
made importable under their usual names and nothing else of edgeai is: an environment is never mixed
with the packages of another.
"""

import sys
import types
from pathlib import Path


def _find_siblings() -> None:
    folder = str(Path(__file__).resolve().parent)
    # Put there by the interpreter; a vendor's `import backend` must not find ours.
    sys.path[:] = [
        place for place in sys.path if place not in {folder, str(Path(sys.argv[0]).parent)}
    ]
    for name, places in (
        ("edgeai", []),
        ("edgeai.providers", []),
        ("edgeai.providers.child", [folder]),
    ):
        module = types.ModuleType(name)
        module.__path__ = places
        sys.modules[name] = module


if __name__ == "__main__":
    _find_siblings()
    from edgeai.providers.child.serve import main

    main(*(int(argument) for argument in sys.argv[1:5]))
