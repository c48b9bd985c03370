"""The command line: one module per command, each adding itself to the app."""

from __future__ import annotations

from importlib import import_module

import typer

COMMANDS = (
    "check",
    "scan",
    "hunt",
    "replay",
    "route",
    "campaigns",
    "report",
    "session",
    "train",
    "evaluate",
    "calibrate",
    "patterns",
    "learn",
    "policy",
    "audit",
    "graph",
    "review",
    "serve",
    "top",
    "proxy",
    "redteam",
    "certs",
    "keys",
    "load",
    "doctor",
)


def build() -> typer.Typer:
    """The whole command-line app."""
    app = typer.Typer(
        name="aimds",
        help="Screens LLM traffic for manipulation: prompt injection, jailbreaks, leaks, PII, encoded payloads.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(value: bool) -> None:
        if value:
            from aimds import __version__

            typer.echo(f"aimds {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
    ) -> None:
        pass

    for command in COMMANDS:
        import_module(f"aimds.cli.{command}").register(app)
    return app
