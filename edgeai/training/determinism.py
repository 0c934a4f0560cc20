"""torch made to give the same bits again: one seed, a fixed number of threads, fixed kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgeai.training.extra import library


@contextmanager
def deterministic(seed: int, threads: int = 1, purpose: str = "torch") -> Iterator[None]:
    """Seed torch and hold it to deterministic kernels; its own settings come back after.

    Args:
        seed: Of torch's global generator, whose state comes back too.
        threads: Of torch's operators.
        purpose: What needs torch, for the message when it is missing.

    Raises:
        ConfigError: torch is not installed.
    """
    torch = library("torch", purpose)
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(before)
