"""Who may open which page and do which deed: every address of the staff site, for every role.

A page that is in no table fails a test, so that none can be forgotten.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from devices.models import AuditEntry
from devices.rules.grouping import read
from mdm.desk.history import REFUSALS
from passcodes import custody, grouping, membership, policies
from staff import saved_views
from staff.models import User
from tests import clears, signing_page
from tests.house import PASSKEYS, PASSWORD, push_pair
from tests.scenes import profile
from tests.staff_site import ROLES, Row, Scene, deeds, pages
from tests.stage import Stage, stage_set

NEW_PASSWORD = "nine green bottles"
RULE = {
    "of": "default",
    "approvers": "2",
    "possession": ["code", "word"],
    "ask_lasts": "60",
    "yes_lasts": "30",
    "hold": "0",
    "opens_from": "6",
    "opens_until": "22",
    "bulk_max": "1",
    "per_hour": "10",
    "synced": ["ask"],
    "words": "Two sign from now on.",
}
RETAIL = {"fact-0": "tag", "test-0": "begins", "value-0": "RETAIL-"}


def routes(resolver: URLResolver, before: str = "/") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, before + str(pattern.pattern))
        else:
            assert isinstance(pattern, URLPattern)
            yield before + str(pattern.pattern)


def test_every_address_of_the_staff_site_is_in_a_table() -> None:
    told = {row.route for row in pages() + deeds()}
    assert set(routes(get_resolver("mdm.urls"))) == told


def test_no_address_is_told_twice() -> None:
    for table in (pages(), deeds()):
        told = [row.route for row in table]
        assert len(told) == len(set(told))


@pytest.fixture(scope="module")
def stage(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    with django_db_blocker.unblock(), stage_set(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture
def scene(stage: Stage, db: None, settings: Settings) -> Scene:
    settings.DOOR_TLS_AUTHORITY = settings.CA_CERTIFICATE  # after its devices have enrolled
    return stage.as_it_was()


def is_opened(response: HttpResponse, route: str) -> bool:
    """Whether the person sees the page, or is led on to one; being sent back or to sign in is neither."""
    if response.status_code in {301, 302}:
        to = response.headers["Location"]
        return route == "/login/" or not (
            to == "/" or to.startswith(("/login/", "/accounts/login/"))
        )
    assert response.status_code in {200, 403, 404}, f"{route}: {response.status_code}"
    return response.status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_for_whom_it_is_meant(scene: Scene, role: str) -> None:
    client = scene.client(role)
    wrong = {}
    for row in pages():
        response: Any = client.get(scene.address(row.route))
        if is_opened(response, row.route) != (role in row.roles):
            wrong[row.route] = response.status_code
    assert wrong == {}


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"anonymous"}))
def test_what_is_outside_one_s_scope_is_as_if_it_were_not_there(scene: Scene, role: str) -> None:
    user = scene.people[role]
    if hasattr(user, "scope"):
        user.scope.everything = False
        user.scope.save()
    client = scene.client(role)
    scene.ask()
    for row in pages():
        if re.match(r"/(devices/device|passcodes/clear(request|list))/<.*>/.", row.route):
            answer = client.get(scene.address(row.route))
            assert answer.status_code in {403, 404} or "history" in row.route, row.route
    for row in deeds():
        if re.match(r"/(devices/device|passcodes/clear(request|list))/<", row.route):
            deed(scene, row, client)
            assert not did(row, user), row.route


def extra(scene: Scene, route: str) -> dict[str, Any]:
    """What the form of a deed sends."""
    demands = {"force_pin": "true", "min_length": "10"}
    serial = scene.device.serial or ""
    someone = {"username": "someone", "is_active": "on", "everything": "on"}
    passwords = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    certificate, key = push_pair()
    tills = scene.tills if "clearlist" in route else []
    upload = SimpleUploadedFile("wifi.mobileconfig", profile("com.example.other"))
    forms: dict[str, dict[str, Any]] = {
        "/devices/device/<int:pk>/lost/": {"note": "Left in a taxi."},
        "/devices/device/<int:pk>/found/": {"note": "Seen at the counter."},
        "/devices/device/<int:pk>/command/": {"request_type": "ProfileList"},
        "/devices/device/<int:pk>/owner/": {"name": "till-2", "user_name": "A user"},
        "/devices/device/<int:pk>/users/unlock/": {"name": "anna"},
        "/devices/device/<int:pk>/users/delete/": {"name": "anna"},
        "/devices/networkuser/add/": {"short_name": "olga", "password": "sesame"},
        "/devices/devicegroup/add/": {"name": "Vans"},
        "/devices/devicegroup/<int:pk>/edit/": {"name": "Counters"},
        "/devices/devicegroup/<int:pk>/join/": {"serials": serial},
        "/devices/devicegroup/<int:pk>/leave/": {"devices": [scene.device.pk]},
        "/devices/devicegroup/<int:pk>/rule/": RETAIL,
        "/devices/enrollmentlink/add/": {"platform": "ios", "identity": "pkcs12", "hours": "1"},
        "/devices/pushcertificate/add/": {
            "certificate": SimpleUploadedFile("push.pem", certificate),
            "key": SimpleUploadedFile("key.pem", key),
        },
        "/devices/houserules/": {"inactive_after_days": "5"},
        "/setup/mail/": {"to": "admin@example.org"},
        "/it-policy/write/": {"after": "0", "text": "Tokens are kept so that we can help."},
        "/charter/propose/<str:what>/": RULE,
        "/passcodes/act/<uuid:pk>/deny/": {"words": "Not these."},
        "/passcodes/act/review/<uuid:pk>/": {"words": "The key is back."},
        "/passcodes/clearrequest/add/": {
            "reason": "forgotten",
            "words": "Forgot it over the weekend.",
            "holder": "In my hands, at the counter.",
            "serial_end": serial[-4:],
        },
        "/passcodes/clearrequest/<uuid:pk>/witness/": {"serial_end": serial[-4:]},
        "/passcodes/clearrequest/<uuid:pk>/deny/": {"words": "Call the shop first."},
        "/passcodes/clearlist/add/": {
            "deed": "send",
            "device": [one.pk for one in tills],
            "reason": "refresh",
            "words": "New tills for the north.",
            "holder": "On my bench.",
            "how": "word",
            "read": " ".join(one.serial or "" for one in tills),
        },
        "/passcodes/clearlist/<uuid:key>/witness/": {
            "read": " ".join((one.serial or "")[-4:] for one in tills)
        },
        "/passcodes/clearlist/<uuid:key>/deny/": {"words": "Call the shop first."},
        "/views/keep/": {"list": "devices.device", "query": "q=till", "name": "Tills"},
        "/views/<int:pk>/change/": {"name": "All my shops"},
        "/passcodes/policy/add/": {"name": "Macs"},
        "/passcodes/policy/<int:pk>/remove/": {"groups": [scene.group.pk]},
        "/passcodes/policyversion/add/": demands,
        "/passcodes/policyversion/<int:pk>/change/": demands,
        "/passcodes/policyversion/<int:pk>/push/": {"groups": [scene.group.pk]},
        "/passcodes/rollout/<int:pk>/next/": {"wave": "2"},
        "/passcodes/withheldconfiguration/add/": {"name": "Other", "profile": upload},
        "/staff/user/add/": {"username": "new", **passwords},
        "/staff/user/<path:object_id>/change/": {**someone, "email": "someone@example.org"},
        "/staff/user/<id>/password/": passwords,
        "/accounts/password/": {"oldpassword": PASSWORD, **passwords},
    }
    return forms.get(route, {})


BEFORE: dict[str, Callable[[Scene], object]] = {
    "/views/<int:pk>/bring-back/": lambda scene: saved_views.drop(
        scene.view.pk, by=scene.house.helpdesk
    ),
    "/devices/device/<int:pk>/found/": lambda scene: custody.mark_lost(
        scene.device.pk, note="Left in a taxi.", by=scene.someone
    ),
    "/passcodes/act/<uuid:pk>/sign/": lambda scene: scene.change_of(
        scene.house.keeper, signs=False
    ),
    "/passcodes/act/<uuid:pk>/take-back/": lambda scene: scene.change_of(scene.house.keeper),
    "/passcodes/act/review/<uuid:pk>/": Scene.glass,
    **dict.fromkeys(
        (
            "/devices/device/<int:pk>/sound/",
            "/devices/device/<int:pk>/locate/",
            "/devices/device/<int:pk>/place/",
        ),
        Scene.lose,
    ),
    "/passcodes/clearrequest/<uuid:pk>/sign/": Scene.prepare,
    "/passcodes/clearrequest/<uuid:pk>/witness/": lambda scene: scene.ask(
        possession={"how": "witness", "words": "A colleague sees it."}
    ),
    "/passcodes/clearlist/<uuid:key>/sign/": Scene.prepare_list,
    "/passcodes/clearlist/<uuid:key>/witness/": lambda scene: scene.ask_list(
        how="witness", read=""
    ),
    "/devices/devicegroup/<int:pk>/join/": lambda scene: membership.left(
        scene.group, [scene.device.pk], by=scene.house.admin
    ),
    "/devices/devicegroup/<int:pk>/rule/drop/": lambda scene: grouping.write(
        scene.group.pk, [read("tag", "begins", "RETAIL-")], by=scene.house.admin
    ),
    **dict.fromkeys(
        (
            "/devices/notice/<uuid:pk>/again/",
            "/devices/notice/<uuid:pk>/let-be/",
            "/devices/notice/try/<str:name>/",
        ),
        lambda scene: scene.notice,
    ),
    "/passcodes/rollout/<int:pk>/next/": Scene.in_waves,
    "/passcodes/rollout/<int:pk>/hold/": Scene.in_waves,
    "/passcodes/policyversion/add/": lambda scene: policies.discard_draft(
        scene.draft.pk, by=scene.house.author
    ),
}


def deed(scene: Scene, row: Row, client: Client) -> None:
    """Post it, and confirm what asks for it."""
    address, facts = scene.address(row.route), extra(scene, row.route)
    response: Any = client.post(address, facts)
    leads = signing_page.place(response)
    if signing_page.is_there(leads):
        name = User.objects.get(pk=client.session["_auth_user_id"]).username
        client.post(signing_page.SIGNED, signing_page.answer(leads, PASSKEYS[name]))
    page = response.getvalue().decode() if response.status_code == 200 else ""
    if counted := re.search(r'name="counted" value="([^"]+)"', page):
        client.post(address, {**facts, "counted": counted[1]})


def did(row: Row, user: User) -> bool:
    return AuditEntry.objects.filter(verb=row.trace, actor=user).exists()


@pytest.mark.parametrize("row", deeds(), ids=lambda row: row.trace)
def test_a_deed_is_done_by_whom_it_is_meant_for(scene: Scene, row: Row) -> None:
    if row.route in BEFORE:
        BEFORE[row.route](scene)
    if "clearrequest/<" in row.route and scene.asked is None:
        scene.ask()
    if "/act/<" in row.route and scene.act is None:
        scene.change()
    if "clearlist/<" in row.route and scene.list is None:
        scene.ask_list()
    last = AuditEntry.objects.latest("pk").pk
    done = set()
    for role in ROLES:
        with transaction.atomic():
            deed(scene, row, scene.client(role))
            if AuditEntry.objects.filter(verb=row.trace, pk__gt=last).exists():
                done.add(role)
            transaction.set_rollback(True)  # the next role finds it as it was
    assert done == row.roles


@pytest.mark.parametrize("role", ["outsider", "auditor"])
def test_whoever_may_change_nothing_changes_nothing_wherever_they_post(
    scene: Scene, role: str
) -> None:
    scene.ask()
    last = AuditEntry.objects.latest("pk").pk
    client = scene.client(role)
    own = (
        "/accounts/",
        "/logout/",
        "/devices/auditentry/export/",
        "/devices/notice/mine/",
        "/coverage/csv/",
        "/views/",
    )
    for row in pages() + deeds():
        if not row.route.startswith(own) and not row.route.endswith("/csv/"):
            client.post(scene.address(row.route), extra(scene, row.route))
    own_entries = AuditEntry.objects.filter(pk__gt=last, actor=scene.people[role])
    traces = own_entries.values_list("verb", flat=True)
    assert set(traces) <= set(REFUSALS)
    assert "staff.forbidden" in set(traces)


def test_nobody_signs_without_their_password(scene: Scene) -> None:
    asked = scene.ask()
    client = scene.client("approver")
    client.post(f"/passcodes/clearrequest/{asked.pk}/approve/", {"password": "wrong"})
    client.post(f"/passcodes/clearrequest/{asked.pk}/approve/")
    assert clears.reread(asked).state == "requested"


def test_whoever_loses_the_role_loses_the_page_at_once(scene: Scene) -> None:
    client = scene.client("helpdesk")
    assert client.get("/devices/device/").status_code == 200
    scene.people["helpdesk"].groups.clear()
    assert client.get("/devices/device/").status_code == 403
