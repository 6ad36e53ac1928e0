"""A fault in a log: its kind and its place, and none of its words."""

import logging
import sys

import pytest
from django.core.exceptions import PermissionDenied
from django.db import Error, connection
from django.http import HttpResponse
from django.utils.log import log_response

from mdm.logs import Line

SECRET = "5B1D7E0C-6C3E-4F4B"
LINE = Line("{levelname}: {message}", style="{")


def logged(fault: BaseException, *args: object) -> str:
    try:
        raise fault
    except type(fault):
        record = logging.LogRecord(
            "x",
            logging.ERROR,
            "x.py",
            1,
            "It failed: %(exc)s" if args else "It failed.",
            args,
            sys.exc_info(),
        )
    return LINE.format(record)


def test_the_words_of_a_fault_and_of_its_causes_are_not_logged() -> None:
    first, second = KeyError(SECRET), ValueError(SECRET)
    second.__cause__ = first
    said = logged(second)
    assert SECRET not in said
    assert said.startswith("ERROR: It failed.\n")
    assert said.index("KeyError") < said.index("ValueError")
    assert "test_logs.py" in said


def test_celery_does_not_write_them_into_its_line_either() -> None:
    said = logged(ValueError(SECRET), {"exc": repr(ValueError(SECRET))})
    assert said.startswith("ERROR: It failed: ValueError\n")
    assert SECRET not in said


@pytest.mark.django_db
def test_of_a_row_that_is_refused_the_broken_rule_is_named_and_the_row_is_not() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE cage (word text CONSTRAINT is_short CHECK (word < 'A'))"
        )
        with pytest.raises(Error) as refused:
            cursor.execute("INSERT INTO cage VALUES (%s)", ["B" + SECRET])
    assert SECRET in str(refused.value)
    said = logged(refused.value)
    assert SECRET not in said
    assert "CheckViolation (23514, cage, is_short)" in said


@pytest.mark.parametrize(("status", "has_traceback"), [(403, False), (404, False), (500, True)])
def test_a_refusal_is_one_line_and_a_fault_says_where_it_was(
    caplog: pytest.LogCaptureFixture, status: int, has_traceback: bool
) -> None:
    def refuse() -> None:
        raise PermissionDenied(SECRET)

    with pytest.raises(PermissionDenied) as refused:
        refuse()
    response = HttpResponse(status=status)
    log_response("Answered: %s", "/", response=response, exception=refused.value)
    [record] = caplog.records
    said = LINE.format(record)
    assert said.startswith(("WARNING: Answered: /", "ERROR: Answered: /"))
    assert ("test_logs.py" in said) == has_traceback
    assert SECRET not in said
