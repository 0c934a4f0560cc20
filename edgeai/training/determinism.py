"""Make torch deterministic: one seed, a fixed number of threads, deterministic kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgeai.training.extra import library


@contextmanager
def deterministic(seed: int, threads: int = 1, purpose: str = "torch") -> Iterator[None]:
    """Seed torch and use deterministic kernels; restore torch's settings afterwards.

    Args:
        seed: Seed of torch's global generator; the generator's state is restored too.
        threads: Number of threads of torch's operators.
        purpose: The feature that needs torch, for the error message.

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
