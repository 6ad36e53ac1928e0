"""Lists in a real browser: taken away with a bar that says how far it is, and views kept by hand; the desk's charts."""

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Route

from devices.models import AuditEntry
from passcodes import fleet
from staff.models import SavedView
from tests.browser.conftest import Browsers, Site
from tests.browser.looking import looked_at

LIST = "/devices/device/"


def test_a_list_is_taken_away_and_the_page_says_where_it_went(
    site: Site, browsers: Browsers
) -> None:
    tab = browsers.visit("helpdesk")
    page = tab.open(f"{LIST}?q=shop")
    shown = page.locator("#result_list tbody tr").count()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"CSV of these {shown}").click()
    assert download.value.suggested_filename.startswith("devices-")
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(text)))) == shown > 1
    page.get_by_text("is kept where your browser keeps downloads").wait_for()
    assert page.get_by_role("button", name=f"CSV of these {shown}").is_visible()
    assert site.newest_entry().verb == "list.export"
    assert tab.complaints() == []


def test_a_file_that_breaks_off_is_not_kept_and_said(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("helpdesk")
    page = tab.open(LIST)
    page.route("**/csv/", _broken)
    page.get_by_role("button", name="CSV of all").click()
    page.get_by_text("The file broke off, and nothing was kept.").wait_for()
    assert page.get_by_role("button", name="CSV of all").is_visible()
    tab.complaints()  # of the address that was not there


def _broken(route: Route) -> None:
    route.abort("connectionreset")


def test_without_scripts_the_same_file_comes(site: Site, browsers: Browsers) -> None:
    page = browsers.visit("helpdesk", java_script_enabled=False).page
    page.goto(site.url + LIST)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of all").click()
    assert download.value.suggested_filename.endswith(".csv")


def test_a_view_is_kept_shared_deleted_and_brought_back(site: Site, browsers: Browsers) -> None:
    tab = browsers.visit("helpdesk")
    page = tab.open(f"{LIST}?q=shop&view=unreachable")
    page.get_by_text("Keep this view").click()
    page.get_by_label("Its name").fill("Silent shops")
    page.get_by_label("Who sees it").select_option("helpdesk")
    assert looked_at(tab, "a view to be kept") == []
    page.get_by_role("button", name="Keep it").click()
    mine = page.get_by_role("link", name="Silent shops for helpdesk")
    assert mine.get_attribute("aria-current") == "page"
    assert SavedView.objects.get(name="Silent shops").query == "q=shop&view=unreachable"
    page.get_by_text("Change this view").click()
    page.get_by_role("button", name="Delete the view").click()
    page.get_by_text("The view “Silent shops” is deleted.").wait_for()
    assert not mine.is_visible()
    page.get_by_role("button", name="Undo").click()
    mine.wait_for()
    assert AuditEntry.objects.filter(verb="view.brought_back").exists()
    assert tab.complaints() == []


@pytest.mark.parametrize("role", ["helpdesk", "approver", "author", "admin"])
def test_the_desk_draws_what_it_counts_and_has_a_table_beside(
    site: Site, browsers: Browsers, role: str
) -> None:
    fleet.note()
    tab = browsers.visit(role)
    page = tab.open("/")
    drawings = page.locator("figure svg[role=img]")
    assert drawings.count() >= 3
    for number in range(drawings.count()):
        assert drawings.nth(number).get_attribute("aria-label")
    tables = page.locator(".desk-astable")
    assert tables.count() == drawings.count()
    tables.first.locator("summary").click()
    assert tables.first.get_by_role("columnheader", name="Compliant").is_visible()
    assert looked_at(tab, f"desk with charts {role}") == []
    assert tab.complaints() == []
