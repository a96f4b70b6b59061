"""What a real RabbitMQ may answer, and what becomes of the points meanwhile."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import quote

import pytest
from ulid import ULID

from destinations import RabbitMQDestination
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, TerminalError, TransientError, UnavailableError
from tests.acceptance.fleet_fixture import until
from tests.faults.proxy import Proxy
from tests.integration.writing import Writing
from tests.make import make_batch, make_point
from tests.servers.certificates import CA, STRANGER
from tests.servers.rabbitmq import PASSWORD, USER, RabbitMQ, channel, make_queue, own_rabbitmq, taken


class Exchange:
    """An exchange that no other test knows, of the server that all tests of this module share."""

    def __init__(self, server: RabbitMQ, made: ExitStack) -> None:
        self.server = server
        self.name = f"bars-{ULID()}"
        self._made = made

    def destination(self, url: str | None = None, **options) -> RabbitMQDestination:
        """Return a destination for the exchange; it is closed after the test."""
        made = RabbitMQDestination(url or self.server.url, **{"exchange": self.name} | options)
        return self._made.enter_context(closing(made))

    def bind(self, key: str = "#", **arguments) -> None:
        """Bind a queue of its name."""
        make_queue(self.server.url, self.name, key, **arguments)

    def names(self) -> list[str]:
        """Return the message ids in the queue, in order."""
        return [message.properties["message_id"] for message in taken(self.server.url, self.name)]

    def waiting(self) -> int:
        """Return how many messages are in the queue."""
        with channel(self.server.url) as its:
            return int(its.queue_declare(self.name, passive=True).message_count)

    def keys(self) -> list[str]:
        """Return the routing keys in the queue, in order."""
        return [message.delivery_info["routing_key"] for message in taken(self.server.url, self.name)]

    def raised(self, url: str | None = None, **options) -> DestinationError:
        """Return what a write raises."""
        with pytest.raises(DestinationError) as found:
            self.destination(url, **options).write_batch(make_batch(1))
        return found.value


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitMQ]:
    """Give a RabbitMQ that may be killed."""
    with own_rabbitmq(secure=True) as its_own:
        yield its_own


@pytest.fixture
def exchange(server: RabbitMQ) -> Iterator[Exchange]:
    """Give an exchange of it."""
    with ExitStack() as made:
        yield Exchange(server, made)


def test_a_message_is_the_json_of_a_point_under_the_name_of_its_row(exchange):
    exchange.bind()
    exchange.destination().write_batch(make_batch(2, batch_id="b1"))
    _, second = taken(exchange.server.url, exchange.name)
    assert second.properties["message_id"] == "b1:1"
    assert second.headers == {"batch": "b1", "row": 1, "route": "everything"}
    assert (second.properties["delivery_mode"], second.properties["content_type"]) == (2, "application/json")
    assert json.loads(second.body)["close"] == 42_001.0


def test_a_symbol_is_one_word_of_the_key_whatever_is_in_it(exchange):
    exchange.bind("crypto.*.1m")
    symbols = ["BRK.B", "a b", "#", "*", "é 文", "%2E", "é" * 128]
    exchange.destination().write_batch(PointBatch.of([make_point(symbol=symbol) for symbol in symbols]))
    keys = exchange.keys()
    assert keys[:5] == [
        f"crypto.{word}.1m" for word in ("BRK%2EB", "a%20b", "%23", "%2A", "%C3%A9%20%E6%96%87")
    ]
    assert len(set(keys)) == len(symbols)


def test_points_that_no_queue_is_bound_for_are_named_and_all_others_are_there(exchange):
    exchange.bind("*.ETH.*")
    batch = make_batch(6, ["ETH", "BTC"], batch_id="b")
    with pytest.raises(
        TerminalError, match=r"'crypto\.BTC\.1m'.*bind one, then `candlefleet dead"
    ) as refused:
        exchange.destination().write_batch(batch)
    assert refused.value.rows == (1, 3, 5)
    assert exchange.names() == ["b:0", "b:2", "b:4"]


def test_points_that_no_queue_is_bound_for_may_vanish(exchange):
    exchange.destination(mandatory=False).write_batch(make_batch(6))


def test_more_messages_than_may_be_on_their_way_are_all_confirmed(exchange):
    exchange.bind()
    exchange.destination().write_batch(make_batch(12_000, batch_id="b"))
    assert exchange.waiting() == 12_000


# -- refusals ------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_waited_for(exchange):
    error = exchange.raised(exchange.server.url_for(port=1))
    assert isinstance(error, UnavailableError)
    assert "start the server" in str(error)


def test_a_wrong_password_is_waited_for_and_not_shown(exchange):
    error = exchange.raised(exchange.server.url_for(password="0p3n"))
    assert isinstance(error, UnavailableError)
    assert "mend user and password in url" in str(error)
    assert "0p3n" not in f"{error!r}{error.__cause__!r}"


def test_a_virtual_host_that_is_not_there_is_named(exchange):
    error = exchange.raised(exchange.server.url_for(vhost="no where"))
    assert isinstance(error, UnavailableError)
    assert "make the virtual host" in str(error)


def test_an_exchange_of_another_type_is_refused(exchange):
    with channel(exchange.server.url) as its:
        its.exchange_declare(exchange.name, "fanout", durable=True, auto_delete=False)
    with pytest.raises(ConfigError, match=r"inequivalent arg 'type'.*name another exchange") as refused:
        exchange.destination().open()
    assert refused.value.code == "exchange.type"


def test_an_exchange_that_may_not_be_made_is_missed(exchange):
    error = exchange.raised(declare=False)
    assert isinstance(error, UnavailableError)
    assert "no exchange" in str(error)


def test_a_user_who_may_only_write_publishes_to_an_exchange_that_is_there(exchange, server):
    exchange.bind()
    server.api("PUT", "users/writer", {"password": "pw-of-writer", "tags": ""})
    server.api("PUT", "permissions/%2F/writer", {"configure": "", "write": exchange.name, "read": ""})
    url = server.url_for("writer", "pw-of-writer")
    exchange.destination(url).write_batch(make_batch(3, batch_id="b"))
    assert exchange.names() == ["b:0", "b:1", "b:2"]
    server.api("PUT", "permissions/%2F/writer", {"configure": "", "write": "", "read": ""})
    error = exchange.raised(url)
    assert isinstance(error, UnavailableError)
    assert "grant the user write" in str(error)


def test_an_exchange_that_is_deleted_meanwhile_is_waited_for(exchange):
    destination = exchange.destination()
    exchange.bind()
    destination.write_batch(make_batch(1))
    with channel(exchange.server.url) as its:
        its.exchange_delete(exchange.name)
    batch = make_batch(2, batch_id="b")
    for _ in range(2):  # one that is made again would have no queue
        with pytest.raises(UnavailableError, match="no exchange"):
            destination.write_batch(batch)
    exchange.bind()
    destination.write_batch(batch)
    assert exchange.names()[1:] == ["b:0", "b:1"]


def test_a_queue_that_is_full_costs_an_attempt(exchange):
    exchange.bind(x_max_length=3, x_overflow="reject-publish")
    with pytest.raises(TransientError, match="a queue is full, so let its consumers catch up"):
        exchange.destination().write_batch(make_batch(20))


def test_a_message_larger_than_the_server_takes_is_refused_for_good(exchange, server):
    exchange.bind()
    server.control("eval", "application:set_env(rabbit, max_message_size, 100).")
    try:
        with pytest.raises(
            TerminalError, match=r"larger than configured.*raise its max_message_size"
        ) as found:
            exchange.destination().write_batch(make_batch(2))
    finally:
        server.control("eval", "application:unset_env(rabbit, max_message_size).")
    assert found.value.rows is None
    exchange.destination().write_batch(make_batch(2, batch_id="b"))
    assert exchange.names() == ["b:0", "b:1"]


def test_a_server_that_lets_no_more_clients_in_is_waited_for(exchange, server):
    server.api("PUT", "users/crowd", {"password": "pw-of-crowd", "tags": ""})
    server.api("PUT", "permissions/%2F/crowd", {"configure": "", "write": ".*", "read": ""})
    for limit in ("max-connections", "max-channels"):
        server.api("PUT", f"user-limits/crowd/{limit}", {"value": 0})
        error = exchange.raised(server.url_for("crowd", "pw-of-crowd"))
        server.api("DELETE", f"user-limits/crowd/{limit}")
        assert isinstance(error, UnavailableError)
        assert "raise that limit, or run fewer workers" in str(error)


def test_a_permission_that_is_revoked_meanwhile_is_waited_for(exchange, server):
    exchange.bind()
    server.api("PUT", "users/guest-writer", {"password": "pw-of-guest", "tags": ""})
    may = {"configure": "", "write": ".*", "read": ""}
    server.api("PUT", "permissions/%2F/guest-writer", may)
    destination = exchange.destination(server.url_for("guest-writer", "pw-of-guest"))
    batch = make_batch(500, batch_id="b")
    destination.write_batch(batch)
    server.api("PUT", "permissions/%2F/guest-writer", may | {"write": ""})
    destination.close()  # a busy channel may go on as before
    with pytest.raises(UnavailableError, match="grant the user write"):
        destination.write_batch(batch)
    server.api("PUT", "permissions/%2F/guest-writer", may)
    destination.write_batch(batch)
    assert exchange.waiting() == 1000


def test_a_virtual_host_that_is_deleted_and_made_again_gets_every_row(exchange, server):
    server.api("PUT", "vhosts/market")
    url, batch = server.url_for(vhost="market"), make_batch(3, batch_id="b")
    make_queue(url, exchange.name)
    destination = exchange.destination(url)
    destination.write_batch(batch)
    server.api("DELETE", "vhosts/market")
    with pytest.raises(UnavailableError, match="make the virtual host"):
        destination.write_batch(batch)
    server.api("PUT", "vhosts/market")
    make_queue(url, exchange.name)
    destination.write_batch(batch)
    assert len(taken(url, exchange.name)) == 3


def test_a_password_may_hold_any_character_and_is_not_shown(exchange, server):
    password = "p%@/:#?&[ü文 '\""
    server.api("PUT", "users/odd", {"password": password, "tags": ""})
    server.api("PUT", "permissions/%2F/odd", {"configure": ".*", "write": ".*", "read": ".*"})
    exchange.bind()
    exchange.destination(server.url_for("odd", quote(password, safe=""))).write_batch(make_batch(1))
    wrong = password + "!"
    error = exchange.raised(server.url_for("odd", quote(wrong, safe="")))
    shown = "".join(traceback.format_exception(error))
    assert not [
        spelt for spelt in (wrong, quote(wrong), quote(wrong, safe=""), repr(wrong)) if spelt in shown
    ]


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def secure(server: RabbitMQ) -> str:
    """Return the URL of the server for TLS, by the name that its certificate has."""
    return f"amqps://{USER}:{PASSWORD}@localhost:{server.secure_port}"


def test_points_are_published_over_tls(exchange, server, secure):
    exchange.bind()
    destination = exchange.destination(secure, tls={"ca_certs": server.folder / CA})
    for name in "ab":
        destination.write_batch(make_batch(500, batch_id=name))
    server.control("close_all_connections", "test")
    destination.write_batch(make_batch(1, batch_id="c"))
    assert exchange.names() == [*(f"{name}:{row}" for name in "ab" for row in range(500)), "c:0"]


def test_a_server_with_a_certificate_of_somebody_else_is_not_trusted(exchange, server, secure):
    for tls in ({"ca_certs": server.folder / STRANGER}, {}):
        error = exchange.raised(secure, tls=tls)
        assert isinstance(error, UnavailableError)
        assert "give the CA that signed its certificate in tls" in str(error)
    tls = {"ca_certs": server.folder / CA}
    assert "name the host as its cert" in str(
        exchange.raised(secure.replace("localhost", "127.0.0.1"), tls=tls)
    )
    tls = {"ca_certs": server.folder / "no.pem"}
    assert "no.pem: No such file or directory: put it there" in str(exchange.raised(secure, tls=tls))


def test_a_port_that_speaks_tls_or_not_is_told(exchange, server, secure):
    plain = secure.replace(str(server.secure_port), str(server.port))
    error = exchange.raised(plain, tls={"ca_certs": server.folder / CA})
    assert isinstance(error, UnavailableError)
    assert "no TLS is spoken there" in str(error)
    assert "perhaps amqps:// is spoken there" in str(exchange.raised(secure.replace("amqps", "amqp")))


def test_a_server_that_blocks_publishers_is_waited_for(exchange, server):
    exchange.bind()
    destination, batch = exchange.destination(timeout=2), make_batch(5, batch_id="b")
    server.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        with pytest.raises(UnavailableError, match="make room on the server"):
            destination.write_batch(batch)
    finally:
        server.control("set_vm_memory_high_watermark", "absolute", "512MB")
    destination.write_batch(batch)
    assert set(exchange.names()) == {f"b:{row}" for row in range(5)}


# -- the server goes, and comes back -------------------------------------------------------------


def test_a_connection_that_the_server_ends_between_writes_costs_no_attempt(exchange, server):
    exchange.bind()
    destination = exchange.destination()
    destination.write_batch(make_batch(1, batch_id="a"))
    server.control("close_all_connections", "test")
    destination.write_batch(make_batch(1, batch_id="b"))
    assert exchange.names() == ["a:0", "b:0"]


@pytest.mark.parametrize("moment", ["before", "in", "after"])
def test_a_write_whose_confirms_are_lost_is_published_again_under_the_same_names(exchange, server, moment):
    exchange.bind()
    with closing(Proxy(server.port)) as proxy:
        destination = exchange.destination(server.url_for(port=proxy.port))
        destination.open()
        batch = make_batch(300, batch_id="b")
        cut = proxy.arm(b"b:200", moment)
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        assert cut.done.is_set()
        destination.write_batch(batch)
        destination.close()
    names = exchange.names()
    assert set(names) == {f"b:{row}" for row in range(300)}
    assert len(names) < 600


def test_a_server_that_stands_still_is_given_up_in_time(exchange, server):
    exchange.bind()
    destination, batch = exchange.destination(timeout=1), make_batch(5, batch_id="b")
    destination.write_batch(batch)
    server.freeze()
    try:
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        with pytest.raises(UnavailableError):
            destination.write_batch(batch)
    finally:
        server.thaw()
    destination.write_batch(batch)
    assert set(exchange.names()) == {f"b:{row}" for row in range(5)}


def test_a_server_killed_in_mid_write_and_started_again_has_every_row(exchange, server):
    exchange.bind()
    destination, batch = exchange.destination(), make_batch(10_000, batch_id="b")
    destination.open()
    writing = Writing(lambda: destination.write_batch(batch))
    until(lambda: exchange.waiting(), "the first messages are there")
    server.kill()
    error = writing.ended()
    assert isinstance(error, TransientError)
    with pytest.raises(UnavailableError, match="start the server"):
        destination.write_batch(batch)
    server.start()
    destination.write_batch(batch)
    assert set(exchange.names()) == {f"b:{row}" for row in range(10_000)}
