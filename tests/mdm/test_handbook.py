"""The handbook: rendered from docs/desk.md, and each page leads to the part that belongs to it."""

import re
from html import unescape

from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

from mdm.desk import handbook
from tests.house import House
from tests.staff_site import Scene, pages


def anchors() -> set[str]:
    html, _ = handbook.rendered()
    return set(re.findall(r' id="([^"]+)"', html))


def test_every_page_leads_to_a_part_that_exists(house: House) -> None:
    """By what the page itself shows, for a person who may open it."""
    scene, there, wrong = Scene(house), anchors(), {}
    clients: dict[str, Client] = {}
    for row in pages():
        roles = sorted(row.roles - {"outsider", "anonymous"})
        if not roles:
            continue
        client = clients.setdefault(roles[0], scene.client(roles[0]))
        answer = client.get(scene.address(row.route))
        shown = b"" if answer.streaming else answer.content
        if b'id="nav-sidebar"' not in shown:  # no page of the desk, or it leads elsewhere
            continue
        found = re.search(r'href="/handbook/#([^"]*)">Handbook', shown.decode())
        if found is None or found[1] not in there:
            wrong[row.route] = found and found[1]
    assert wrong == {}


def test_no_part_is_named_that_does_not_exist() -> None:
    assert {anchor for _, anchor in handbook.PARTS} <= anchors()


def test_links_inside_lead_to_parts_that_exist() -> None:
    html, contents = handbook.rendered()
    inside = set(re.findall(r'href="#([^"]+)"', html)) | {anchor for anchor, _ in contents}
    assert len(inside) > 20
    assert inside <= anchors()


def test_its_pictures_are_there() -> None:
    html, _ = handbook.rendered()
    pictures = re.findall(r'src="/static/([^"]+)"', html)
    assert len(pictures) >= 5
    assert [one for one in pictures if finders.find(one) is None] == []


def test_what_it_quotes_stands_on_a_page() -> None:
    """«…» is what somebody looks for: a label that has changed since misleads them."""
    rooms = ("templates", "mdm", "passcodes", "staff", "devices", "static")
    files = (
        file
        for room in rooms
        for file in (settings.ROOT / room).rglob("*")
        if file.suffix in {".html", ".py", ".js"}
    )
    said = "\n".join(_plain(file.read_text()) for file in files)
    quoted = re.findall(r"«([^»]+)»", _plain(handbook.FILE.read_text()))
    assert len(quoted) > 50
    parts = {part.strip() for words in quoted for part in words.split("…")}
    assert sorted(part for part in parts if part not in said) == []


def _plain(text: str) -> str:
    """Without tags, and with the words of a sentence that is written in several pieces together."""
    text = re.sub(r"\{%.*?%\}|</?[a-z][^<>]*>", "", unescape(text))
    return " ".join(re.sub(r'"\s+f?"', "", text).replace("’", "'").split())


def test_each_word_for_a_status_is_explained_and_old_browsers_are_warned() -> None:
    html, _ = handbook.rendered()
    for word in (
        "Compliant",
        "In grace",
        "Overdue",
        "Exposed",
        "Withheld",
        "Lost",
        "light-dark()",
    ):
        assert word in html


def test_a_page_of_no_table_still_leads_to_the_handbook() -> None:
    assert handbook.address("/nowhere/") == "/handbook/"
