"""Pages for what is not theirs, not there or our fault: words, a next step, and never a table of ours."""

import logging
import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path, reverse

from devices.models import AuditEntry
from mdm import urls
from mdm.desk import errors
from staff.permissions import Forbidden
from tests.house import House


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret of ours")


def forbids(request: HttpRequest) -> HttpResponse:
    raise Forbidden("You may not touch till-1.")


urlpatterns = [path("breaks/", breaks), path("forbids/", forbids), *urls.urlpatterns]
handler403, handler404, handler500 = urls.handler403, urls.handler404, urls.handler500


def test_a_refusal_says_what_is_missing_and_what_is_next(house: House, client: Client) -> None:
    client.force_login(house.helpdesk)
    response = client.get(reverse("admin:staff_user_changelist"))
    assert response.status_code == 403
    page = response.content.decode()
    assert "Not for you" in page
    assert "Next:" in page
    assert 'id="desk-search"' in page  # with the desk around it


@override_settings(ROOT_URLCONF="tests.mdm.test_errors")
def test_what_a_process_forbids_is_answered_with_its_words(house: House, client: Client) -> None:
    client.force_login(house.helpdesk)
    response = client.get("/forbids/")
    assert response.status_code == 403
    assert "You may not touch till-1." in response.content.decode()


def test_a_refusal_is_audited_with_the_page_and_once_a_minute(
    house: House, client: Client
) -> None:
    client.force_login(house.helpdesk)
    page = reverse("admin:staff_user_changelist")
    for _ in range(3):
        client.get(page, {"q": "a word that is nobody's business"})
    client.get(reverse("admin:staff_user_add"))
    entries = AuditEntry.objects.filter(verb="staff.forbidden").order_by("pk")
    assert [entry.facts["path"] for entry in entries] == [page, reverse("admin:staff_user_add")]
    assert {entry.actor_name for entry in entries} == {"helpdesk"}
    assert "business" not in str([entry.facts for entry in entries])


@override_settings(ROOT_URLCONF="tests.mdm.test_errors")
def test_a_stranger_is_refused_without_a_trace_and_without_the_desk(
    house: House, client: Client
) -> None:
    response = client.get("/forbids/")
    assert response.status_code == 403
    assert "desk-search" not in response.content.decode()
    assert not AuditEntry.objects.filter(verb="staff.forbidden").exists()


@pytest.mark.parametrize("page", ["/nowhere/", "/devices/device/999999/change/", "/devices/tea/"])
def test_what_is_not_there_is_told_with_a_way_on(house: House, client: Client, page: str) -> None:
    client.force_login(house.helpdesk)
    response = client.get(page)
    assert response.status_code == 404
    assert "Not there" in response.content.decode()
    assert "Back to the desk" in response.content.decode()


def test_a_stranger_is_asked_to_log_in_whatever_the_address(house: House, client: Client) -> None:
    response = client.get("/nowhere/")
    assert response.headers["Location"].startswith("/login/")


@pytest.mark.parametrize("role", [None, "helpdesk"])
@override_settings(ROOT_URLCONF="tests.mdm.test_errors")
def test_a_fault_of_ours_gives_a_number_that_is_in_the_log_and_nothing_else(
    house: House, client: Client, caplog: pytest.LogCaptureFixture, role: str | None
) -> None:
    if role:
        client.force_login(house.person(role))
    client.raise_request_exception = False
    with caplog.at_level(logging.ERROR):
        response = client.get("/breaks/")
    assert response.status_code == 500
    page = response.content.decode()
    assert "it is our fault" in page
    assert "secret of ours" not in page
    assert "RuntimeError" not in page
    number = re.search(r"[0-9A-F]{4}-[0-9A-F]{4}", page)
    assert number
    assert f"Fault {number[0]} at /breaks/" in caplog.text


def test_the_page_of_a_fault_asks_nothing_of_the_database() -> None:
    """This test may not touch a database, and neither may the page."""
    response = errors.our_fault(RequestFactory().get("/breaks/"))
    assert response.status_code == 500
    assert b"it is our fault" in response.content


def test_a_name_of_a_host_that_is_not_ours_is_not_served(house: House, client: Client) -> None:
    response = client.get("/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "Not understood" in response.content.decode()
