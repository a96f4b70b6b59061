"""`POST /points`: the door for anybody who speaks HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from ulid import ULID

from router.admission import Refused
from router.errors import BatchTooLargeError, ExpiredError, FleetBusyError, FleetUnreachableError
from workers.envelope import is_name
from workers.gateway.bodies import Bodies, HttpError, rows_of
from workers.producer import Producer, Receipt

#: Bodies that are judged at a time: subscribers wait meanwhile for their share of this process.
_THREADS: Final = 2
#: Seconds to wait for an answer of Redis.
_PATIENCE: Final = 20.0
#: Seconds after which a busy fleet may be asked again.
_AGAIN: Final = 1


class Points:
    """Takes points, checks them as every door does, and answers once they are safe.

    Args:
        producer: Hands them to the fleet, and does not wait while that is busy.
        bodies: Reads what is sent.
    """

    def __init__(self, producer: Producer, bodies: Bodies | None = None) -> None:
        """Take nothing yet."""
        self._producer = producer
        self._bodies = bodies or Bodies()
        self._threads = ThreadPoolExecutor(_THREADS, "candlefleet-points")

    async def take(self, request: Request) -> JSONResponse:
        """Answer a request: 202 with what was accepted and what was refused, or 422 if that is all.

        Raises:
            HttpError: Nothing was taken.
        """
        batch_id = _batch_id(request.headers.get("idempotency-key"))
        kind, encoding = (request.headers.get(name, "") for name in ("content-type", "content-encoding"))
        async with self._bodies.read(request) as data:
            judged = asyncio.get_running_loop().run_in_executor(
                self._threads, self._send, data, kind, encoding, batch_id
            )
            try:
                async with asyncio.timeout(_PATIENCE):
                    count, receipt = await judged
            except TimeoutError:
                message = (
                    "the fleet's Redis did not answer in time: send again under the same Idempotency-Key"
                )
                raise HttpError(503, "fleet.unreachable", message, _AGAIN) from None
        return _answer(count, receipt)

    def close(self) -> None:
        """Let go of the fleet."""
        self._threads.shutdown()
        self._producer.close()

    def _send(self, data: bytes, kind: str, encoding: str, batch_id: str) -> tuple[int, Receipt]:
        rows = rows_of(data, kind, encoding)
        try:
            receipt = self._producer.send_batch(
                rows, batch_id=batch_id, where=lambda row: f"http points:{row}"
            )
        except FleetBusyError as error:
            raise HttpError(429, "fleet.busy", str(error), _AGAIN) from None
        except FleetUnreachableError:
            message = "the fleet's Redis does not answer: send again later"
            raise HttpError(503, "fleet.unreachable", message, _AGAIN) from None
        except BatchTooLargeError as error:
            raise HttpError(413, "batch.too_large", str(error)) from None
        except ExpiredError as error:
            raise HttpError(409, "batch.expired", str(error)) from None
        return len(rows), receipt


# Source: draft-ietf-httpapi-idempotency-key-header: the key is a text in quotes; many send it without.
def _batch_id(key: str | None) -> str:
    if key is None:
        return str(ULID())
    name = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not is_name(name):
        message = "Idempotency-Key is not 1 to 128 printable ASCII characters without spaces"
        raise HttpError(400, "idempotency.key", message)
    return name


def _answer(count: int, receipt: Receipt) -> JSONResponse:
    accepted = count - len(receipt.refused)
    said = {
        "batch_id": receipt.batch_id,
        "number": receipt.number,
        "accepted": accepted,
        "refused": _reasons(receipt.refused),
        "again": receipt.again,
    }
    if accepted or not count:
        return JSONResponse(said, 202)
    why = {"code": "points.refused", "message": "every point was refused: each has its reasons"}
    return JSONResponse(why | said, 422)


def _reasons(refused: Sequence[Refused]) -> list[dict[str, Any]]:
    return [{"row": one.index, "reasons": [reason._asdict() for reason in one.reasons]} for one in refused]
