"""Who may open which page and do which deed: every address of the staff site, for every role.

A page that is in no table fails a test, so that none can be forgotten.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from devices.models import AuditEntry, EnrollmentLink, PushCertificate
from devices.rules.channels import Platform
from mdm.enrollment import links
from passcodes import custody, policies, rollout
from passcodes.models import ClearRequest, Rollout
from staff.models import User
from tests import clears
from tests.house import PASSWORD, House
from tests.scenes import LOOSE, STRICT, profile, published, wifi

ROLES = ("helpdesk", "approver", "author", "auditor", "admin", "outsider", "anonymous")
NEW_PASSWORD = "nine green bottles"

# Who may open it. The outsider signs in and has no role; anonymous has not signed in.
PAGES = """
                                                        helpdesk approver author auditor admin outsider anonymous
/                                                       yes      yes      yes    yes     yes   yes      -
/accounts/login/                                        -        -        -      -       -     -        yes
/accounts/logout/                                       yes      yes      yes    yes     yes   yes      -
/accounts/password/                                     yes      yes      yes    yes     yes   yes      -
/accounts/inactive/                                     yes      yes      yes    yes     yes   yes      yes
/accounts/signup/                                       -        -        -      -       -     -        yes
/login/                                                 yes      yes      yes    yes     yes   yes      yes
/logout/                                                yes      yes      yes    yes     yes   yes      yes
/password_change/                                       yes      yes      yes    yes     yes   yes      yes
/password_change/done/                                  yes      yes      yes    yes     yes   yes      yes
/jsi18n/                                                yes      yes      yes    yes     yes   yes      -
/autocomplete/                                          -        -        -      -       -     -        -
/r/<path:content_type_id>/<path:object_id>/             -        -        -      -       -     -        -
/^(?P<app_label>staff|passcodes|devices)/$              yes      yes      yes    yes     yes   -        -
/(?P<url>.*)$                                           -        -        -      -       -     -        -

/devices/device/                                        yes      yes      yes    yes     yes   -        -
/devices/device/<path:object_id>/                       yes      yes      yes    yes     yes   yes      -
/devices/device/<path:object_id>/change/                yes      yes      yes    yes     yes   -        -
/devices/device/<path:object_id>/history/               yes      yes      yes    yes     yes   -        -
/devices/device/<path:object_id>/delete/                -        -        -      -       -     -        -
/devices/device/add/                                    -        -        -      -       -     -        -
/devices/device/<int:pk>/lost/                          yes      yes      -      -       yes   -        -
/devices/device/<int:pk>/found/                         -        -        -      -       yes   -        -
/devices/device/<int:pk>/unenroll/                      -        -        -      -       yes   -        -
/devices/device/<int:pk>/retire/                        -        -        -      -       yes   -        -
/devices/device/<int:pk>/owner/                         -        -        -      -       yes   -        -
/devices/devicegroup/                                   yes      yes      yes    yes     yes   -        -
/devices/devicegroup/<int:pk>/change/                   yes      yes      yes    yes     yes   -        -
/devices/devicegroup/add/                               -        -        -      -       yes   -        -
/devices/devicegroup/<int:pk>/edit/                     -        -        -      -       yes   -        -
/devices/devicegroup/<int:pk>/join/                     -        -        -      -       yes   -        -
/devices/enrollmentlink/                                -        -        -      yes     yes   -        -
/devices/enrollmentlink/<int:pk>/change/                -        -        -      yes     yes   -        -
/devices/enrollmentlink/add/                            -        -        -      -       yes   -        -
/devices/pushcertificate/                               -        -        -      yes     yes   -        -
/devices/pushcertificate/<int:pk>/change/               -        -        -      yes     yes   -        -
/devices/auditentry/                                    -        -        -      yes     yes   -        -
/devices/auditentry/<path:object_id>/                   yes      yes      yes    yes     yes   yes      -
/devices/auditentry/<path:object_id>/change/            -        -        -      yes     yes   -        -
/devices/auditentry/<path:object_id>/history/           -        -        -      yes     yes   -        -
/devices/auditentry/<path:object_id>/delete/            -        -        -      -       -     -        -
/devices/auditentry/add/                                -        -        -      -       -     -        -

