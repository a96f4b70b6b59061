"""Write points into a bucket of InfluxDB, as line protocol."""

from __future__ import annotations

import gzip as gzip_format
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import SSLError

from destinations.base import DataDestination
from destinations.influxdb_bucket import BucketPlace, checked_token
from destinations.influxdb_errors import Answer, connection_errors, error_of, named_lines
from destinations.influxdb_lines import encode_line_protocol, encode_series
from destinations.revisions import Numbers, acceptance, newest
from destinations.tls import checked_tls
from router.batch import PointBatch
from router.errors import ConfigError, DestinationError, TerminalError
from router.hidden import scrub
from router.points import NormalizedDataPoint

_TLS_FILES: Final = ("ssl_ca_cert", "cert_file", "cert_key_file")
_TLS: Final = (*_TLS_FILES, "cert_key_password")
#: A server may name the refused lines a few at a time: so often the others are written again.
_ROUNDS: Final = 4


class InfluxDBDestination(DataDestination):
    """One measurement of a bucket, where a point is its series and its timestamp.

    Writing a point again leaves what writing it once leaves, and a revision takes the place of what was
    there, field by field. There is one connection, made by `open` and made again after it was lost; threads
    share it.

    Args:
        url: Of the server, ``http://host:8086``.
        token: May write the bucket; for InfluxDB 1.8 ``user:password``.
        org: The organization; empty where the server knows none.
        bucket: The bucket, which must be there; for InfluxDB 1.8 ``database`` or ``database/retention``.
        batch_size: Points in each write, of a route that says nothing else. None: whatever waits.
        flush_interval: Seconds that points wait for others, of a route that says nothing else.
        name: The destination's name, and its queue.
        measurement: What the points are called.
        timeout: Seconds that connecting, or an answer, may take.
        gzip: Whether what is sent is compressed.
        tls: Options for ``https``: ``ssl_ca_cert``, ``cert_file``, ``cert_key_file``, ``cert_key_password``.

    Raises:
        ConfigError: An argument is not one of those allowed; nothing is opened before `open`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        org: str,
        bucket: str,
        batch_size: int | None = 5_000,
        flush_interval: float | None = 10.0,
        *,
        name: str | None = None,
        measurement: str = "ohlcv",
        timeout: float = 30.0,
        gzip: bool = True,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the arguments; nothing is opened."""
        super().__init__(name=name)
        self._place = BucketPlace(url, org, bucket, measurement)
        self._token = checked_token(token)
        self.batch_size = batch_size
        self.flush_interval = flush_interval
        if not 1 <= timeout < math.inf:
            raise ConfigError("range", "timeout", f"{timeout!r} is not a number of seconds from 1 up")
        self._timeout = timeout
        self._gzip = gzip
        self._tls = checked_tls(tls, url.partition(":")[0].lower(), _TLS)
        self._secrets = [token, token.partition(":")[2], str(self._tls.get("cert_key_password") or "")]
        self._lock = threading.RLock()
        self._client: Any = None
        self._pid = 0

    # -- open and close -------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and see by a write of nothing that the token may write and the bucket is there.

        Raises:
            UnavailableError: No connection, no answer, no permission, no such bucket; the message says what
                to do.
            TransientError: The server is in trouble.
        """
        with self._lock:
            self.close()
            answer = self._sent(b"", connecting=True)
            # Some refuse a write of nothing, but only once they have found whose it is and where it goes.
            if answer is not None and answer.status not in (400, 422):
                raise self._error(answer)

    def close(self) -> None:
        """Let go of the connection; twice is harmless. The next write connects again."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._pid == os.getpid():
                client.close()

    def check(self) -> None:
        """Refuse files of certificates that are not there.

        Raises:
            ConfigError: `path.missing`.
        """
        for option in _TLS_FILES:
            path = self._tls.get(option)
            if path is not None and not Path(path).is_file():
                raise ConfigError("path.missing", f"tls.{option}", f"there is no file {path}")

    # -- writing --------------------------------------------------------------------------------

    def write_batch(self, batch: PointBatch) -> None:
        """Write every point, of those that are the same point the newest.

        Raises:
            UnavailableError: No connection, no permission, no such bucket, or too many requests.
            TransientError: No answer in time, a lost connection; write again.
            TerminalError: The server refused the points it names, all others being there; or some that it
                does not name.
        """
        if not len(batch):
            return
        with self._lock:
            refused, why = self._write(batch, np.sort(newest(batch, *acceptance(batch))))
        if refused:
            raise TerminalError(why, sorted(refused))

    def _write(self, batch: PointBatch, rows: Numbers) -> tuple[list[int], str]:
        refused: list[int] = []
        why = ""
        for _ in range(_ROUNDS):
            frame = batch.frame if len(rows) == len(batch) else batch.frame[rows]
            lines = encode_line_protocol(frame, self._place.measurement)
            answer = self._sent(lines) if lines else None
            if answer is None:
                return refused, why
            named = named_lines(answer, lines.decode().split("\n")[:-1])
            if not named:
                raise self._error(answer)
            why = why or str(self._error(answer))
            refused += rows[named].tolist()
            rows = np.delete(rows, named)
        raise TerminalError(why)

    def _sent(self, lines: bytes, *, connecting: bool = False) -> Answer | None:
        headers = {"content_encoding": "gzip"} if self._gzip else {}
        body = gzip_format.compress(lines, 1, mtime=0) if self._gzip else lines
        with connection_errors(self._place, self._scrub, connecting=connecting):
            try:
                found = self._connected().post_write(
                    self._place.org,
                    self._place.bucket,
                    body,
                    precision="us",
                    urlopen_kw={"redirect": False},  # nobody else is shown the token
                    _preload_content=False,
                    **headers,
                )
            except ApiException as error:
                if not error.status:
                    raise SSLError(error.reason) from None
                found = error.response
            # A body is read whole, so that the connection can be used again.
            answer = Answer(found.status, found.data.decode(errors="replace"), dict(found.headers))
        return None if answer.status == 204 else answer

    def _connected(self) -> Any:
        if self._client is None or self._pid != os.getpid():
            milliseconds = math.ceil(self._timeout * 1000)
            self._client = InfluxDBClient(self._place.url, self._token, timeout=milliseconds, **self._tls)
            self._pid = os.getpid()
        return WriteService(self._client.api_client)  # type: ignore[no-untyped-call]

    # -- where ----------------------------------------------------------------------------------

    def place(self) -> str:
        """Return the server, the bucket and the measurement."""
        return str(self._place)

    def target(self, point: NormalizedDataPoint) -> str:
        """Return the series of a point as well: its measurement and tags."""
        (series,) = encode_series(PointBatch.of([point]).frame, self._place.measurement)
        return f"{self._place}, series {series}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place()})"

    def _error(self, answer: Answer) -> DestinationError:
        return error_of(self._place, answer, self._scrub)

    def _scrub(self, text: str) -> str:
        return scrub(text, self._secrets)
