"""`candlefleet gateway`: live points to subscribers, and points from anybody by HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from router.errors import ConfigError
from router.names import NAME_RULE, is_name
from workers.cli import screen
from workers.cli.show import known_routes
from workers.settings import Settings, require_state_url, settings


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(gateway)


def gateway(
    host: Annotated[str, typer.Option(help="The address to listen at; others than loopback need tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; otherwise CANDLEFLEET_GATEWAY_PORT.")
    ] = None,
) -> None:
    """Serve live points over WebSocket, and take points by HTTP, until Ctrl-C."""
    try:
        from workers.gateway.app import Options, make_app
        from workers.gateway.auth import Tokens, is_loopback
        from workers.gateway.server import serve
        from workers.gateway.subscribers import Patience
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: pip install 'candlefleet[gateway]'"
        raise ConfigError("gateway.missing", "gateway", message) from None
    s = settings()
    tokens = Tokens(s.gateway_tokens.get_secret_value() if s.gateway_tokens else "")
    if not tokens and not is_loopback(host):
        message = f"{host} is reached by others: set CANDLEFLEET_GATEWAY_TOKENS, or listen at 127.0.0.1"
        raise ConfigError("gateway.open", "--host", message)
    port = s.gateway_port if port is None else port
    patience = Patience(queue=s.gateway_queue, heartbeat=s.gateway_heartbeat)
    options = Options(
        redis=require_state_url(),
        stream=_stream(s),
        tokens=tokens,
        origins=_origins(s),
        patience=patience,
        subscribers=s.gateway_subscribers,
        table=known_routes(),
        memory=s.memory,
        remember=s.remember,
    )
    screen.say(f"gateway: http://{f'[{host}]' if ':' in host else host}:{port}")
    serve(make_app(options), host, port)


def _stream(s: Settings) -> str:
    if not is_name(s.gateway_stream):
        raise ConfigError("stream.name", "CANDLEFLEET_GATEWAY_STREAM", f"is no name: write {NAME_RULE}")
    return s.gateway_stream


def _origins(s: Settings) -> list[str]:
    return [origin.strip().rstrip("/") for origin in (s.gateway_origins or "").split(",") if origin.strip()]
