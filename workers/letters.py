"""Dead letters: points refused at a door, and rows that could not be delivered."""

from __future__ import annotations

from collections.abc import Iterable

from router.admission import Refused
from router.batch import BatchRows, PointBatch
from workers.records import Claim, Letter


def reason(code: str, message: str, field: str = "") -> dict[str, str]:
    """Return one reason as a letter keeps it."""
    return {"code": code, "field": field, "message": message}


def said(error: Exception) -> str:
    """Return what an error said, with its kind."""
    return f"{type(error).__name__}: {error}"


def letter_of(refused: Refused, batch_id: str, where: str = "") -> Letter:
    """Return the letter of a point that was refused at a door; `where` stands for a place nobody named."""
    reasons = [one._asdict() for one in refused.reasons]
    return Letter("", refused.original, reasons, refused.where or where, batch_id, refused.index)


def letters_for(
    claim: Claim, batch: PointBatch, rows: Iterable[int], code: str, message: str
) -> list[Letter]:
    """Return a letter for each of some rows of a claimed part, with the points before any transform."""
    return [
        letter_for(claim.route_id, batch, row, code, message)._replace(
            attempts=claim.attempts, first=claim.since
        )
        for row in rows
    ]


def letter_for(route_id: str, batch: PointBatch, row: int, code: str, message: str) -> Letter:
    """Return a letter for one row of a batch, under the name it has there."""
    part, number = _name(batch, row)
    return Letter(
        route_id,
        batch[row].to_json_dict(),
        [reason(code, message)],
        batch_id=part.batch_id,
        row=number,
        number=part.number,
        digest=part.digest,
    )


def missing(claim: Claim, batch: PointBatch) -> list[Letter]:
    """Return letters for rows whose batch Redis lost, or holds damaged: an operator must know."""
    reasons = [reason("batch.missing", "Redis no longer holds the batch of this row, or holds it damaged")]
    gone = claim.rows - len(batch)
    return [Letter(claim.route_id, None, reasons, attempts=claim.attempts, first=claim.since)] * gone


def _name(batch: PointBatch, row: int) -> tuple[BatchRows, int]:
    for part in batch.parts:
        if row < len(part.rows):
            return part, int(part.rows.positions[row])
        row -= len(part.rows)
    raise IndexError(row)
