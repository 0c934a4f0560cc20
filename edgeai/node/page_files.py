"""The files of the page: they lie in `edgeai/node/page` and are served below `/page/`.

Each answer has an ETag, so a browser that has a file asks only whether it has changed.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class PageFile(NamedTuple):
    """One file, as it is sent."""

    content_type: str
    body: bytes
    etag: str


class PageFiles:
    """The files by their path below `/page/`. No other path leads to a file."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """List the files; each is read when it is asked for, so that they take no memory."""
        self._paths = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.suffix in CONTENT_TYPES and path.is_file()
        }

    def get(self, name: str) -> PageFile | None:
        """Return a file; None if there is none of this name."""
        path = self._paths.get(name)
        if path is None:
            return None
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return PageFile(CONTENT_TYPES[path.suffix], body, etag)
