"""Settings: read from the environment, refused with the name of the variable, never telling a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.errors import ConfigError
from workers import settings as module
from workers.settings import broker_beside, broker_url, require_state_url, settings, state_url


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Forget what was read before, and whatever this machine has set."""
    for name in module.Settings.model_fields:
        monkeypatch.delenv(f"CANDLEFLEET_{name.upper()}", raising=False)
    monkeypatch.setenv("CANDLEFLEET_DIR", str(tmp_path))
    settings.cache_clear()
    yield
    settings.cache_clear()


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ConfigError:
    """Return the error that some variables cause."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        settings()
    return caught.value


def test_without_variables_there_is_a_fleet_of_this_folder() -> None:
    assert (settings().broker_url, settings().routes, settings().remember) == (None, Path("routes.py"), 3600)


def test_a_variable_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_LEASE", "2.5")
    assert settings().lease == 2.5
    monkeypatch.setenv("CANDLEFLEET_LEASE", "3")
    assert settings().lease == 2.5


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "")
    monkeypatch.setenv("CANDLEFLEET_MEMORY", "")
    assert (settings().broker_url, settings().memory) == (None, 1 << 30)


def test_a_variable_of_something_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_COLOUR", "blue")
    settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEMORY", "plenty"),
        ("MEMORY", "1000"),
        ("MEMORY", "2.5"),
        ("LEASE", "0"),
        ("LEASE", "nan"),
        ("LEASE", "inf"),
        ("TASK_TIME_LIMIT", "-1"),
        ("VISIBILITY_TIMEOUT", "soon"),
        ("RETRY_CAP", ".."),
        ("REMEMBER", "59"),
        ("LINGER", "-0.001"),
        ("LINGER", "11"),
        ("VOLATILE", "perhaps"),
        ("FLOWER_PORT", "65536"),
        ("BROKER_URL", "kafka://localhost"),
        ("BROKER_URL", "localhost:6379"),
        ("BROKER_URL", "amqp://localhost:port"),
        ("BROKER_URL", "amqp://"),
        ("STATE_URL", "amqp://localhost"),
        ("STATE_URL", "redis://localhost:99999"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_error_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    error = refused(monkeypatch, **{f"CANDLEFLEET_{name}": value})
    assert (error.code, error.where) == ("settings", f"CANDLEFLEET_{name}")
    assert str(error).startswith(f"CANDLEFLEET_{name}: ")


def test_messages_are_not_handed_out_again_while_they_may_be_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = refused(monkeypatch, CANDLEFLEET_VISIBILITY_TIMEOUT="269.9")
    assert "visibility_timeout 269.9 s is shorter than 1.5 x (retry_cap + task_time_limit) = 270 s" in str(
        error
    )


def test_a_longer_task_needs_a_longer_visibility_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(monkeypatch, CANDLEFLEET_TASK_TIME_LIMIT="400")
    assert "= 690 s" in str(error)
    monkeypatch.setenv("CANDLEFLEET_VISIBILITY_TIMEOUT", "690")
    assert settings().visibility_timeout == 690


# -- secrets --------------------------------------------------------------------------------------


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "redis://:tell-nobody@localhost:6379/0")
    shown = f"{settings()!r} {settings()} {settings().model_dump()} {settings().model_dump_json()}"
    assert "tell-nobody" not in shown
    assert broker_url() == "redis://:tell-nobody@localhost:6379/0"


@pytest.mark.parametrize(
    "other", [{"CANDLEFLEET_LEASE": "0"}, {"CANDLEFLEET_VISIBILITY_TIMEOUT": "1"}], ids=["field", "rule"]
)
def test_an_error_about_something_else_does_not_tell_the_password(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, str]
) -> None:
    error = refused(monkeypatch, CANDLEFLEET_BROKER_URL="redis://:tell-nobody@localhost", **other)
    assert "tell-nobody" not in f"{error!r} {error} {error.__cause__!r}"
    assert error.__suppress_context__, "the cause holds every value"


def test_an_error_about_the_broker_does_not_tell_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(monkeypatch, CANDLEFLEET_BROKER_URL="amqp://user:tell-nobody@localhost:port")
    assert "tell-nobody" not in f"{error!r} {error}"


# -- which broker ---------------------------------------------------------------------------------


def test_without_a_broker_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    assert broker_url() is None
    with pytest.raises(ConfigError, match="candlefleet up") as caught:
        require_state_url()
    assert (caught.value.code, caught.value.where) == ("broker.missing", "CANDLEFLEET_BROKER_URL")


def test_the_embedded_redis_of_the_folder_is_the_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def running(folder: Path) -> str | None:
        return "redis://:password@127.0.0.1:7/0" if folder == tmp_path else None

    monkeypatch.setattr("workers.embedded.running_url", running)
    assert require_state_url() == "redis://:password@127.0.0.1:7/0"


def test_a_configured_broker_goes_before_the_embedded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.embedded.running_url", lambda _: "redis://127.0.0.1:7/0")
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "rediss://elsewhere:6380/1")
    assert require_state_url() == "rediss://elsewhere:6380/1"


# -- messages here, state there -------------------------------------------------------------------


def test_a_redis_that_is_the_broker_holds_the_state_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "redis://here:6379/0")
    assert (broker_url(), state_url()) == ("redis://here:6379/0", "redis://here:6379/0")
    assert broker_beside("redis://there/1") == "redis://there/1"


def test_a_redis_for_the_state_alone_carries_the_messages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEFLEET_STATE_URL", "redis://here:6379/0")
    assert (broker_url(), state_url()) == ("redis://here:6379/0", "redis://here:6379/0")


@pytest.mark.parametrize("url", ["amqp://user:word@rabbit//", "amqps://rabbit:5671/candles"])
def test_a_rabbitmq_carries_messages_and_a_redis_holds_the_state(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", url)
    monkeypatch.setenv("CANDLEFLEET_STATE_URL", "redis://here:6379/0")
    assert (broker_url(), state_url()) == (url, "redis://here:6379/0")
    assert broker_beside("redis://there/1") == url


def test_a_rabbitmq_goes_with_the_embedded_redis_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.embedded.running_url", lambda _: "redis://127.0.0.1:7/0")
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "amqp://rabbit")
    assert (broker_url(), require_state_url()) == ("amqp://rabbit", "redis://127.0.0.1:7/0")


def test_a_rabbitmq_without_a_redis_is_an_error_that_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANDLEFLEET_BROKER_URL", "amqp://rabbit")
    with pytest.raises(ConfigError, match="RabbitMQ carries messages and keeps nothing else") as caught:
        require_state_url()
    assert (caught.value.code, caught.value.where) == ("state.missing", "CANDLEFLEET_STATE_URL")


def test_two_redis_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {"CANDLEFLEET_BROKER_URL": "redis://here", "CANDLEFLEET_STATE_URL": "redis://:tell-nobody@there"}
    error = refused(monkeypatch, **urls)
    assert "leave state_url out" in str(error)
    assert "tell-nobody" not in f"{error!r} {error}"
