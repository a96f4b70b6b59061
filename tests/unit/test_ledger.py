from __future__ import annotations

import errno
import os
import resource
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from destinations import CSVDestination, records
from destinations.files import FileWrite
from destinations.growing import GrowingFiles
from destinations.ledger import Ledger
from destinations.records import LEDGER_NAME, FileTally
from router.batch import BatchRows, PointBatch
from router.errors import ConfigError, DestinationError, TerminalError, TransientError, UnavailableError
from router.rows import Rows
from tests.make import as_batch, make_batch, make_frame

HEADER = b"header\n"
Make = Callable[..., Ledger]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def make_ledger(root: Path = tmp_path, **options: Any) -> Ledger:
        of_files = {name: options.pop(name) for name in ("header", "plain", "append") if name in options}
        files = partial(GrowingFiles, **{"header": HEADER} | of_files)
        made.append(Ledger(root, files, **{"durability": "process"} | options))
        return made[-1]

    yield make_ledger
    for ledger in made:
        ledger.close()


def lines(batch: PointBatch, name: str = "a.csv") -> list[FileWrite]:
    """Encode each row as its number in its batch, all in one file."""
    numbers = [f"{row}\n" for part in batch.parts for row in part.rows.positions.tolist()]
    return [FileWrite(name, "numbers", len(numbers), "".join(numbers).encode())]


