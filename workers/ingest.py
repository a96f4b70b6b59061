"""Ingest: takes what others put into the stream, and has it accepted."""

from __future__ import annotations

import time

from router.admission import Admission, admit
from router.decode import decode_json
from router.errors import BatchTooLargeError, DecodeError, FleetError
from workers.envelope import is_name, kept
from workers.journey import LINGER, TURN, Post
from workers.letters import letter_of, reason, said
from workers.records import Accepted, Entry, Letter
from workers.store import Store


class Ingest:
    """What one process does with the stream.

    Args:
        store: The fleet's state.
        post: Sends the messages.
    """

    def __init__(self, store: Store, post: Post) -> None:
        self._store = store
        self._post = post

    def run(self) -> int:
        """Take what waits, oldest first; return the number of entries taken.

        While entries keep coming it stays, as the router does; a busy fleet leaves them where they are.
        """
        taken, ends, leaving = 0, time.monotonic() + TURN, False
        while True:
            entries = self._store.ingress()
            for entry in entries:
                if not self._take(entry):
                    return taken
                taken, leaving = taken + 1, False
            if entries and time.monotonic() > ends:
                self._post.stream()
                return taken
            if not entries and leaving:
                return taken
            if not entries:
                leaving = True
                time.sleep(LINGER)

    def _take(self, entry: Entry) -> bool:
        try:
            answer = self._accept(entry, admit(decode_json(_text(entry))))
        except DecodeError as error:
            answer = self._store.bury_entry(entry, _letter(entry, error.code, error.message))
        except BatchTooLargeError as error:
            answer = self._store.bury_entry(entry, _letter(entry, "batch.too_large", str(error)))
        except FleetError:
            raise
        except Exception as error:  # whatever is wrong with it, those behind it must not wait for ever
            answer = self._store.bury_entry(entry, _letter(entry, "task.failed", said(error)))
        if answer.nudge:
            self._post.router()
        return answer.verdict != "busy"

    def _accept(self, entry: Entry, admission: Admission) -> Accepted:
        batch_id = _batch_id(entry)
        letters = [letter_of(refused, batch_id, _place(entry)) for refused in admission.refused]
        answer = self._store.ingest(entry, batch_id, admission.batch, letters=letters, notes=admission.notes)
        if answer.verdict == "expired":
            message = f"the id {batch_id} is older than the fleet remembers ids"
            return self._store.bury_entry(entry, _letter(entry, "batch.expired", message))
        return answer


def _text(entry: Entry) -> bytes:
    fields = dict(entry.fields)
    if b"json" in fields:
        return fields[b"json"]
    if len(entry.fields) == 1:
        return entry.fields[0][1]
    raise DecodeError("envelope.shape", "the entry has no field `json`: XADD candlefleet:ingress * json …")


def _batch_id(entry: Entry) -> str:
    given = dict(entry.fields).get(b"id", b"").decode("ascii", "replace")
    return given if is_name(given) else entry.batch_id


def _letter(entry: Entry, code: str, message: str) -> Letter:
    try:
        original = kept(_text(entry))
    except DecodeError:
        original = {str(kept(name)): kept(value) for name, value in entry.fields}
    return Letter("", original, [reason(code, message)], _place(entry), entry.batch_id)


def _place(entry: Entry) -> str:
    return f"stream {entry.name}"
