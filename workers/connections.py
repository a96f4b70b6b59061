"""Find out whether destinations and the broker can be reached, by reaching them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread
from typing import Final

from router.check_routes import first_users
from router.conditions import said
from router.errors import ConfigError, FleetError
from router.findings import Finding
from router.hidden import without_hidden
from router.route import Destination
from router.table import RouteTable
from workers.broker import check
from workers.settings import settings, state_url
from workers.store import Store

#: Seconds after which a destination that neither opens nor fails is given up.
PATIENCE: Final = 20.0


def reach_destinations(
    table: RouteTable, about_to: Callable[[str], None], patience: float = PATIENCE
) -> Iterator[Finding]:
    """Open each destination and close it again; yield those that do not let us.

    What opening makes is made: the folder of files, their ledger.

    Args:
        table: The routes.
        about_to: Told the name of each destination before it is opened, which may take a while.
        patience: Seconds that each may take.
    """
    users = first_users(table)
    for name, destination in table.destinations().items():
        about_to(name)
        yield from _reach(destination, users[name], patience)


# In a thread of its own, which nobody waits for longer: a destination of a user's own may do anything.
def _reach(destination: Destination, route_id: str, patience: float) -> Iterator[Finding]:
    raised: list[BaseException] = []
    thread = Thread(target=_open_and_close, args=(destination, raised), daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        message = f"did not open and close within {patience:g} seconds: find out what it waits for"
        yield Finding("error", "destination.unreachable", route_id, "destination", message)
    for error in raised:
        if isinstance(error, ConfigError):
            yield Finding("error", error.code, route_id, "destination", without_hidden(error.message))
        else:
            message = f"cannot be opened: {said(error)}"
            yield Finding("error", "destination.unreachable", route_id, "destination", message)


def _open_and_close(destination: Destination, raised: list[BaseException]) -> None:
    try:
        destination.open()
        destination.close()
    except BaseException as error:  # also what would end the process
        raised.append(error)


def reach_broker() -> Iterator[Finding]:
    """Yield what is wrong with Redis and broker: not there, evicting, refusing, without append-only file."""
    s, url = settings(), state_url()
    if url is None:
        message = f"none is configured, and no embedded Redis runs in {s.dir}"
        variable = "CANDLEFLEET_BROKER_URL" if s.rabbitmq is None else "CANDLEFLEET_STATE_URL"
        hint = f"`candlefleet up` starts one, or set {variable}"
        yield Finding("info", "broker.missing", "", "broker", message, hint)
    else:
        store = Store.connect(url, memory=s.memory, remember=s.remember)
        with closing(store.redis):
            yield from _broken(lambda: store.check(volatile=s.volatile))
    if s.rabbitmq is not None:
        rabbitmq = s.rabbitmq
        yield from _broken(lambda: check(rabbitmq))


def _broken(checked: Callable[[], None]) -> Iterator[Finding]:
    try:
        checked()
    except ConfigError as error:
        yield Finding("error", error.code, "", "broker", f"{error.where}: {error.message}")
    except FleetError as error:
        yield Finding("error", "broker.unreachable", "", "broker", str(error))