def into(name: str) -> Callable[[PointBatch], Sequence[FileWrite]]:
    return lambda batch: lines(batch, name)


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let the next call of a function of `os` raise; all later ones are real again."""
    real = getattr(os, name)

    def failing(*_: object, **__: object) -> None:
        monkeypatch.setattr(os, name, real)
        raise error

    monkeypatch.setattr(os, name, failing)


# -- what is written ----------------------------------------------------------------------------


def test_ledger_starts_each_file_with_its_header_once(make: Make, tmp_path: Path):
    batch = make_batch(4)
    for part in (batch.slice(0, 2), batch.slice(2, 4)):
        make().commit(part, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n2\n3\n"


def test_ledger_returns_how_many_rows_were_new(make: Make):
    ledger, batch = make(), make_batch(5)
    assert [ledger.commit(part, lines) for part in (batch.slice(0, 3), batch, batch)] == [3, 2, 0]


def test_ledger_counts_rows_by_route_and_by_file(make: Make, tmp_path: Path):
    ledger = make()
    ledger.commit(make_batch(3, route_id="one"), into("a.csv"))
    ledger.commit(make_batch(2, route_id="two"), into("folder/b.csv"))
    ledger.commit(make_batch(1, route_id=None), into("a.csv"))
    assert [ledger.rows_written(route) for route in ("one", "two", None, "other")] == [3, 2, 1, 0]
    assert ledger.files() == [FileTally("a.csv", 4, 15), FileTally("folder/b.csv", 2, 11)]
    assert (tmp_path / "a.csv").stat().st_size == 15


def test_ledger_makes_files_that_others_cannot_read(make: Make, tmp_path: Path):
    make(tmp_path / "new" / "root").commit(make_batch(1), into("folder/a.csv"))
    modes = {
        name: stat.S_IMODE((tmp_path / "new" / name).stat().st_mode)
        for name in ("root", "root/folder", "root/folder/a.csv", f"root/{LEDGER_NAME}")
    }
    assert list(modes.values()) == [0o750, 0o750, 0o640, 0o640]


def test_ledger_writes_all_bytes_however_few_the_system_takes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:3], offset))
    make().commit(make_batch(9), lines)
    assert (tmp_path / "a.csv").read_bytes() == HEADER + b"".join(b"%d\n" % row for row in range(9))


def test_ledger_writes_ten_thousand_files_with_few_descriptors(tmp_path: Path):
    count = 10_000
    symbols = pl.Series("symbol", [f"S{number}" for number in range(count)])
    batch = as_batch(make_frame(1)[[0] * count].with_columns(symbols))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())  # by whatever ran here before
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + 240, hard))
    try:
        destination = CSVDestination(tmp_path, "{symbol}.csv", durability="process")
        destination.write_batch(batch)
        assert len(destination.ledger.files()) == count
        destination.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- crashes and errors -------------------------------------------------------------------------


def test_ledger_cuts_a_torn_tail_when_it_is_opened(make: Make, tmp_path: Path):
    make().commit(make_batch(2), lines)
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(b"torn")
    make().open()
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n"


def test_ledger_cuts_a_torn_tail_before_it_appends(make: Make, tmp_path: Path):
    ledger, batch = make(), make_batch(3)
    ledger.commit(batch.slice(0, 2), lines)
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(b"torn and longer than what follows")
    ledger.commit(batch, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n2\n"


def test_ledger_gives_a_file_its_header_that_a_crash_left_empty(make: Make, tmp_path: Path):
    (tmp_path / "a.csv").touch()
    make().commit(make_batch(1), lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n"


@pytest.mark.parametrize("call", ["pwrite", "close", "fstat", "open"])
def test_ledger_interrupted_in_a_commit_repeats_it_exactly(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    ledger, batch = make(), make_batch(4)
    ledger.commit(batch.slice(0, 1), lines)
    fail_once(monkeypatch, call, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ledger.commit(batch, lines)
    ledger.commit(batch, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n2\n3\n"
    assert ledger.rows_written("everything") == 4


def test_ledger_interrupted_between_append_and_record_repeats_it_exactly(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ledger, batch = make(), make_batch(4)
    with monkeypatch.context() as patch:
        patch.setattr(records.Records, "save_written", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ledger.commit(batch, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n2\n3\n"
    ledger.commit(batch.slice(2, 4), lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n2\n3\n"


@pytest.mark.parametrize(
    ("call", "code", "expected"),
    [
        ("pwrite", errno.ENOSPC, UnavailableError),
        ("pwrite", errno.EDQUOT, UnavailableError),
        ("pwrite", errno.EFBIG, UnavailableError),
        ("pwrite", errno.EIO, TransientError),
        ("fsync", errno.EIO, TransientError),
        ("open", errno.EMFILE, TransientError),
        ("open", errno.EROFS, UnavailableError),
    ],
)
def test_ledger_says_what_a_disk_error_means_and_repeats_the_commit_exactly(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    expected: type[DestinationError],
):
    ledger, batch = make(durability="power"), make_batch(2)
    ledger.open()
    fail_once(monkeypatch, call, OSError(code, os.strerror(code)))
    with pytest.raises(expected, match=os.strerror(code)):
        ledger.commit(batch, lines)
    ledger.open()
    ledger.commit(batch, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n"


def test_ledger_locked_by_another_process_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "PATIENCE", 0.01)
    ledger, batch = make(), make_batch(2)
    ledger.open()
    other = sqlite3.connect(tmp_path / LEDGER_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="locked"):
        ledger.commit(batch, lines)
    other.close()
    assert ledger.commit(batch, lines) == 2


def test_ledger_removed_while_open_is_opened_anew(make: Make, tmp_path: Path):
    ledger = make()
    ledger.commit(make_batch(1), lines)
    (tmp_path / LEDGER_NAME).unlink()
    with pytest.raises(TransientError, match="removed or replaced"):
        ledger.commit(make_batch(1), lines)
    ledger.open()
    assert ledger.commit(make_batch(1), lines) == 1


def test_ledger_that_is_no_database_waits_for_a_hand(make: Make, tmp_path: Path):
    (tmp_path / LEDGER_NAME).write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        make().open()


# -- rows that others wrote meanwhile -----------------------------------------------------------


def test_ledger_encodes_again_what_another_process_left(make: Make, tmp_path: Path):
    ledger, other, batch = make(), make(), make_batch(4)
    raced: list[int] = []

    def overtaken(part: PointBatch) -> Sequence[FileWrite]:
        if not raced:
            raced.append(other.commit(batch.slice(0, 3), lines))
        return lines(part)

    assert ledger.commit(batch, overtaken) == 1
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n2\n3\n"


def test_ledger_leaves_alone_what_another_process_finished(make: Make, tmp_path: Path):
    ledger, other, batch = make(), make(), make_batch(2)
    raced: list[int] = []

    def overtaken(part: PointBatch) -> Sequence[FileWrite]:
        raced.append(other.commit(batch, lines))
        return lines(part)

    assert ledger.commit(batch, overtaken) == 0
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n"


def test_ledger_inherited_by_a_fork_is_opened_anew(make: Make, monkeypatch: pytest.MonkeyPatch):
    ledger = make()
    ledger.commit(make_batch(1), lines)
    inherited = ledger._records.db
    monkeypatch.setattr(os, "getpid", lambda: -1)
    ledger.commit(make_batch(1), lines)
    assert ledger._records.db is not inherited
    assert inherited.execute("SELECT 1").fetchone() == (1,)
    inherited.close()


# -- names of rows ------------------------------------------------------------------------------


def test_ledger_raises_an_alarm_when_one_id_stands_for_two_batches(make: Make, tmp_path: Path):
    ledger = make()
    ledger.commit(make_batch(2, batch_id="b"), lines)
    with pytest.raises(TerminalError, match="batch b was written for route 'everything' with other points"):
        ledger.commit(make_batch(3, ["ETH/USDT"], batch_id="b"), lines)
    assert ledger.rows_written("everything") == 2
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n"


def test_ledger_without_a_fingerprint_takes_the_first_it_is_given(make: Make):
    ledger, frame = make(), make_frame(2)

    def named(digest: str) -> PointBatch:
        return PointBatch(frame, [BatchRows("b", Rows.all(2), digest=digest)], "r")

    ledger.commit(named("").slice(0, 1), lines)
    ledger.commit(named("one"), lines)
    assert ledger.commit(named(""), lines) == 0
    with pytest.raises(TerminalError, match="fingerprint one, now two"):
        ledger.commit(named("two"), lines)


def test_ledger_prunes_what_is_old_and_no_longer_owed(make: Make):
    ledger = make()
    batches = {name: make_batch(2, batch_id=name) for name in ("settled", "owed")}
    for batch in batches.values():
        ledger.commit(batch, lines)
    assert ledger.prune(timedelta(days=1), lambda *_: []) == 0
    assert ledger.prune(timedelta(0), lambda *_: ["owed"]) == 1
    assert ledger.prune(timedelta(0), lambda *_: ["owed"]) == 0
    assert [ledger.commit(batch, lines) for batch in batches.values()] == [2, 0]
    assert ledger.rows_written("everything") == 6


def test_ledger_asks_some_at_a_time_route_by_route_and_holds_no_lock_meanwhile(make: Make, monkeypatch):
    monkeypatch.setattr("destinations.records.AT_ONCE", 2)
    ledger, other, asked = make(), make(), []
    for route_id in ("b", "a"):
        for name in ("3", "1", "2"):
            ledger.commit(make_batch(1, batch_id=name).for_route(route_id), lines)

    def owed(route_id: str, batches: Sequence[str]) -> list[str]:
        asked.append((route_id, list(batches)))
        other.commit(make_batch(1, batch_id=f"new-{len(asked)}"), lines)
        return ["1"]

    assert ledger.prune(timedelta(0), owed) == 4
    assert asked == [("a", ["1", "2"]), ("a", ["3"]), ("b", ["1", "2"]), ("b", ["3"])]
    assert ledger.rows_written("a") == ledger.rows_written("b") == 3


def test_ledger_does_not_forget_what_was_written_while_it_asked(make: Make):
    ledger, other, batch = make(), make(), make_batch(2)
    ledger.commit(batch.slice(0, 1), lines)

    def settled(_route: str, _batches: Sequence[str]) -> list[str]:
        other.commit(batch, lines)
        return []

    assert ledger.prune(timedelta(0), settled) == 0
    assert ledger.commit(batch, lines) == 0


def test_ledger_forgets_so_many_batches_a_call_and_goes_on_in_the_next(make: Make, monkeypatch):
    monkeypatch.setattr("destinations.records.AT_ONCE", 2)
    monkeypatch.setattr("destinations.pruning.MOST", 4)
    ledger = make()
    ledger.commit(PointBatch.concat([make_batch(1, batch_id=str(n)) for n in range(7)]), lines)
    assert [ledger.prune(timedelta(0), lambda *_: ["0", "1"]) for _ in range(3)] == [4, 1, 0]


# -- files of others ----------------------------------------------------------------------------


def test_ledger_adopts_a_file_that_was_there(make: Make, tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"theirs\n")
    make().commit(make_batch(2), lines)
    assert (tmp_path / "a.csv").read_bytes() == b"theirs\n0\n1\n"


def test_ledger_ends_the_torn_line_of_a_file_it_adopts_once(make: Make, tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"theirs, torn")
    batch = make_batch(2)
    for part in (batch.slice(0, 1), batch):
        make().commit(part, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"theirs, torn\n0\n1\n"


def test_ledger_adds_nothing_to_a_compressed_file_it_adopts(make: Make, tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"member")
    make(plain=False).commit(make_batch(1), lines)
    assert (tmp_path / "a.csv").read_bytes() == b"member0\n"


def test_ledger_sets_aside_what_was_there_when_it_may_not_append(make: Make, tmp_path: Path):
    batch = make_batch(2)
    (tmp_path / "a.csv").write_bytes(b"theirs")
    (tmp_path / "a.csv~1").write_bytes(b"older")
    for part in (batch.slice(0, 1), batch):
        make(append=False).commit(part, lines)
    assert (tmp_path / "a.csv").read_bytes() == b"header\n0\n1\n"
    assert [(tmp_path / f"a.csv~{n}").read_bytes() for n in (1, 2)] == [b"older", b"theirs"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: os.truncate(path, 3)], ids=["removed", "cut"])
def test_ledger_waits_for_a_hand_when_a_file_is_shorter_than_recorded(
    make: Make, tmp_path: Path, spoil: Callable[[Path], None]
):
    ledger, batch = make(), make_batch(2)
    ledger.commit(batch.slice(0, 1), lines)
    spoil(tmp_path / "a.csv")
    with pytest.raises(UnavailableError, match=r"of the 9 written.*Ledger\.forget\('a\.csv'\)"):
        ledger.commit(batch, lines)
    ledger.forget("a.csv")
    assert ledger.commit(batch, lines) == 1


def test_ledger_refuses_to_mix_two_kinds_of_rows_in_one_file(make: Make):
    ledger = make()
    ledger.commit(make_batch(1), lines)
    with pytest.raises(UnavailableError, match="holds numbers, not letters"):
        ledger.commit(make_batch(1), lambda _: [FileWrite("a.csv", "letters", 1, b"a\n")])


def test_ledger_follows_no_link_to_a_file(make: Make, tmp_path: Path):
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"precious\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.csv").symlink_to(outside)
    with pytest.raises(UnavailableError, match="links are not followed"):
        make(root).commit(make_batch(1), lines)
    assert outside.read_bytes() == b"precious\n"


def test_ledger_follows_no_link_to_a_folder(make: Make, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (root / "folder").symlink_to(tmp_path / "outside")
    with pytest.raises(UnavailableError):
        make(root).commit(make_batch(1), into("folder/a.csv"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_ledger_is_not_a_link_either(make: Make, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (root / LEDGER_NAME).symlink_to(tmp_path / "elsewhere.sqlite")
    with pytest.raises(ConfigError, match=r"path\.not_writable"):
        make(root).open()
    assert not (tmp_path / "elsewhere.sqlite").exists()


# -- whose root it is ---------------------------------------------------------------------------


def test_ledger_belongs_to_the_host_that_opened_it_first(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "this_host", lambda: "alpha 1111")
    make().commit(make_batch(1), lines)
    monkeypatch.setattr(records, "this_host", lambda: "alpha 2222")
    with pytest.raises(UnavailableError, match=r"'alpha'.*shared=True"):
        make().open()


def test_ledger_shared_by_hosts_may_be_opened_by_any(make: Make, monkeypatch: pytest.MonkeyPatch):
    for host in ("alpha 1111", "beta 2222"):
        monkeypatch.setattr(records, "this_host", lambda host=host: host)
        ledger = make(shared=True)
        assert ledger.commit(make_batch(1), lines) == 1
        ledger.close()


def test_ledger_knows_a_host_again_that_changed_its_name(make: Make, monkeypatch: pytest.MonkeyPatch):
    for host in ("alpha 1111", "alpha.local 1111"):
        monkeypatch.setattr(records, "this_host", lambda host=host: host)
        make().open()


def test_ledger_names_this_host():
    assert os.uname().nodename in records.this_host()


@pytest.mark.parametrize("root", ["file/root", "file", "null\0byte"])
def test_ledger_refuses_a_root_it_cannot_write_when_it_is_opened(make: Make, tmp_path: Path, root: str):
    (tmp_path / "file").touch()
    ledger = make(tmp_path / root)
    with pytest.raises(ConfigError, match=r"path\.not_writable"):
        ledger.open()


def test_ledger_refuses_a_root_that_is_read_only(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fail_once(monkeypatch, "mkdir", OSError(errno.EROFS, "Read-only file system"))
    with pytest.raises(ConfigError, match="Read-only file system"):
        make(tmp_path / "new").open()
