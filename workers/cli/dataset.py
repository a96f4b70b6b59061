"""`candlefleet dataset`: what is done with a training set once deliveries have left its examples."""

from __future__ import annotations

import typer

dataset_app = typer.Typer(help="Finish, check and prove training sets.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group that commands about training sets join."""
    app.add_typer(dataset_app, name="dataset")
