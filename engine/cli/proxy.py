"""`aimds proxy`: screening in front of an OpenAI- or Anthropic-compatible server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.serve import changed, check, run, say, screened
from aimds.cli.startup import BACKEND

if TYPE_CHECKING:
    from aimds.gateway.settings import Settings

LOCAL = ("127.0.0.1", "::1", "localhost")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def proxy(
        upstream: Annotated[str, typer.Option(metavar="URL", help="The server behind; no other is ever contacted.")],
        config: Annotated[
            Path | None, typer.Option("--config", "-c", help="Settings (TOML), the same as of aimds serve.")
        ] = None,
        host: Annotated[str | None, typer.Option(help="Address to listen on.  \\[default: 127.0.0.1]")] = None,
        port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
        profile: Annotated[str | None, typer.Option(help="fast, cascade or full.")] = None,
        policy: Annotated[Path | None, typer.Option(help="Policy file.")] = None,
        patterns: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Patterns kept by aimds patterns, beside the shipped ones.")
        ] = None,
        learned: Annotated[Path | None, typer.Option(metavar="DIR", help="What aimds learn has put in force.")] = None,
        tenant: Annotated[
            str | None, typer.Option(help="Tenant of all requests; without it, that of the header aimds-tenant.")
        ] = None,
        screen_system: Annotated[
            bool, typer.Option("--screen-system", help="Screen system messages too: clients write them, not you.")
        ] = False,
        tiers: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Model tiers: chat completions go to the one that aimds route would choose."
            ),
        ] = None,
        whole: Annotated[
            bool, typer.Option("--whole", help="Let nothing of a streamed answer leave before all of it was judged.")
        ] = False,
        strict: Annotated[
            bool, typer.Option("--strict", help="Refuse what is not screened, but for GET, HEAD and OPTIONS.")
        ] = False,
        max_body: Annotated[int, typer.Option(min=1, max=4096, help="Largest body that is screened, in MiB.")] = 32,
        timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without a byte from the server.")] = 600.0,
        upstream_ca: Annotated[
            Path | None, typer.Option(metavar="PEM", help="CAs that the server's certificate is checked against.")
        ] = None,
        workers: Annotated[
            int | None,
            typer.Option(min=0, max=256, help="Processes that judge; 0: a thread does.  \\[default: by the cores]"),
        ] = None,
        backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    ) -> None:
        """Screen what goes to a model's server and what comes back, until SIGTERM or Ctrl-C.

        Screened are chat completions, completions, responses and messages, streamed or not, and what a server has
        stored of the first three; all else passes as it is. Below /aimds/ the proxy answers itself: healthz, readyz,
        metrics.

        Example: aimds proxy --upstream http://127.0.0.1:8000 --port 8080
        """
        import os
        import secrets

        from aimds.errors import ConfigError
        from aimds.gateway.settings import load
        from aimds.integrations.proxy.front import Front
        from aimds.integrations.proxy.routing import Routing
        from aimds.integrations.proxy.screened import Bounds
        from aimds.integrations.proxy.senders import Senders
        from aimds.integrations.proxy.upstream import Address, Upstream
        from aimds.route.tiers import Tiers

        screening = {
            "profile": profile,
            "policy": policy,
            "patterns": patterns,
            "learned": learned,
            "workers": workers,
            "backend": backend,
        }
        check(screening)
        if tenant is not None and not tenant.strip():
            raise ConfigError("tenant", tenant, "a name")
        choosing = None if tiers is None else Tiers.load(tiers)
        server = Upstream(Address.read(upstream), timeout_s=timeout, ca=upstream_ca)

        def settings() -> Settings:
            found = replace(screened(load(config), screening), **changed({"host": host, "port": port}))
            if found.has_identity:
                return found
            if found.host not in LOCAL:
                expected = "127.0.0.1 or ::1, or settings with [tls] and [auth]: requests carry credentials"
                raise ConfigError("listen.host", found.host, expected)
            return replace(found, insecure=True)

        def front(own: Any, gateway: Any) -> Front:
            bounds = Bounds(max_body << 20, whole=whole, system=screen_system, output=gateway.settings.output)
            senders = Senders(secrets.token_bytes(32), tenant)
            say(f"passing on to {server.address.scheme}://{server.address.authority}{server.address.prefix}")
            routing = None if choosing is None else Routing(choosing, os.environ, gateway.service.metrics)
            if choosing is not None:
                say("chat completions go to " + ", ".join(f"{one.name} ({one.url})" for one in choosing.tiers))
            return Front(
                own, gateway.service, gateway.policy, server, senders, bounds, strict=strict, routing=routing, say=say
            )

        run(settings, front)
