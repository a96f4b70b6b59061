"""What a real Redis may answer, and what becomes of the points meanwhile."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from ulid import ULID

from destinations import RedisStreamDestination
from destinations.redis_stream import record_of
from router.batch import PointBatch
from router.errors import DestinationError, TerminalError, TransientError, UnavailableError
from tests.acceptance.fleet_fixture import until
from tests.faults.proxy import MOMENTS, Proxy
from tests.integration.writing import Writing
from tests.make import make_batch, make_point
from tests.servers.certificates import CA, STRANGER
from tests.servers.redis import Redis, SecureRedis, own_redis, own_secure_redis


class Streams:
    """A stream that no other test knows, of the server that all tests of this module share."""

    def __init__(self, server: Redis, made: ExitStack) -> None:
        self.server = server
        self.name = f"bars-{ULID()}"
        self._made = made

    def destination(self, url: str | None = None, stream: str = "", **options) -> RedisStreamDestination:
        """Return a destination for the stream; it is closed after the test."""
        made = RedisStreamDestination(url or self.server.url, stream or self.name, **options)
        return self._made.enter_context(closing(made))

    def entries(self, stream: str = "") -> list[dict[str, str]]:
        """Return the entries of the stream, in order."""
        with self.server.client() as client:
            return [entry for _, entry in client.xrange(stream or self.name)]

    def closes(self) -> list[float]:
        """Return the closing prices, in the stream's order."""
        return [json.loads(entry["point"])["close"] for entry in self.entries()]

    def raised(self, url: str | None = None, **options) -> DestinationError:
        """Return what a write raises."""
        with pytest.raises(DestinationError) as found:
            self.destination(url, **options).write_batch(make_batch(1))
        return found.value


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Give a Redis that may be killed."""
    with own_redis() as its_own:
        yield its_own


@pytest.fixture
def streams(server: Redis) -> Iterator[Streams]:
    """Give a stream of it."""
    with ExitStack() as made:
        yield Streams(server, made)


@pytest.fixture
def admin(server: Redis) -> Iterator:
    """Give a client that may do everything."""
    with server.client() as client:
        yield client


def test_an_entry_holds_the_point_and_the_name_of_its_row(streams):
    batch = make_batch(2, batch_id="b1")
    streams.destination().write_batch(batch)
    first, second = streams.entries()
    assert list(second) == ["point", "batch", "row", "route"]
    assert (second["batch"], second["row"], second["route"]) == ("b1", "1", "everything")
    assert json.loads(first["point"])["symbol"] == "BTC/USDT"


def test_each_symbol_has_a_stream_of_its_own_whatever_its_name(streams):
    symbols = ["BTC/USDT", "é 文 {x}", "a:b", "%2F"]
    destination = streams.destination(stream=f"{streams.name}:{{symbol}}")
    batch = PointBatch.of([make_point(symbol=symbol) for symbol in symbols]).for_route("all")
    for _ in range(2):
        destination.write_batch(batch)
    written = [f"{streams.name}:{name}" for name in ("BTC%2FUSDT", "%C3%A9%20%E6%96%87%20%7Bx%7D", "a%3Ab")]
    assert [len(streams.entries(name)) for name in written] == [1, 1, 1]
    assert destination.holds(batch).all()
    assert destination.on_record("all") is None


def test_a_stream_keeps_about_as_many_entries_as_it_may(streams):
    destination = streams.destination(maxlen=100)
    destination.write_batch(make_batch(2500))
    assert 100 <= len(streams.entries()) < 300
    assert destination.on_record("everything") == 2500


def test_a_large_part_is_added_in_order_and_once(streams):
    batch = make_batch(3500, ["A", "B"])
    destination = streams.destination()
    destination.write_batch(batch.slice(500, 1700))
    destination.write_batch(batch)
    closes = [point.close for point in batch]
    assert streams.closes() == [*closes[500:1700], *closes[:500], *closes[1700:]]


def test_what_is_on_record_is_told_row_by_row(streams):
    batch = make_batch(10)
    destination = streams.destination()
    destination.write_batch(batch.slice(2, 5))
    assert destination.holds(batch).tolist() == [2 <= row < 5 for row in range(10)]
    assert destination.on_record("everything") == 3
    assert destination.on_record("another") == 0


def test_old_batches_of_which_nothing_is_owed_are_forgotten(streams):
    destination = streams.destination()
    for batch_id in ("owed", "settled"):
        destination.write_batch(make_batch(3, batch_id=batch_id))
    assert destination.prune(timedelta(days=1), lambda *_: []) == 0
    assert destination.prune(timedelta(seconds=-5), lambda *_: ["owed"]) == 1
    assert destination.on_record("everything") == 6
    assert destination.holds(make_batch(3, batch_id="owed")).all()


def test_every_stream_forgets_but_not_what_was_added_meanwhile(streams, monkeypatch):
    destination = streams.destination(stream=streams.name + "-{symbol}")
    batch = make_batch(6, ["A", "B"], batch_id="again")
    with monkeypatch.context() as patch:
        patch.setattr("destinations.redis_stream.time", SimpleNamespace(time=lambda: 1e9))
        destination.write_batch(batch.slice(0, 4))
        destination.write_batch(make_batch(2, ["A", "B"], batch_id="once"))

    def settled(_route: str, batches: Sequence[str]) -> list[str]:
        if "again" in batches:
            destination.write_batch(batch)
        return []

    assert destination.prune(timedelta(days=1), settled) == 2
    assert destination.holds(batch).all()
    assert not destination.holds(make_batch(2, ["A", "B"], batch_id="once")).any()


def test_one_id_for_two_batches_is_refused(streams):
    destination = streams.destination()
    destination.write_batch(with_digest(make_batch(3, batch_id="same")))
    with pytest.raises(TerminalError, match="one id stands for two batches"):
        destination.write_batch(with_digest(make_batch(3, ["OTHER"], batch_id="same")))
    assert len(streams.entries()) == 3


def test_writers_of_the_same_rows_at_once_add_each_once(streams):
    batch, barrier = make_batch(1500), threading.Barrier(4)

    def write() -> None:
        destination = streams.destination()
        destination.open()
        barrier.wait()
        destination.write_batch(batch)

    assert [writing.ended() for writing in [Writing(write) for _ in range(4)]] == [None] * 4
    assert len(streams.entries()) == 1500


# -- refusals ------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_waited_for(streams):
    error = streams.raised("redis://127.0.0.1:1/0")
    assert isinstance(error, UnavailableError)
    assert "start the server" in str(error)


def test_a_wrong_password_is_waited_for_and_not_shown(streams):
    error = streams.raised(streams.server.url_for("nobody:s3cr3t@"))
    assert isinstance(error, UnavailableError)
    assert "mend user and password in url" in str(error)
    assert "s3cr3t" not in f"{error!r}{error.__cause__!r}"


def test_a_server_that_asks_for_a_password_says_so(streams, admin):
    admin.config_set("requirepass", "s3cr3t")
    try:
        error = streams.raised()
        streams.destination(streams.server.url_for(":s3cr3t@")).write_batch(make_batch(1))
    finally:
        admin.auth("s3cr3t")
        admin.config_set("requirepass", "")
    assert isinstance(error, UnavailableError)
    assert "give user and password" in str(error)


def test_a_user_who_may_not_add_is_told_what_is_missing(streams, admin):
    admin.acl_setuser("reader", enabled=True, passwords=["+s3cr3t"], keys=["*"], commands=["+@read", "+ping"])
    error = streams.raised(streams.server.url_for("reader:s3cr3t@"))
    assert isinstance(error, UnavailableError)
    assert "let this user PING, EVAL" in str(error)


def test_a_user_who_may_do_what_the_documentation_says_adds_points(streams, admin):
    commands = [f"+{name}" for name in ("ping", "eval", "xadd", "hget", "hmget", "hset", "hincrby")]
    keys = ["bars*", "{bars*"]
    admin.acl_setuser("writer", enabled=True, passwords=["+s3cr3t"], keys=keys, commands=commands)
    destination = streams.destination(streams.server.url_for("writer:s3cr3t@"))
    destination.write_batch(make_batch(3))
    assert destination.on_record("everything") == len(streams.entries()) == 3


@pytest.mark.parametrize("command", ["hset", "hincrby", "xadd", "hget"])
def test_a_user_who_may_not_do_all_of_a_step_does_nothing_of_it(streams, admin, command):
    allowed = ["+@all", f"-{command}"]
    admin.acl_setuser("half", enabled=True, reset=True, passwords=["+s3cr3t"], keys=["*"], commands=allowed)
    error = streams.raised(streams.server.url_for("half:s3cr3t@"))
    assert isinstance(error, UnavailableError)
    assert "let this user PING, EVAL" in str(error)
    assert not streams.entries()


def test_a_permission_that_is_revoked_in_mid_write_is_waited_for(streams, admin):
    admin.acl_setuser("some", enabled=True, passwords=["+s3cr3t"], keys=["*"], commands=["+@all"])
    destination, batch = streams.destination(streams.server.url_for("some:s3cr3t@")), make_batch(20_000)
    destination.open()
    writing = Writing(lambda: destination.write_batch(batch))
    until(streams.entries, "the first step is done")
    admin.acl_setuser("some", enabled=True, commands=["-@all"])
    assert isinstance(writing.ended(), UnavailableError)
    admin.acl_setuser("some", enabled=True, commands=["+@all"])
    destination.write_batch(batch)
    assert streams.closes() == [point.close for point in batch]


def test_a_password_may_hold_any_character_and_is_not_shown(streams, admin):
    password = "p%@/:#?&[ü文 '\""
    admin.acl_setuser("odd", enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"])
    streams.destination(streams.server.url_for(f"odd:{quote(password, safe='')}@")).write_batch(make_batch(1))
    wrong = password + "!"
    error = streams.raised(streams.server.url_for(f"odd:{quote(wrong, safe='')}@"))
    shown = "".join(traceback.format_exception(error))
    assert not [
        spelt for spelt in (wrong, quote(wrong), quote(wrong, safe=""), repr(wrong)) if spelt in shown
    ]


@pytest.mark.parametrize("field", ["everything\0b", "rows everything"])
def test_a_record_that_somebody_else_wrote_to_is_waited_for(streams, admin, field):
    batch = make_batch(3, batch_id="b")
    admin.hset(record_of(streams.name), field, "not ours")
    destination = streams.destination()
    with pytest.raises(UnavailableError, match=f"stream {streams.name}: .*somebody else wrote to the record"):
        destination.write_batch(batch)
    assert not destination.holds(batch).any()
    assert not streams.entries()
    admin.delete(record_of(streams.name))
    destination.write_batch(batch)
    assert len(streams.entries()) == 3


def test_what_others_trim_is_not_added_again(streams, admin):
    destination, batch = streams.destination(), make_batch(3000)
    destination.write_batch(batch.slice(0, 2000))
    admin.xtrim(streams.name, maxlen=10, approximate=False)
    destination.write_batch(batch)
    assert len(streams.entries()) == 1010
    assert destination.on_record("everything") == 3000


def test_a_server_that_was_emptied_has_what_is_written_again_once(streams, admin):
    destination, batch = streams.destination(), make_batch(1500)
    destination.write_batch(batch.slice(0, 1200))
    admin.flushall()
    for _ in range(2):
        destination.write_batch(batch)
    assert streams.closes() == [point.close for point in batch]


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureRedis]:
    """Give a Redis that speaks TLS."""
    with own_secure_redis() as its_own:
        yield its_own


def test_points_are_added_over_tls_by_a_user_with_a_password(secure):
    with secure.client() as client:
        client.acl_setuser("tls", enabled=True, passwords=["+s3cr3t"], keys=["*"], commands=["+@all"])
    tls, batch = {"ssl_ca_certs": secure.folder / CA}, make_batch(1500)
    with closing(RedisStreamDestination(secure.secure_url("tls:s3cr3t@"), tls=tls)) as destination:
        for _ in range(2):
            destination.write_batch(batch)
        assert destination.on_record("everything") == 1500


def test_a_server_with_a_certificate_of_somebody_else_is_not_trusted(streams, secure):
    for tls in ({"ssl_ca_certs": secure.folder / STRANGER}, {}):
        error = streams.raised(secure.secure_url(), tls=tls)
        assert isinstance(error, UnavailableError)
        assert "give the CA that signed its certificate in tls" in str(error)
    tls, by_address = (
        {"ssl_ca_certs": secure.folder / CA},
        secure.secure_url().replace("localhost", "127.0.0.1"),
    )
    assert "name the host as its certificate does" in str(streams.raised(by_address, tls=tls))
    tls = {"ssl_ca_certs": secure.folder / "no.pem"}
    assert "no.pem: No such file or directory: put it there" in str(
        streams.raised(secure.secure_url(), tls=tls)
    )


def test_a_port_that_speaks_tls_or_not_is_told(streams, secure):
    plain = f"rediss://localhost:{secure.port}/0"
    error = streams.raised(plain, tls={"ssl_ca_certs": secure.folder / CA}, timeout=1)
    assert isinstance(error, UnavailableError)
    assert "perhaps redis:// is spoken there" in str(error)
    other = secure.secure_url().replace("rediss", "redis")
    assert "perhaps rediss:// is spoken there" in str(streams.raised(other))


def test_a_key_that_is_no_stream_is_left_as_it_is(streams, admin):
    admin.set(streams.name, "mine")
    error = streams.raised()
    assert isinstance(error, UnavailableError)
    assert "holds something else" in str(error)
    assert admin.get(streams.name) == "mine"
    assert admin.hgetall(record_of(streams.name)) == {"rows everything": "0"}


def test_a_full_memory_is_waited_for_and_nothing_is_lost(streams, admin):
    destination, batch = streams.destination(), make_batch(10)
    admin.config_set("maxmemory", 1)
    try:
        with pytest.raises(UnavailableError, match="make room, raise its maxmemory, or set maxlen"):
            destination.write_batch(batch)
    finally:
        admin.config_set("maxmemory", 0)
    destination.write_batch(batch)
    assert len(streams.entries()) == 10


def test_a_replica_that_only_reads_is_waited_for(streams, admin):
    admin.replicaof("127.0.0.1", 1)
    try:
        error = streams.raised()
    finally:
        admin.replicaof("NO", "ONE")
    assert isinstance(error, UnavailableError)
    assert "name the primary in url" in str(error)


# -- the server goes, and comes back -------------------------------------------------------------


def test_a_connection_that_the_server_ends_between_writes_costs_no_attempt(streams, admin):
    destination = streams.destination()
    destination.write_batch(make_batch(3))
    admin.client_kill_filter(_type="normal", skipme=True)
    destination.write_batch(make_batch(3))
    assert len(streams.entries()) == 6


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_step_whose_answer_is_lost_is_done_once(streams, server, moment):
    with closing(Proxy(server.port)) as proxy:
        destination, batch = streams.destination(server.url_for(port=proxy.port)), make_batch(500)
        destination.open()
        cut = proxy.arm(b"EVAL", moment)
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        assert cut.done.is_set()
        for _ in range(2):
            destination.write_batch(batch)
        destination.close()
    assert len(streams.entries()) == streams.destination().on_record("everything") == 500


def test_a_server_that_stands_still_is_given_up_in_time(streams, server):
    destination, batch = streams.destination(timeout=1), make_batch(5)
    destination.write_batch(batch.slice(0, 2))
    server.freeze()
    try:
        with pytest.raises(TransientError):
            destination.write_batch(batch)
        with pytest.raises(UnavailableError):
            destination.write_batch(batch)
    finally:
        server.thaw()
    destination.write_batch(batch)
    assert len(streams.entries()) == 5


def test_a_server_killed_in_mid_write_and_started_again_has_every_row_once(streams, server):
    destination, batches = streams.destination(), [make_batch(20_000, batch_id=f"b{n}") for n in range(3)]
    destination.write_batch(batches[0])
    writing = Writing(lambda: [destination.write_batch(batch) for batch in batches[1:] * 20])
    server.kill()
    error = writing.ended()
    server.start()
    assert isinstance(error, TransientError | UnavailableError)
    for batch in batches:
        destination.write_batch(batch)
    assert len(streams.entries()) == destination.on_record("everything") == 60_000


def with_digest(batch: PointBatch) -> PointBatch:
    parts = [replace(part, digest=batch.digest()) for part in batch.parts]
    return PointBatch(batch.frame, parts, batch.route_id)
