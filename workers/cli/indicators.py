"""`candlefleet indicators warmup`: how much history makes an indicator what it is over the whole series."""

from __future__ import annotations

from typing import Annotated

import typer

from router.indicator_windows import history_for
from router.indicators import TOLERANCE, Indicator, indicators
from workers.cli import screen
from workers.cli.show import Json

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Such as sma_20, macd_12_26_9; the default ones otherwise.", show_default=False),
]
Tolerance = Annotated[
    float, typer.Option(help="Relative difference from the value over the whole series that does not matter.")
]

indicators_app = typer.Typer(help="Look at technical indicators.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(indicators_app, name="indicators")


@indicators_app.command()
def warmup(names: Names = None, tolerance: Tolerance = TOLERANCE, json: Json = False) -> None:
    """Show how many bars each indicator needs, the current one included, and what its values are called."""
    wanted = indicators(tuple(names or ()))
    kept = history_for(wanted, tolerance).bars
    if json:
        rows = [_described(one, tolerance) for one in wanted]
        screen.as_json({"tolerance": tolerance, "kept": kept, "indicators": rows})
        return
    cells = (
        (one.name, str(one.warm_up(tolerance)), str(one.lookback), ", ".join(one.values)) for one in wanted
    )
    screen.out.print(screen.table(("|indicator", "history", "lookback", "<values"), cells))
    screen.out.print(
        f"within {tolerance:g} of the value over the whole series; "
        f"a route with all of these keeps {screen.number(kept)} bars of each series",
        soft_wrap=True,
    )


def _described(one: Indicator, tolerance: float) -> dict[str, object]:
    return {
        "name": one.name,
        "history": one.warm_up(tolerance),
        "lookback": one.lookback,
        "values": one.values,
    }
