"""`aimds certs`: a CA for development, and certificates of it for the gateway and its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="Days it is valid for.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="Make a CA for development, and certificates of it. Keys are written without a password.",
        no_args_is_help=True,
    )
    group.command("ca")(ca)
    group.command("server")(server)
    group.command("client")(client)
    app.add_typer(group, name="certs")


def ca(
    output: Folder = Path("certs"),
    name: Annotated[str, typer.Option(help="Name of the CA.")] = "AIMDS development CA",
    days: Days = 825,
) -> None:
    """Make a new CA: DIR/ca.pem and DIR/ca.key."""
    from datetime import UTC, datetime

    from aimds.gateway import certificates

    _say(certificates.write(output, "ca", certificates.authority(name, datetime.now(UTC), days)))


def server(
    names: Annotated[list[str], typer.Argument(help="DNS names and IP addresses it is reached by.")],
    output: Folder = Path("certs"),
    days: Days = 397,
) -> None:
    """Make a certificate for a gateway: DIR/server.pem and DIR/server.key, from the CA in DIR."""
    _issue(output, "server", names[0], names, days, for_client=False)


def client(
    name: Annotated[str, typer.Argument(help="DNS name that stands for the client; the server's config lists it.")],
    output: Folder = Path("certs"),
    days: Days = 397,
) -> None:
    """Make a certificate for a client: DIR/NAME.pem and DIR/NAME.key, from the CA in DIR."""
    _issue(output, name, name, [name], days, for_client=True)


def _issue(folder: Path, stem: str, name: str, names: list[str], days: int, *, for_client: bool) -> None:
    from datetime import UTC, datetime

    from aimds.errors import ConfigError, DataError
    from aimds.gateway import certificates

    if "/" in stem or stem.startswith("."):
        raise ConfigError("name", stem, "a DNS name")
    try:
        authority = certificates.Issued((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
    except OSError as error:
        raise DataError(folder, f"holds no CA ({error.strerror}); make one: aimds certs ca -o {folder}") from error
    issued = certificates.issue(authority, name, names, datetime.now(UTC), client=for_client, days=days)
    _say(certificates.write(folder, stem, issued))


def _say(paths: tuple[Path, Path]) -> None:
    typer.echo(f"{paths[0]} {paths[1]}")
