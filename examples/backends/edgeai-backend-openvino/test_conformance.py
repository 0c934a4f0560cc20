"""The adapter against edgeai's interface and a package's golden windows ($EDGEAI_MODEL)."""

import os
from pathlib import Path

import pytest

from edgeai.providers.conformance import check_backend


@pytest.mark.parametrize("static", ["no", "yes"])
def test_the_adapter_conforms(static: str) -> None:
    """Check every rule, with one compiled model and with one for each batch size."""
    # After edgeai, which keeps openvino from reporting to its maker.
    from edgeai_backend_openvino import load

    package = Path(os.environ["EDGEAI_MODEL"])
    errors = check_backend(load, package, device={"type": "CPU"}, options={"static": static})
    assert set(errors) >= {"score"}
