"""How a fault is logged: of which kind it is and where it happened, never what its words quote.

The words of a fault may repeat what it was about: PostgreSQL's repeat the whole row that it did not
take, with the push address in it. So no words are written, in no process; the kinds and the lines of
code are, and of a fault of the database its code and the rule that was broken.
"""

import logging
import traceback
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any

import psycopg

FAULTS = HTTPStatus.INTERNAL_SERVER_ERROR  # and what is above it
Fault = tuple[type[BaseException], BaseException, TracebackType | None]


class Line(logging.Formatter):
    """A line for each record, and for a fault its traceback without its words."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, Mapping) and record.exc_info and "exc" in record.args:
            fault = record.exc_info[1]  # Celery writes its words into the line as well
            record.args = {**record.args, "exc": kind(fault) if fault else ""}
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        return "".join(_told(ei[1])).rstrip("\n")


class Refusals(logging.Filter):
    """A refusal is an answer and no fault: nobody needs to see where in the code it was given."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes; one of an answer below 500 loses its traceback."""
        if getattr(record, "status_code", FAULTS) < FAULTS:
            record.exc_info = None
        return True


def kind(fault: BaseException) -> str:
    """What it is, by its name; of PostgreSQL's also which rule was broken."""
    name = type(fault).__qualname__
    if isinstance(fault, psycopg.Error):
        said = (fault.sqlstate, fault.diag.table_name, fault.diag.constraint_name)
        return f"{name} ({', '.join(part for part in said if part)})"
    return name


def _told(fault: BaseException | None) -> Iterator[str]:
    """The first cause first, as Python does."""
    if fault is None:
        return
    cause = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    yield from _told(cause)
    yield from traceback.format_tb(fault.__traceback__)
    yield f"{kind(fault)}\n"