/passcodes/clearrequest/                                yes      yes      -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/               yes      yes      yes    yes     yes   yes      -
/passcodes/clearrequest/<path:object_id>/change/        yes      yes      -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/history/       yes      yes      -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/delete/        -        -        -      -       -     -        -
/passcodes/clearrequest/add/                            yes      -        -      -       -     -        -
/passcodes/policy/                                      yes      yes      yes    yes     yes   -        -
/passcodes/policy/<int:pk>/change/                      yes      yes      yes    yes     yes   -        -
/passcodes/policy/<int:pk>/compare/                     yes      yes      yes    yes     yes   -        -
/passcodes/policy/<int:pk>/remove/                      -        -        yes    -       -     -        -
/passcodes/policy/add/                                  -        -        yes    -       -     -        -
/passcodes/policyversion/                               yes      yes      yes    yes     yes   -        -
/passcodes/policyversion/<int:pk>/change/               yes      yes      yes    yes     yes   -        -
/passcodes/policyversion/add/                           -        -        yes    -       -     -        -
/passcodes/policyversion/<int:pk>/publish/              -        -        yes    -       -     -        -
/passcodes/policyversion/<int:pk>/discard/              -        -        yes    -       -     -        -
/passcodes/policyversion/<int:pk>/push/                 -        -        yes    -       -     -        -
/passcodes/rollout/                                     -        -        yes    yes     yes   -        -
/passcodes/rollout/<int:pk>/change/                     -        -        yes    yes     yes   -        -
/passcodes/rollout/<int:pk>/stop/                       -        -        yes    -       -     -        -
/passcodes/withheldconfiguration/                       yes      -        yes    yes     yes   -        -
/passcodes/withheldconfiguration/<int:pk>/change/       yes      -        yes    yes     yes   -        -
/passcodes/withheldconfiguration/add/                   -        -        yes    -       -     -        -
/passcodes/withheldconfiguration/<int:pk>/assign/       -        -        yes    -       -     -        -
/passcodes/withheldconfiguration/<int:pk>/retire/       -        -        yes    -       -     -        -

/staff/user/                                            -        -        -      yes     yes   -        -
/staff/user/<path:object_id>/                           yes      yes      yes    yes     yes   yes      -
/staff/user/<path:object_id>/change/                    -        -        -      yes     yes   -        -
/staff/user/<path:object_id>/history/                   -        -        -      yes     yes   -        -
/staff/user/<path:object_id>/delete/                    -        -        -      -       -     -        -
/staff/user/<id>/password/                              -        -        -      -       yes   -        -
/staff/user/add/                                        -        -        -      -       yes   -        -
"""

# What is posted there leaves the trace that is named, by these roles and by no other.
DEEDS = """
/devices/device/<int:pk>/ask/                           device.ask               helpdesk author admin
/devices/device/<int:pk>/lost/                          device.lost              helpdesk approver admin
/devices/device/<int:pk>/found/                         device.found             admin
/devices/device/<int:pk>/unenroll/                      device.unenroll          admin
/devices/device/<int:pk>/retire/                        device.retire            admin
/devices/device/<int:pk>/owner/                         device.assigned          admin
/devices/devicegroup/add/                               group.created            admin
/devices/devicegroup/<int:pk>/edit/                     group.changed            admin
/devices/devicegroup/<int:pk>/join/                     device.joined            admin
/devices/devicegroup/<int:pk>/leave/                    device.left_group        admin
/devices/enrollmentlink/add/                            enrollment.link_made     admin
/devices/auditentry/export/csv/                         audit.export             auditor
/devices/auditentry/export/jsonl/                       audit.export             auditor

/passcodes/clearrequest/add/                            clear.request            helpdesk
/passcodes/clearrequest/<uuid:pk>/approve/              clear.approve            approver
/passcodes/clearrequest/<uuid:pk>/deny/                 clear.deny               approver
/passcodes/clearrequest/<uuid:pk>/cancel/               clear.cancel             admin
/passcodes/policy/add/                                  policy.create            author
/passcodes/policy/<int:pk>/remove/                      policy.remove            author
/passcodes/policyversion/add/                           policy.draft             author
/passcodes/policyversion/<int:pk>/change/               policy.change_draft      author
/passcodes/policyversion/<int:pk>/publish/              policy.publish           author
/passcodes/policyversion/<int:pk>/discard/              policy.discard_draft     author
/passcodes/policyversion/<int:pk>/push/                 rollout.push             author
/passcodes/rollout/<int:pk>/stop/                       rollout.stop             author
/passcodes/withheldconfiguration/add/                   configuration.upload     author
/passcodes/withheldconfiguration/<int:pk>/assign/       configuration.assign     author
/passcodes/withheldconfiguration/<int:pk>/retire/       configuration.retire     author

