"""Whose signatures a configuration trusts, and what is told of those of its packages."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeai.config.node import Config
from edgeai.errors import ConfigError, Problem
from edgeai.log_events import event
from edgeai.metrics.definitions import Metrics
from edgeai.model.package import Package
from edgeai.signing.trust import SHORT, Trust

log = logging.getLogger("edgeai")


def trust_of(config: Config) -> Trust | None:
    """Return whose signatures count; None if signatures are not looked at.

    Raises:
        ConfigError: A file of a key cannot be read, or holds no key; it names all of them.
    """
    if config.models is None:
        return None
    from edgeai.signing.keys import read_public_key

    keys, problems = [], list[Problem]()
    for index, file in enumerate(config.models.trusted_keys):
        try:
            keys.append(read_public_key(Path(file), f"models.trusted_keys[{index}]"))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Trust(keys, require_signature=config.models.require_signature)


def unsigned_warnings(config: Config, packages: Iterable[Package]) -> Iterator[str]:
    """Yield a warning for each package without a signature, if the configuration trusts keys."""
    if config.models is not None:
        for package in packages:
            if package.signature is None:
                yield (
                    f"{package.folder} has no signature, and is served because of "
                    "models.require_signature: false"
                )


def describe_signature(package: Package) -> str:
    """Return who has signed a package, for `edgeai check`; empty if nobody has."""
    found = package.signature
    if found is None:
        return ""
    return f"{len(found.files.digests)} files signed by key {found.key_id} ({found.key_file})"


def tell_signature(pipeline: str, package: Package, metrics: Metrics) -> None:
    """Write to log and metrics who has signed the package of a pipeline."""
    found, model = package.signature, package.manifest.name
    key = "" if found is None else found.key_id[:SHORT]
    metrics.model_signed.labels(pipeline, model, key).set(found is not None)
    if found is not None:
        log.info(
            "%s: %s %s is signed by %s", pipeline, model, package.manifest.version, found,
            extra=event(
                "model_verified", pipeline=pipeline, model=model, key=found.key_id,
                file=found.key_file,
            ),
        )  # fmt: skip
