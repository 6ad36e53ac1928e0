"""Views above a list: kept, changed, deleted and brought back by their person, and seen by a role."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from staff import saved_views
from staff.models import SavedView
from tests.desk import Page
from tests.house import House
from tests.scenes import rows

LIST = "/devices/device/"
KEEP = {"list": "devices.device", "query": "view=overdue&p=4", "name": "My shops"}


@pytest.fixture
def helpdesk(house: House, client: Client) -> Client:
    rows(2)  # a search that fits one device alone leads to its page
    client.force_login(house.helpdesk)
    return client


def page(client: Client, address: str) -> str:
    response: Any = client.get(address)
    assert response.status_code == 200, address
    return str(response.content.decode())


def tabs(client: Client, address: str = LIST) -> list[str]:
    """Where the views above the list lead."""
    seen = Page(200, f"http://testserver{LIST}", "text/html", page(client, address).encode())
    return [
        one.partition("?")[2] for one in seen.links if one.startswith(f"http://testserver{LIST}?")
    ]


def test_the_product_s_own_views_stand_above_the_devices(helpdesk: Client) -> None:
    for query in ("view=needs", "view=overdue", "view=exposed", "clear=any", "view=unreachable"):
        assert query in tabs(helpdesk)
        assert f'?{query}" aria-current="page"' in page(helpdesk, f"{LIST}?{query}")


def test_a_view_is_kept_and_leads_back_to_the_list_as_it_was(helpdesk: Client) -> None:
    answer = helpdesk.post("/views/keep/", {**KEEP, "query": "q=row&p=4"}, follow=True)
    assert answer.redirect_chain == [(f"{LIST}?q=row", 302)]
    assert "Kept as «My shops»." in answer.content.decode()
    assert "q=row" in tabs(helpdesk)
    assert "Change this view" in page(helpdesk, f"{LIST}?q=row")


def test_it_is_offered_only_where_there_is_something_to_keep(helpdesk: Client) -> None:
    offer = "Keep this view"
    assert offer not in page(helpdesk, LIST)
    assert offer not in page(helpdesk, f"{LIST}?view=overdue")  # it is there already
    assert offer in page(helpdesk, f"{LIST}?view=overdue&platform=ios")


def test_a_refusal_is_shown_and_nothing_is_kept(helpdesk: Client) -> None:
    answer = helpdesk.post("/views/keep/", {**KEEP, "name": " "}, follow=True)
    assert "A view needs a name." in answer.content.decode()
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("listed", ["staff.user", "devices.auditentry"])
def test_nobody_keeps_a_view_of_a_list_that_is_not_for_them(helpdesk: Client, listed: str) -> None:
    assert helpdesk.post("/views/keep/", {**KEEP, "list": listed}).status_code == 403


@pytest.mark.parametrize("listed", ["", "nothing", "devices.nothing", "sessions.session"])
def test_there_is_no_view_of_what_is_no_list(helpdesk: Client, listed: str) -> None:
    assert helpdesk.post("/views/keep/", {**KEEP, "list": listed}).status_code == 404


def test_no_view_leads_off_the_site(helpdesk: Client) -> None:
    answer = helpdesk.post("/views/keep/", {**KEEP, "query": "//example.org/?q=a"})
    assert answer.headers["Location"].startswith(f"{LIST}?")


def test_what_was_deleted_can_be_brought_back_from_the_list(helpdesk: Client) -> None:
    helpdesk.post("/views/keep/", {**KEEP, "query": "q=row"})
    view = SavedView.objects.get()
    answer = helpdesk.post(f"/views/{view.pk}/drop/", follow=True)
    text = answer.content.decode()
    assert "The view “My shops” is deleted." in text
    assert "q=row" not in tabs(helpdesk)
    helpdesk.post(f"/views/{view.pk}/bring-back/")
    assert "q=row" in tabs(helpdesk)


def test_a_colleague_sees_what_is_shared_and_cannot_change_it(
    house: House, helpdesk: Client
) -> None:
    helpdesk.post("/views/keep/", {**KEEP, "query": "q=row", "role": "helpdesk"})
    view = SavedView.objects.get()
    colleague = Client()
    colleague.force_login(house.person("helpdesk", name="helpdesk2"))
    assert "q=row" in tabs(colleague)
    assert "Change this view" not in page(colleague, f"{LIST}?q=row")
    for deed in ("change", "drop", "bring-back"):
        assert colleague.post(f"/views/{view.pk}/{deed}/", {"name": "Mine"}).status_code == 404
    assert SavedView.objects.get().name == "My shops"


def test_an_auditor_keeps_a_view_of_the_audit(house: House, client: Client) -> None:
    rows(1)
    client.force_login(house.auditor)
    audit = "/devices/auditentry/"
    assert "Keep this view" in page(client, f"{audit}?topic=clears")
    sent = {"list": "devices.auditentry", "query": "topic=clears", "name": "Clears"}
    client.post("/views/keep/", sent)
    assert f'{audit}?topic=clears" aria-current="page">Clears' in page(
        client, f"{audit}?topic=clears"
    )


def test_what_somebody_calls_a_view_is_only_text(helpdesk: Client) -> None:
    helpdesk.post("/views/keep/", {**KEEP, "query": "q=row", "name": "<script>alert(1)</script>"})
    assert "<script>alert" not in page(helpdesk, LIST)


def test_views_cost_the_list_as_much_however_many_there_are(
    helpdesk: Client, house: House
) -> None:
    with CaptureQueriesContext(connection) as few:
        helpdesk.get(LIST)
    for number in range(9):
        saved_views.keep("devices.device", f"q={number}", f"View {number}", by=house.helpdesk)
    with CaptureQueriesContext(connection) as many:
        helpdesk.get(LIST)
    assert len(many) == len(few)
