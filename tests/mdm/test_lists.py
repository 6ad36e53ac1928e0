"""Lists as files: what the page shows, for whom it shows it, with no secret in it and no formula."""

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import AuditEntry, Device, HouseRules, PushCertificate
from mdm.desk import export
from mdm.desk.list_files import address_name
from mdm.desk.lists import LISTS
from passcodes.models import PolicyVersion
from staff.models import Scope, SigningKey
from tests.house import House
from tests.needles import found, needles
from tests.scenes import rows, user_row
from tests.staff_site import Scene

# No lists to take away: one row, one's own few, versions that are in the file of their policies.
NO_LIST = {HouseRules, SigningKey, PolicyVersion}
SECRET = b"0123456789 a secret that is in no file"


def taken(client: Client, listed: str, **query: str) -> list[dict[str, str]]:
    """The file of a list, row by row."""
    response: Any = client.post(f"/{listed}/csv/", query_params=query)
    assert response.status_code == 200, response.status_code
    assert response.headers["Content-Disposition"].startswith("attachment")
    text = response.getvalue().decode()
    assert text.startswith("\ufeff")
    read = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert int(response.headers[export.ROWS]) == len(read)
    return read


def names(client: Client, **query: str) -> list[str]:
    return [row["name"] for row in taken(client, "devices/device", **query)]


def called(name: str, **how: Any) -> None:
    [made] = rows(1)
    Device.objects.filter(pk=made.pk).update(name=name, **how)


@pytest.fixture
def helpdesk(house: House, client: Client) -> Client:
    client.force_login(house.helpdesk)
    return client


def test_every_list_of_the_site_can_be_taken_away() -> None:
    listed = {page.model for page in admin.site._registry.values()}
    assert listed - NO_LIST - {AuditEntry} == set(LISTS)


def test_the_file_holds_what_the_page_has_found_in_its_order(helpdesk: Client) -> None:
    for name in ("till-2", "till-1", "van-1"):
        called(name, serial=f"S{name}")
    Device.objects.filter(name="till-2").update(push_token=None)
    assert names(helpdesk) == ["till-1", "till-2", "van-1"]
    assert names(helpdesk, q="till") == ["till-1", "till-2"]
    assert names(helpdesk, view="unreachable") == ["till-2"]
    assert names(helpdesk, q="till", o="-1") == ["till-2", "till-1"]
    [row] = taken(helpdesk, "devices/device", view="unreachable")
    assert (row["serial"], row["passcode"], row["unreachable"]) == ("Still-2", "No policy", "yes")


def test_it_leaves_a_trace_that_says_what_was_taken(helpdesk: Client, house: House) -> None:
    rows(3)
    taken(helpdesk, "devices/device", view="no_policy")
    entry = AuditEntry.objects.get(verb="list.export")
    assert entry.actor == house.helpdesk
    assert entry.facts == {
        "list": "devices",
        "format": "csv",
        "entries": 3,
        "filters": {"view": "no_policy"},
    }


def test_a_look_at_the_address_takes_nothing(helpdesk: Client) -> None:
    assert helpdesk.get("/devices/device/csv/").status_code == 405
    assert not AuditEntry.objects.filter(verb="list.export").exists()


def test_a_filter_that_is_not_there_is_not_found(helpdesk: Client) -> None:
    assert helpdesk.post("/devices/device/csv/?nothing=1").status_code == 404


def test_nobody_takes_what_is_outside_their_scope(house: House, client: Client) -> None:
    person = house.person("helpdesk", name="region", everything=False)
    mine = house.group("Mine")
    Scope.objects.create(user=person).groups.add(mine)
    rows(2, group=mine)
    rows(3)
    client.force_login(person)
    assert names(client) == ["Row 0", "Row 1"]


def test_no_spreadsheet_runs_what_somebody_is_called(helpdesk: Client) -> None:
    called('=HYPERLINK("http://example.org")', user_name=" @SUM(1)", asset_tag="-1")
    [row] = taken(helpdesk, "devices/device")
    for cell in (row["name"], row["user"], row["asset tag"]):
        assert cell.startswith("'")


