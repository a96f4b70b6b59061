"""The `candlefleet` command."""

from __future__ import annotations

import sys

import typer

from router.errors import CandlefleetError
from workers.cli import (
    bury,
    check,
    dataset,
    dataset_finalize,
    dataset_leakcheck,
    dataset_lint,
    dataset_splits,
    dataset_verify,
    explain,
    fleet,
    flush,
    gateway,
    indicators,
    letters,
    maintain,
    review,
    routes,
    send,
    show,
)

app = typer.Typer(
    name="candlefleet",
    help="Route market bars to everywhere they are needed, without losing one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _module in (
    fleet,
    gateway,
    send,
    explain,
    flush,
    show,
    check,
    routes,
    bury,
    letters,
    review,
    maintain,
    dataset,
    indicators,
):
    _module.register(app)
for _of_dataset in (dataset_finalize, dataset_splits, dataset_verify, dataset_leakcheck, dataset_lint):
    _of_dataset.register(app)


def main() -> None:
    """Run the command; an error of ours is one line that says what to do next, and exit code 2."""
    try:
        app()
    except CandlefleetError as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None:  # not about a file that was named: a fault of ours
            raise
        _fail(f"{error.filename}: {error.strerror}")


def _fail(message: str) -> None:
    print(f"candlefleet: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
