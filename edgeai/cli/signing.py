"""Commands for signatures of model packages: sign and verify."""

from pathlib import Path
from typing import Annotated

import typer

PackageArgument = Annotated[
    Path, typer.Argument(metavar="PACKAGE", help="Folder of a model package.")
]


def sign(
    package: PackageArgument,
    key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Private key (PEM) on P-256, P-384 or P-521."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Signature to write. Default: model.sig in the package folder."
        ),
    ] = None,
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the password of the key.")
    ] = None,
    password_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the password of the key."),
    ] = None,
) -> None:
    """Sign every file of a model package with a private key (OpenSSF Model Signing v1.0)."""
    from edgeai.model.package import load_package
    from edgeai.paths import secret_file_warning
    from edgeai.signing.files import SIGNATURE
    from edgeai.signing.keys import read_private_key
    from edgeai.signing.trust import sign_folder

    password = _password(password_file, password_env)
    manifest = load_package(package).manifest  # what is broken is not signed
    private = read_private_key(key, password)
    if warning := secret_file_warning(key):
        typer.echo(f"edgeai: warning: {warning}", err=True)
    signed = sign_folder(package, private, output)
    for name in signed.digests:
        typer.echo(name)
    typer.echo(
        f"{output or package / SIGNATURE}: {len(signed.digests)} files of {manifest.name} "
        f"{manifest.version} signed by key {private.id}"
    )


def verify(
    package: PackageArgument,
    key: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Public key (PEM) that is trusted; may be repeated."),
    ],
    signature: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Signature. Default: model.sig in the package folder."),
    ] = None,
) -> None:
    """Verify the signature of a model package and all its files; exit code 2 if it is not right."""
    from edgeai.errors import listed
    from edgeai.model.package import load_package
    from edgeai.signing.files import ALWAYS_IGNORED
    from edgeai.signing.keys import read_public_key
    from edgeai.signing.trust import Trust

    keys = [read_public_key(file, "--key") for file in key]
    trust = Trust(keys, signature=signature, named_by="edgeai verify")
    found = load_package(package, trust)
    assert found.signature is not None  # as it is required
    files = found.signature.files
    typer.echo(
        f"{found.manifest.name} {found.manifest.version}: {len(files.digests)} files signed by "
        f"key {found.signature.key_id} ({found.signature.key_file})"
    )
    if left_out := sorted(set(files.ignored) - set(ALWAYS_IGNORED)):
        typer.echo(f"not signed, and not read by edgeai: {listed(left_out)}")


def _password(file: str | None, variable: str | None) -> str | None:
    from edgeai.config.broker import Secret

    if file is not None and variable is not None:
        raise typer.BadParameter("give --password-file or --password-env, not both")
    if file is not None:
        return Secret(file=file).reveal("--password-file")
    return None if variable is None else Secret(env=variable).reveal("--password-env")
