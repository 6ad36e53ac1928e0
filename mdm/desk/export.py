"""How a list leaves as a file: as it is narrowed on the page, row by row, and with a trace of who took it.

Rows are fetched, written and sent a few at a time, so that a long list costs no memory; the answer says
beforehand how many there will be, and `static/desk/export.js` shows how far it has come.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import StreamingHttpResponse
from django.utils import timezone

from mdm.desk.spreadsheet import Echo, harmless

AT_ONCE = 1_000  # rows fetched, and sent, at a time
ROWS = "X-Rows"
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of file."""

    suffix: str
    kind: str
    write: Callable[[Row, Iterable[Row]], Iterator[str]]


def _as_csv(columns: Row, rows: Iterable[Row]) -> Iterator[str]:
    """For people and their spreadsheets, which must not take a name for a formula."""
    writer = csv.writer(Echo())
    yield "\ufeff" + str(writer.writerow(columns))  # or the spreadsheet guesses another encoding
    for row in rows:
        yield str(writer.writerow([harmless(_cell(value)) for value in row]))


def _as_json_lines(columns: Row, rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        named = dict(zip(columns, row, strict=True))
        yield json.dumps(named, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"


CSV = Shape("csv", "text/csv; charset=utf-8", _as_csv)
JSON_LINES = Shape("jsonl", "application/jsonl; charset=utf-8", _as_json_lines)


def answer(
    name: str, columns: Row, rows: Iterable[Row], *, total: int, shape: Shape = CSV
) -> StreamingHttpResponse:
    """The file. Whoever calls has asked for the right and leaves the trace."""
    response = StreamingHttpResponse(
        _together(shape.write(columns, rows)), content_type=shape.kind
    )
    named = f"{name}-{timezone.localtime():%Y-%m-%d-%H%M}.{shape.suffix}"
    response["Content-Disposition"] = f'attachment; filename="{named}"'
    response["Cache-Control"] = "no-store"
    response[ROWS] = str(total)
    return response


def _together(lines: Iterator[str]) -> Iterator[str]:
    """A thousand lines a piece: sent one by one, they take longer to send than to write."""
    while piece := "".join(islice(lines, AT_ONCE)):
        yield piece


def _cell(value: Any) -> Any:
    """A value as a person reads it in a table."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
        case list() | tuple():
            return ", ".join(str(one) for one in value)
        case _ if hasattr(value, "isoformat"):
            return value.isoformat(timespec="seconds")
    return value if isinstance(value, str | int | float) else str(value)
