"""Execution providers: CPU session, accelerators with failover, proof and choice of a provider."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.providers.child.compiled import Backend as Backend
    from edgeai.providers.child.compiled import CompiledSession as CompiledSession
    from edgeai.providers.child.compiled import LoadRequest as LoadRequest
    from edgeai.providers.conformance import check_backend as check_backend

_MODULES = {
    "Backend": "edgeai.providers.child.compiled",
    "CompiledSession": "edgeai.providers.child.compiled",
    "LoadRequest": "edgeai.providers.child.compiled",
    "check_backend": "edgeai.providers.conformance",
}
__all__ = ["Backend", "CompiledSession", "LoadRequest", "check_backend"]
__getattr__ = lazy(__name__, _MODULES)