def secret_fields() -> Iterator[tuple[type[models.Model], str]]:
    for model in LISTS:
        for field in model._meta.get_fields():
            hidden = ("token", "magic", "digest", "password", "sealed", "challenge", "key", "box")
            if isinstance(field, models.BinaryField) or any(word in field.name for word in hidden):
                yield model, field.name


def test_no_column_is_one_that_holds_a_secret() -> None:
    secret = set(secret_fields())
    assert {
        (Device, "push_token"),
        (Device, "push_magic"),
        (PushCertificate, "sealed_key"),
    } < secret
    for model, listed in LISTS.items():
        for column in listed.columns.values():
            if isinstance(column, str):
                assert (model, column.partition(".")[0]) not in secret, (model, column)


def test_no_secret_is_in_any_file(house: House) -> None:
    """Every secret of a row is written over with one and the same, and then looked for."""
    scene = Scene(house)
    scene.ask()
    scene.ask_list()
    scene.change()
    user_row(scene.mac, "nora")
    for model, name in secret_fields():
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if isinstance(field, models.BinaryField):
            model._default_manager.update(**{name: SECRET})
        elif isinstance(field, models.CharField) and not field.unique:
            word = SECRET.decode()[: field.max_length]
            model._default_manager.update(**{name: word})
    wanted = needles("a secret", SECRET, SECRET[:16])
    scene.people["admin"].refresh_from_db()  # its password is another one now
    client = scene.client("admin")
    for model in LISTS:
        page = admin.site.get_model_admin(model)
        place = f"/{page.opts.app_label}/{page.opts.model_name}/csv/"
        response: Any = client.post(place)
        assert response.status_code == 200, place
        text = response.getvalue()
        assert found(text, wanted) == [], place
        assert address_name(page.opts)
        assert len(text.splitlines()) > 1 or model._default_manager.count() == 0, place


def test_twelve_devices_cost_as_many_queries_as_two(helpdesk: Client, house: House) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert taken(helpdesk, "devices/device")
        return len(captured)

    tills = house.group("Tills")
    rows(2, group=tills)
    two = queries()
    rows(10, group=tills)
    assert queries() == two


def test_a_long_list_is_sent_in_pieces_and_never_whole() -> None:
    made = 0

    def endless() -> Iterator[list[int]]:
        nonlocal made
        while True:
            made += 1
            yield [made]

    pieces = iter(export.answer("list", ["number"], endless(), total=0))
    first = next(pieces)
    assert isinstance(first, bytes)
    assert first.count(b"\r\n") == export.AT_ONCE
    assert made < 2 * export.AT_ONCE
    assert next(pieces)


def test_a_line_within_a_cell_stays_within_its_cell(helpdesk: Client) -> None:
    called('first\nsecond, "third"')
    assert names(helpdesk) == ['first\nsecond, "third"']


def test_each_cell_of_a_list_bears_the_name_of_its_column_and_stays_text(
    house: House, client: Client
) -> None:
    """On a phone a row is a card, and its head is out of sight."""
    person = house.person("author", name="colleague")
    Scope.objects.filter(user=person).delete()
    Scope.objects.create(user=person).groups.add(house.group("<i>North</i>"))
    client.force_login(house.admin)
    page = client.get("/staff/user/?q=colleague").content.decode()
    assert '<td data-label="Roles" class="field-roles">author</td>' in page
    assert 'data-label="Acts on" class="field-acts_on">&lt;i&gt;North&lt;/i&gt;</td>' in page


def test_the_head_of_a_column_sorts_by_it_says_so_and_turns_it_round(
    house: House, client: Client
) -> None:
    client.force_login(house.admin)
    house.person("author", name="zoo")
    at, seen = "/staff/user/", []
    for way in ("ascending", "descending", "ascending"):
        page = client.get(at).content.decode()
        [(said, query)] = re.findall(r'aria-sort="(\w+)"[^<]*<div[^<]*<a href="([^"]+)"', page)
        assert said == way
        seen.append(page.index(">zoo</a>") > page.index(">admin</a>"))
        at = f"/staff/user/{html.unescape(query)}"
    assert seen == [True, False, True]
