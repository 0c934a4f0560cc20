"""Write a software bill of materials (CycloneDX 1.6, JSON) of a Python environment and its system.

    python scripts/write_sbom.py /opt/edgeai/bin/python sbom.cdx.json

Needs cyclonedx-bom. It lists the Python packages with their licences and dependencies, and this
script adds the Python interpreter and the packages of Debian, as the vulnerabilities of OpenSSL or
glibc concern a container as well. The result is validated; an invalid one is not written.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VERSION = "1.6"
FIELDS = "${Package}\t${Version}\t${Architecture}\t${db:Status-Abbrev}\n"


def python_packages(python: str) -> dict[str, Any]:
    """Return the bill of the packages in the environment of an interpreter."""
    command = [
        sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version", VERSION,
        "--output-format", "JSON", "--output-reproducible", "--no-validate", python,
    ]  # fmt: skip
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    )
    return found


def system_packages() -> list[dict[str, Any]]:
    """Return the installed packages of Debian or a system made from it; none on another system."""
    if shutil.which("dpkg-query") is None:
        return []
    system = platform.freedesktop_os_release()
    name, distribution = system["ID"], f"{system['ID']}-{system.get('VERSION_ID', '')}"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={FIELDS}"], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    components = []
    for line in listed.splitlines():
        package, version, architecture, status = line.split("\t")
        if not status.startswith("ii"):
            continue
        address = (
            f"pkg:deb/{name}/{quote(package)}@{quote(version)}"
            f"?arch={architecture}&distro={quote(distribution)}"
        )
        components.append(_component("library", package, version, address))
    return components


def interpreter() -> dict[str, Any]:
    """Return the Python interpreter, which an image for Python does not hold as a package."""
    version = platform.python_version()
    return _component("platform", "python", version, f"pkg:generic/python@{version}")


def _component(kind: str, name: str, version: str, address: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": address, "name": name, "version": version, "purl": address}


def main() -> None:
    """Write the bill of materials."""
    parser = argparse.ArgumentParser(description="Write a bill of materials, CycloneDX JSON.")
    parser.add_argument("python", help="interpreter of the environment")
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    bill = python_packages(options.python)
    bill["components"] += [interpreter(), *system_packages()]
    text = json.dumps(bill, indent=1)
    fault = JsonStrictValidator(SchemaVersion.from_version(VERSION)).validate_str(text)
    if fault is not None:
        sys.exit(f"the bill of materials is not valid CycloneDX {VERSION}: {fault}")
    options.output.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
