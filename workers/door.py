"""Door: takes foreign messages from their list, and lets none past that Celery would choke on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from queue import Full
from typing import Any

from ulid import ULID

from workers.envelope import QUEUE, Envelope, Malformed, checked, kept
from workers.letters import reason
from workers.records import Letter, Note
from workers.store import Store


class Door:
    """Takes messages so that a kill at any time loses none.

    Each is looked at, checked, and only then taken, in one step with the note that it is held, or with the
    dead letter that it became.

    Args:
        store: The fleet's state.
        lists: Where messages wait, the most urgent first.
        held, order: Keys of the notes that kombu keeps of messages in hand.
        patience: Most seconds ahead that a message may ask to be run.
    """

    def __init__(self, store: Store, lists: Sequence[str], *, held: str, order: str, patience: float) -> None:
        self._store = store
        self._lists = lists
        self._held = held
        self._order = order
        self._patience = patience

    def take(self, raw: bytes | None = None) -> dict[str, Any] | None:
        """Return the next message as Celery is to get it; None if there is none, or it was malformed.

        Args:
            raw: What waits at the end of the most urgent list, if that was looked at already.

        Raises:
            queue.Full: It was malformed, and there is no room for one more dead letter.
        """
        found = (self._lists[0], raw) if raw is not None else self._store.peek(self._lists)
        if found is None:
            return None
        verdict = judged(found[1], self._patience)
        if isinstance(verdict, Malformed):
            if not self._store.bury_message(*found, letter(verdict, found[1])):
                raise Full
            return None
        message = verdict.message(str(ULID()))
        return message if self._store.hold(*found, self._note(message)) else None

    # Source: kombu 5.7, transport/redis.py, QoS.append: [message, exchange, routing key], scored by the time.
    def _note(self, message: dict[str, Any]) -> Note:
        text = json.dumps([message, "", QUEUE])
        return Note(self._held, self._order, message["properties"]["delivery_tag"], time.time(), text)


def judged(raw: bytes, patience: float) -> Envelope | Malformed:
    """Return what a message says, or why it cannot be delivered, be it only that it is to be run too late.

    Args:
        raw: The message as it lies in a list.
        patience: Most seconds ahead that it may ask to be run.
    """
    verdict, most = checked(raw), timedelta(seconds=patience)
    if isinstance(verdict, Envelope) and verdict.eta and verdict.eta - datetime.now(UTC) > most:
        message = f"eta is {verdict.eta.isoformat()}: at most {most} ahead is kept"
        return Malformed("task.eta", message, verdict.task_id)
    return verdict


def letter(malformed: Malformed, raw: bytes) -> Letter:
    """Return the dead letter that keeps a message."""
    reasons = [reason(malformed.code, malformed.message)]
    return Letter("", kept(raw), reasons, f"queue {QUEUE}", malformed.task_id)
