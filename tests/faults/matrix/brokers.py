"""Redis that dies, freezes, forgets or is full, and connections that are cut."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import redis

from tests.acceptance.fleet_fixture import alive, until
from tests.faults import disks
from tests.faults.fault import Fault
from tests.faults.proxy import MOMENTS
from tests.faults.scene import Scene, send_signal
from workers.store import PREFIX


def redis_pid(scene: Scene) -> int:
    """Return the process id of the server, once it answers."""
    scene.redis_is_back()
    return int(scene.store.redis.info("server")["process_id"])


def killed(scene: Scene, turn: int) -> str:
    """Kill Redis; it is started again at once."""
    send_signal(redis_pid(scene), signal.SIGKILL)
    scene.rest(0.2)
    scene.redis_is_back()
    return "redis"


def stopped(scene: Scene, turn: int) -> str:
    """Freeze Redis: for moments, and once for longer than anyone waits for an answer."""
    pid, seconds = redis_pid(scene), 12.0 if turn == 4 else scene.dice.uniform(0.2, 1.5)
    send_signal(pid, signal.SIGSTOP)
    try:
        scene.rest(seconds)
    finally:
        send_signal(pid, signal.SIGCONT)
    return f"{seconds:.1f} s"


KEYS = 600_000  #: foreign keys that make loading take a second or two


@contextlib.contextmanager
def much_to_load(scene: Scene) -> Iterator[None]:
    """Let Redis hold so much that it says LOADING for a while when it is started."""
    script = "for i = 1, 20000 do redis.call('SET', 'foreign:' .. ARGV[1] .. ':' .. i, i) end"
    for part in range(KEYS // 20_000):
        scene.store.redis.eval(script, 0, part)
    try:
        yield
    finally:
        scene.redis_is_back()
        for part in range(KEYS // 20_000):
            scene.store.redis.unlink(*(f"foreign:{part}:{i}" for i in range(1, 20_001)))
        scene.store.redis.bgrewriteaof()
        until(lambda: not scene.store.redis.info("persistence")["aof_rewrite_in_progress"], "it is rewritten")


def set_back(scene: Scene, turn: int) -> str:
    """Kill Redis, cut the end of its append-only file, and let the producer repeat what is forgotten.

    The workers live on, with parts in hand that Redis no longer knows.
    """
    scene.caught_working()
    scene.feeder.pause()
    until(lambda: not scene.feeder.unacknowledged(), "what was sent is acknowledged", every=0.005)
    pid = redis_pid(scene)
    with scene.unmended():
        send_signal(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "Redis ended", every=0.005)
        files = list((scene.folder / "redis" / "appendonlydir").glob("*.incr.aof"))
        file = max(files, key=lambda path: path.stat().st_mtime)
        bytes_ = min(scene.dice.randint(1, 60_000), file.stat().st_size // 2)
        os.truncate(file, file.stat().st_size - bytes_)
    scene.redis_is_back()
    repeated = repeat_forgotten(scene)
    return f"{bytes_} bytes, {repeated} batches"


def repeat_forgotten(scene: Scene) -> int:
    """Send again, in order, what was acknowledged and is forgotten, as a careful producer would."""
    sent = scene.feeder.names
    known = [scene.store.redis.exists(f"{PREFIX}accepted:{name}") for name, _ in sent]
    forgotten = [batch for batch, there in zip(sent, known, strict=True) if not there]
    for name, rows in forgotten:
        scene.feeder.again(name, rows)
    until(lambda: not scene.feeder.unacknowledged(), "they are acknowledged again", every=0.01)
    return len(forgotten)


def client_killed(scene: Scene, turn: int) -> str:
    """Cut half of the fleet's connections from the side of Redis."""
    me = scene.store.redis.client_id()
    others = [int(one["id"]) for one in scene.store.redis.client_list() if int(one["id"]) != me]
    for client in scene.dice.sample(others, (len(others) + 1) // 2):
        scene.store.redis.client_kill_filter(_id=client)
    scene.rest(0.5)
    return f"{len(others)} connections"


#: How Celery tells Redis that a message is done with.
ACK = b"ZREM\r\n$13\r\nunacked_index"
#: What is being said when the connection breaks: scripts, and what Celery says.
SAID = ("accept", "take", "match", "cut", "claim", "settle", "ack", "BRPOP", "LPUSH")


def cut(scene: Scene, turn: int) -> str:
    """Reset one connection before, in or after a command, or in its reply."""
    word, moment = SAID[turn % len(SAID)], MOMENTS[turn // len(SAID) % len(MOMENTS)]
    armed = scene.proxy.arm(_said(scene, word), moment)
    until(armed.done.is_set, f"a connection was cut {moment} {word}", within=40, every=0.005)
    return f"{moment} {word}"


# A pipeline asks whether its scripts are known before it calls them: that is not meant.
def _said(scene: Scene, word: str) -> bytes:
    if word == "ack":
        return ACK
    script = scene.store._scripts.get(word)
    return word.encode() if script is None else b"EVALSHA\r\n$40\r\n" + script.sha.encode()


def memory_full(scene: Scene, turn: int) -> str:
    """Let Redis have no memory left for a second."""
    scene.redis_is_back()
    used = scene.store.redis.info("memory")["used_memory"]
    scene.store.redis.config_set("maxmemory", used + 1024)
    scene.rest(1.0)
    scene.store.redis.config_set("maxmemory", scene.redis.memory)
    scene.redis_is_back()
    return f"{used >> 20} MB"


def disk_full(scene: Scene, turn: int) -> str:
    """Fill the disk of the append-only file until Redis notices, then free it."""
    scene.redis_is_back()
    with disks.filled(scene.folder / "redis"):
        noticed = lambda: _aof(scene) == "err"  # noqa: E731
        until(noticed, "Redis noticed that its disk is full", within=20, every=0.05)
        scene.rest(0.5)
    until(lambda: _aof(scene) == "ok", "Redis writes again", within=20, every=0.05)
    return "append-only file"


def _aof(scene: Scene) -> str:
    with contextlib.suppress(redis.RedisError):
        scene.store.redis.set("foreign", "1")  # something to write, if nobody else dares to
    return str(scene.store.redis.info("persistence")["aof_last_write_status"])


FAULTS = (
    Fault("Redis killed, started again", killed),
    Fault("Redis killed, loading for a while", killed, injections=5, around=much_to_load),
    Fault("Redis stopped", stopped),
    Fault("Redis set back in time", set_back),
    Fault("connections killed by Redis", client_killed),
    Fault("connections reset at a command or reply", cut, injections=len(SAID) * len(MOMENTS)),
    Fault("memory of Redis full", memory_full),
    Fault("disk of Redis full", disk_full, injections=10, needs="root"),
)