/staff/user/add/                                        staff.user_added         admin
/staff/user/<path:object_id>/change/                    staff.user_changed       admin
/staff/user/<id>/password/                              staff.password_set       admin
/accounts/password/                                     staff.password_changed   everyone
"""


@dataclass(frozen=True, slots=True)
class Row:
    route: str
    trace: str
    roles: set[str]


def pages() -> list[Row]:
    head, *lines = [line.split() for line in PAGES.splitlines() if line]
    assert tuple(head) == ROLES
    return [
        Row(
            route,
            trace="",
            roles={role for role, may in zip(ROLES, marks, strict=True) if may == "yes"},
        )
        for route, *marks in lines
    ]


def deeds() -> list[Row]:
    lines = [line.split() for line in DEEDS.splitlines() if line]
    everyone = {"everyone": set(ROLES) - {"anonymous"}}
    return [
        Row(route, trace, everyone.get(roles[0], set(roles))) for route, trace, *roles in lines
    ]


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


class Scene:
    """A house in which each page shows something and each deed could be done."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.group = house.group("Tills")
        self.phone = house.enrolled_phone(passcode="4711", group=self.group, name="till-1")
        self.device = house.device(self.phone)
        self.loose = published(house, LOOSE)
        self.rollout: Rollout = rollout.push(
            self.loose.pk, group_ids=[self.group.pk], by=house.author
        )
        self.draft = policies.draft(self.loose.policy, STRICT, note="", by=house.author)
        self.configuration = wifi(house, group=self.group)
        self.link: EnrollmentLink = links.make(Platform.IOS, by=house.admin)[0]
        self.someone = house.person("helpdesk", name="someone")
        self.asked: ClearRequest | None = None
        self.people: dict[str, User] = {
            role: getattr(house, role) for role in ROLES if role != "anonymous"
        }

    def ask(self) -> ClearRequest:
        """Somebody else's request for a clear: all roles can be tried on it."""
        self.asked = clears.ask_for(self.phone, by=self.someone)
        return self.asked

    def client(self, role: str) -> Client:
        client = Client()
        if role != "anonymous":
            client.force_login(self.people[role])
        return client

    def address(self, route: str) -> str:
        """The address with what stands in this house for its variables."""
        query = ""
        if route == "/passcodes/clearrequest/add/":
            query = f"?device={self.device.pk}"
        if route == "/passcodes/policyversion/add/":
            query = f"?policy={self.loose.policy_id}"
        if route == "/r/<path:content_type_id>/<path:object_id>/":
            return "/r/1/1/"
        if "<" not in route:
            return route + query
        if "app_label" in route:
            return "/devices/"
        if "url" in route:
            return "/nowhere/"
        return re.sub(r"<[^>]+>", str(self._stands_for(route)), route)

    def _stands_for(self, route: str) -> Any:
        draft_or_not = self.loose.pk if route.endswith("push/") else self.draft.pk
        stands: dict[str, Callable[[], Any]] = {
            "device": lambda: self.device.pk,
            "devicegroup": lambda: self.group.pk,
            "enrollmentlink": lambda: self.link.pk,
            "pushcertificate": lambda: PushCertificate.objects.get().pk,
            "auditentry": lambda: AuditEntry.objects.filter(device=self.device).latest("pk").pk,
            "clearrequest": lambda: (self.asked or self.ask()).pk,
            "policy": lambda: self.loose.policy_id,
            "policyversion": lambda: draft_or_not,
            "rollout": lambda: self.rollout.pk,
            "withheldconfiguration": lambda: self.configuration.pk,
            "user": lambda: self.someone.pk,
        }
        return stands[route.split("/")[2]]()


@pytest.fixture
def scene(house: House) -> Scene:
    return Scene(house)


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
        if re.match(r"/(devices/device|passcodes/clearrequest)/<.*>/.", row.route):
            answer = client.get(scene.address(row.route))
            assert answer.status_code in {403, 404} or "history" in row.route, row.route
    for row in deeds():
        if re.match(r"/(devices/device|passcodes/clearrequest)/<", row.route):
            deed(scene, row, client)
            assert not did(row, user), row.route


