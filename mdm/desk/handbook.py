"""The handbook, rendered from docs/desk.md, and which part of it belongs to which page."""

import re
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

FILE = settings.ROOT / "docs" / "desk.md"
PICTURES = "screenshots/"  # beside the file; the staff site serves them under `handbook/`
WHOLE = "handbook"  # the anchor of its beginning

# The first that fits the page's path; a page of this table's own is the last word, not the first.
PARTS: tuple[tuple[str, str], ...] = (
    (r"/devices/device/\d+/(lost|found|place)/", "lost-and-found"),
    (r"/devices/device/\d+/users/", "people-on-a-mac-or-a-shared-ipad"),
    (r"/devices/device/\d+/", "the-device-page"),
    (r"/devices/device/", "find-a-device"),
    (r"/devices/deviceuser/", "people-on-a-mac-or-a-shared-ipad"),
    (r"/devices/devicegroup/", "groups"),
    (r"/devices/enrollmentlink/", "let-a-device-in"),
    (r"/devices/pushcertificate/", "push-certificate"),
    (r"/devices/notice/", "notices"),
    (r"/devices/auditentry/", "the-audit"),
    (r"/devices/(houserules|networkuser)/", "set-the-house-up"),
    (r"/passcodes/clearrequest/add/", "ask-for-a-clear"),
    (r"/passcodes/clearrequest/", "sign-or-deny"),
    (r"/passcodes/clearlist/", "ask-for-several-devices"),
    (r"/passcodes/act/", "other-sign-offs"),
    (r"/passcodes/policyversion/\d+/push/", "push-a-policy"),
    (r"/passcodes/policy/\d+/remove/", "push-a-policy"),
    (r"/passcodes/policy", "write-a-policy"),
    (r"/passcodes/rollout/", "push-a-policy"),
    (r"/passcodes/withheldconfiguration/", "withhold-configuration"),
    (r"/staff/signingkey/", "signing-passkeys"),
    (r"/staff/user/", "people-and-roles"),
    (r"/accounts/", "people-and-roles"),
    (r"/coverage/", "coverage"),
    (r"/charter/", "the-charter"),
    (r"/it-policy/", "the-it-policy"),
    (r"/views/", "find-a-device"),
    (r"/setup/", "set-the-house-up"),
    (r"/handbook/", WHOLE),
    (r"/(devices|passcodes|staff)/$", "the-desk"),
    (r"/$", "the-desk"),
)


def part(path: str) -> str:
    """The anchor of the part that belongs to the page at this path; an empty one: none has been named."""
    return next((anchor for route, anchor in PARTS if re.match(route, path)), "")


def address(path: str) -> str:
    anchor = part(path)
    return reverse("admin:handbook") + (f"#{anchor}" if anchor else "")


def page(request: HttpRequest) -> HttpResponse:
    html, contents = rendered()
    context = {
        **admin.site.each_context(request),
        "title": "Handbook",
        "html": html,
        "contents": contents,
    }
    return TemplateResponse(request, "desk/handbook.html", context)


@cache
def rendered() -> tuple[SafeString, tuple[tuple[str, str], ...]]:
    """The whole text, and its parts with their anchors. The file is ours, and raw HTML in it stays text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(FILE.read_text())
    contents, heads, column = [], list[str](), 0
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            title = tokens[at + 1].content
            token.attrSet("id", slugify(title))
            if token.tag == "h2":
                contents.append((slugify(title), title))
        elif token.type == "table_open":
            token.attrSet("class", "desk-table desk-table--cards")
            heads = []
        elif token.type == "th_open":
            heads.append(tokens[at + 1].content)
        elif token.type == "tr_open":
            column = 0
        elif token.type == "td_open":
            if column:  # on a phone a row is a card, and its first cell the heading
                token.attrSet("data-label", heads[column])
            column += 1
        elif token.type == "inline":
            _pictures(token.children or [])
    options: Any = reader.options
    html = reader.renderer.render(tokens, options, {})
    return mark_safe(html), tuple(contents)  # noqa: S308 - our own file, and html is off


def _pictures(tokens: list[Token]) -> None:
    for token in tokens:
        source = str(token.attrGet("src") or "") if token.type == "image" else ""
        if source.startswith(PICTURES):
            token.attrSet("src", static(f"handbook/{source.removeprefix(PICTURES)}"))
            token.attrSet("loading", "lazy")
