"""Install the packages of the Node.js peer with npm, into a folder that is not tracked."""

import functools
import shutil
import subprocess

from benchmarks.systems import HERE, OUT

NPM_SECONDS = 300.0


@functools.cache
def node_missing() -> str | None:
    """Install the packages of the Node.js peer; return the reason if it cannot run, else None."""
    if shutil.which("node") is None:
        return "node is not installed"
    folder = OUT / "node"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "peers" / "package.json").read_text()
    shutil.copy(HERE / "peers" / "node.mjs", folder)
    stamp = folder / "installed.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    if shutil.which("npm") is None:
        return "npm is not installed"
    shutil.copy(HERE / "peers" / "package.json", folder)
    # The install script would download a GPU build; the package already has the CPU library.
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "npm install takes too long"
    if done.returncode:
        return f"npm install fails: {done.stderr.strip()[-200:]}"
    stamp.write_text(wanted)
    return None