def extra(scene: Scene, route: str) -> dict[str, Any]:
    """What the form of a deed sends."""
    demands = {"force_pin": "true", "min_length": "10"}
    serial = scene.device.serial or ""
    someone = {"username": "someone", "is_active": "on", "everything": "on"}
    passwords = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    upload = SimpleUploadedFile("wifi.mobileconfig", profile("com.example.other"))
    forms: dict[str, dict[str, Any]] = {
        "/devices/device/<int:pk>/lost/": {"note": "Left in a taxi."},
        "/devices/device/<int:pk>/found/": {"note": "Seen at the counter."},
        "/devices/device/<int:pk>/owner/": {"name": "till-2", "user_name": "A user"},
        "/devices/devicegroup/add/": {"name": "Vans"},
        "/devices/devicegroup/<int:pk>/edit/": {"name": "Counters"},
        "/devices/devicegroup/<int:pk>/join/": {"serials": serial},
        "/devices/devicegroup/<int:pk>/leave/": {"devices": [scene.device.pk]},
        "/devices/enrollmentlink/add/": {"platform": "ios", "identity": "pkcs12", "hours": "1"},
        "/passcodes/clearrequest/add/": {
            "reason": "forgotten",
            "words": "Forgot it over the weekend.",
            "holder": "In my hands, at the counter.",
            "serial_end": serial[-4:],
        },
        "/passcodes/clearrequest/<uuid:pk>/approve/": {"password": PASSWORD},
        "/passcodes/clearrequest/<uuid:pk>/deny/": {"words": "Call the shop first."},
        "/passcodes/policy/add/": {"name": "Macs"},
        "/passcodes/policy/<int:pk>/remove/": {"groups": [scene.group.pk]},
        "/passcodes/policyversion/add/": demands,
        "/passcodes/policyversion/<int:pk>/change/": demands,
        "/passcodes/policyversion/<int:pk>/push/": {"groups": [scene.group.pk]},
        "/passcodes/withheldconfiguration/add/": {"name": "Other", "profile": upload},
        "/staff/user/add/": {"username": "new", **passwords},
        "/staff/user/<path:object_id>/change/": {**someone, "email": "someone@example.org"},
        "/staff/user/<id>/password/": passwords,
        "/accounts/password/": {"oldpassword": PASSWORD, **passwords},
    }
    return forms.get(route, {})


BEFORE: dict[str, Callable[[Scene], object]] = {
    "/devices/device/<int:pk>/found/": lambda scene: custody.mark_lost(
        scene.device.pk, note="Left in a taxi.", by=scene.someone
    ),
    "/devices/devicegroup/<int:pk>/join/": lambda scene: rollout.left(
        scene.group, [scene.device.pk], by=scene.house.admin
    ),
    "/passcodes/policyversion/add/": lambda scene: policies.discard_draft(
        scene.draft.pk, by=scene.house.author
    ),
}


def deed(scene: Scene, row: Row, client: Client) -> None:
    """Post it, and confirm what asks for it."""
    address, facts = scene.address(row.route), extra(scene, row.route)
    response: Any = client.post(address, facts)
    page = response.getvalue().decode() if response.status_code == 200 else ""
    if counted := re.search(r'name="counted" value="([^"]+)"', page):
        client.post(address, {**facts, "counted": counted[1]})


def did(row: Row, user: User) -> bool:
    return AuditEntry.objects.filter(verb=row.trace, actor=user).exists()


@pytest.mark.parametrize("row", deeds(), ids=lambda row: row.trace)
def test_a_deed_is_done_by_whom_it_is_meant_for(scene: Scene, row: Row) -> None:
    if row.route in BEFORE:
        BEFORE[row.route](scene)
    if "clearrequest/<" in row.route:
        scene.ask()
    last = AuditEntry.objects.latest("pk").pk
    done = set()
    for role in ROLES:
        with transaction.atomic():
            deed(scene, row, scene.client(role))
            if AuditEntry.objects.filter(verb=row.trace, pk__gt=last).exists():
                done.add(role)
            transaction.set_rollback(True)  # the next role finds it as it was
    assert done == row.roles


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
