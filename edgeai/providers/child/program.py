"""Entry point of the child process: `python program.py` with the arguments of `serve.main`.

The interpreter may belong to another environment, which has no edgeai. Only the modules beside this
file become importable under their usual names, so that two environments never mix.
"""

import sys
import types
from pathlib import Path


def _make_siblings_importable() -> None:
    folder = str(Path(__file__).resolve().parent)
    # The interpreter adds this folder, but a vendor's `import spec` must not find our module.
    sys.path[:] = [
        entry for entry in sys.path if entry not in {folder, str(Path(sys.argv[0]).parent)}
    ]
    for name, path in (
        ("edgeai", []),
        ("edgeai.providers", []),
        ("edgeai.providers.child", [folder]),
    ):
        module = types.ModuleType(name)
        module.__path__ = path
        sys.modules[name] = module


if __name__ == "__main__":
    _make_siblings_importable()
    from edgeai.providers.child.serve import main

    main(*(int(argument) for argument in sys.argv[1:5]))
