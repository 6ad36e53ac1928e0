"""The staff site as a whole: its addresses, who may open which, and a house where each shows something."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.test import Client
from django.utils import timezone

from devices import logins, push_certificates
from devices.models import (
    Account,
    AuditEntry,
    Device,
    EnrollmentLink,
    Notice,
    NoticePlace,
    PushCertificate,
    PushCertificateRequest,
)
from devices.rules.channels import Platform
from devices.rules.secret import Secret
from mdm.enrollment import links
from passcodes import acts, custody, policies, rollout
from passcodes.models import Act, ClearList, ClearRequest, Place, Rollout
from passcodes.rules.charter import Rule
from passcodes.rules.waves import Kind, Portion
from passcodes.waves import Intent
from staff import invitations, saved_views
from staff.models import SavedView, SigningKey, User
from tests import clears
from tests.house import House
from tests.scenes import LOOSE, STRICT, published, rows, user_row, wifi

ROLES = ("helpdesk", "approver", "keeper", "author", "auditor", "admin", "outsider", "anonymous")

# Who may open it. The outsider signs in and has no role; anonymous has not signed in.
PAGES = """
                                                        helpdesk approver keeper author auditor admin outsider anonymous
/                                                       yes      yes      yes    yes    yes     yes   yes      -
/accounts/login/                                        -        -        -      -      -       -     -        yes
/accounts/logout/                                       yes      yes      yes    yes    yes     yes   yes      -
/accounts/password/                                     yes      yes      yes    yes    yes     yes   yes      -
/accounts/invited/<str:link>/                           yes      yes      yes    yes    yes     yes   yes      yes
/accounts/inactive/                                     yes      yes      yes    yes    yes     yes   yes      yes
/accounts/signup/                                       -        -        -      -      -       -     -        yes
/login/                                                 yes      yes      yes    yes    yes     yes   yes      yes
/logout/                                                yes      yes      yes    yes    yes     yes   yes      yes
/password_change/                                       yes      yes      yes    yes    yes     yes   yes      yes
/password_change/done/                                  yes      yes      yes    yes    yes     yes   yes      yes
/jsi18n/                                                yes      yes      yes    yes    yes     yes   yes      -
/autocomplete/                                          -        -        -      -      -       -     -        -
/r/<path:content_type_id>/<path:object_id>/             -        -        -      -      -       -     -        -
/^(?P<app_label>staff|passcodes|devices)/$              yes      yes      yes    yes    yes     yes   -        -
/(?P<url>.*)$                                           -        -        -      -      -       -     -        -
/coverage/                                              yes      yes      yes    -      yes     yes   -        -
/coverage/pins/                                         -        -        -      -      -       yes   -        -
/charter/                                               yes      yes      yes    -      yes     yes   -        -
/charter/propose/<str:what>/                            -        -        yes    -      -       -     -        -
/handbook/                                              yes      yes      yes    yes    yes     yes   yes      -
/it-policy/                                             yes      yes      yes    yes    yes     yes   yes      -
/it-policy/write/                                       -        -        -      -      -       yes   -        -
/setup/                                                 -        -        -      -      -       yes   -        -

/devices/device/                                        yes      yes      yes    yes    yes     yes   -        -
/devices/device/<path:object_id>/                       yes      yes      yes    yes    yes     yes   yes      -
/devices/device/<path:object_id>/change/                yes      yes      yes    yes    yes     yes   -        -
/devices/device/<path:object_id>/history/               yes      yes      yes    yes    yes     yes   -        -
/devices/device/<path:object_id>/delete/                -        -        -      -      -       -     -        -
/devices/device/add/                                    -        -        -      -      -       -     -        -
/devices/device/<int:pk>/lost/                          yes      yes      yes    -      -       yes   -        -
/devices/device/<int:pk>/found/                         yes      -        yes    -      -       -     -        -
/devices/device/<int:pk>/unenroll/                      -        -        -      -      -       yes   -        -
/devices/device/<int:pk>/retire/                        -        -        -      -      -       yes   -        -
/devices/device/<int:pk>/owner/                         -        -        -      -      -       yes   -        -
/devices/device/<int:pk>/users/unlock/                  yes      -        -      -      -       yes   -        -
/devices/device/<int:pk>/users/delete/                  -        -        -      -      -       yes   -        -
/devices/device/<int:pk>/users/log-out/                 -        -        -      -      -       yes   -        -
/devices/device/<int:pk>/command/                       -        -        -      -      -       yes   -        -
/devices/deviceuser/                                    yes      yes      yes    yes    yes     yes   -        -
/devices/deviceuser/<int:pk>/change/                    yes      yes      yes    yes    yes     yes   -        -
/devices/devicegroup/                                   yes      yes      yes    yes    yes     yes   -        -
/devices/devicegroup/<int:pk>/change/                   yes      yes      yes    yes    yes     yes   -        -
/devices/devicegroup/add/                               -        -        -      -      -       yes   -        -
/devices/devicegroup/<int:pk>/edit/                     -        -        -      -      -       yes   -        -
/devices/devicegroup/<int:pk>/join/                     -        -        -      -      -       yes   -        -
/devices/devicegroup/<int:pk>/rule/                     -        -        -      -      -       yes   -        -
/devices/devicegroup/<int:pk>/rule/preview/             -        -        -      -      -       yes   -        -
/devices/enrollmentlink/                                -        -        -      -      yes     yes   -        -
/devices/enrollmentlink/<int:pk>/change/                -        -        -      -      yes     yes   -        -
/devices/enrollmentlink/add/                            -        -        -      -      -       yes   -        -
/devices/pushcertificate/                               -        -        -      -      yes     yes   -        -
/devices/pushcertificate/<int:pk>/change/               -        -        -      -      yes     yes   -        -
/devices/pushcertificate/add/                           -        -        -      -      -       yes   -        -
/devices/pushcertificate/request/                       -        -        -      -      -       yes   -        -
/devices/pushcertificate/request/<int:pk>/              -        -        -      -      -       yes   -        -
/devices/pushcertificate/request/<int:pk>/csr/          -        -        -      -      -       yes   -        -
/devices/houserules/                                    -        -        -      -      yes     yes   -        -
/devices/notice/                                        -        -        -      -      yes     yes   -        -
/devices/notice/mine/                                   yes      yes      yes    yes    yes     yes   yes      -
/devices/networkuser/                                   -        -        -      -      -       yes   -        -
/devices/networkuser/<int:pk>/change/                   -        -        -      -      -       yes   -        -
/devices/networkuser/add/                               -        -        -      -      -       yes   -        -
/devices/networkuser/<int:pk>/remove/                   -        -        -      -      -       yes   -        -
/devices/auditentry/                                    -        -        -      -      yes     yes   -        -
/devices/auditentry/<path:object_id>/                   yes      yes      yes    yes    yes     yes   yes      -
/devices/auditentry/<path:object_id>/change/            -        -        -      -      yes     yes   -        -
/devices/auditentry/<path:object_id>/history/           -        -        -      -      yes     yes   -        -
/devices/auditentry/<path:object_id>/delete/            -        -        -      -      -       -     -        -
/devices/auditentry/add/                                -        -        -      -      -       -     -        -

/passcodes/act/                                         yes      yes      yes    -      yes     yes   -        -
/passcodes/act/<uuid:pk>/change/                        yes      yes      yes    -      yes     yes   -        -
/passcodes/clearrequest/                                yes      yes      yes    -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/               yes      yes      yes    yes    yes     yes   yes      -
/passcodes/clearrequest/<path:object_id>/change/        yes      yes      yes    -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/history/       yes      yes      yes    -      yes     yes   -        -
/passcodes/clearrequest/<path:object_id>/delete/        -        -        -      -      -       -     -        -
/passcodes/clearrequest/add/                            yes      -        -      -      -       -     -        -
/passcodes/clearlist/                                   yes      yes      yes    -      yes     yes   -        -
/passcodes/clearlist/<uuid:key>/change/                 yes      yes      yes    -      yes     yes   -        -
/passcodes/clearlist/add/                               yes      -        -      -      -       -     -        -
/passcodes/policy/                                      yes      yes      yes    yes    yes     yes   -        -
/passcodes/policy/<int:pk>/change/                      yes      yes      yes    yes    yes     yes   -        -
/passcodes/policy/<int:pk>/devices/                     yes      yes      yes    yes    yes     yes   -        -
/passcodes/policy/<int:pk>/compare/                     yes      yes      yes    yes    yes     yes   -        -
/passcodes/policy/<int:pk>/remove/                      -        -        -      yes    -       -     -        -
/passcodes/policy/add/                                  -        -        -      yes    -       -     -        -
/passcodes/policyversion/                               yes      yes      yes    yes    yes     yes   -        -
/passcodes/policyversion/<int:pk>/change/               yes      yes      yes    yes    yes     yes   -        -
/passcodes/policyversion/add/                           -        -        -      yes    -       -     -        -
/passcodes/policyversion/preview/                       -        -        -      yes    -       -     -        -
/passcodes/policyversion/<int:pk>/publish/              -        -        -      yes    -       -     -        -
/passcodes/policyversion/<int:pk>/discard/              -        -        -      yes    -       -     -        -
/passcodes/policyversion/<int:pk>/push/                 -        -        -      yes    -       -     -        -
/passcodes/rollout/                                     -        -        -      yes    yes     yes   -        -
/passcodes/rollout/<int:pk>/change/                     -        -        -      yes    yes     yes   -        -
/passcodes/rollout/<int:pk>/devices/                    -        -        -      yes    yes     yes   -        -
/passcodes/rollout/<int:pk>/stop/                       -        -        -      yes    -       -     -        -
/passcodes/rollout/<int:pk>/next/                       -        -        -      yes    -       -     -        -
/passcodes/withheldconfiguration/                       yes      -        -      yes    yes     yes   -        -
/passcodes/withheldconfiguration/<int:pk>/change/       yes      -        -      yes    yes     yes   -        -
/passcodes/withheldconfiguration/add/                   -        -        -      yes    -       -     -        -
/passcodes/withheldconfiguration/<int:pk>/assign/       -        -        -      yes    -       -     -        -
/passcodes/withheldconfiguration/<int:pk>/retire/       -        -        -      yes    -       -     -        -

/staff/user/                                            -        -        yes    -      yes     yes   -        -
/staff/user/<path:object_id>/                           yes      yes      yes    yes    yes     yes   yes      -
/staff/user/<path:object_id>/change/                    -        -        yes    -      yes     yes   -        -
/staff/user/<path:object_id>/history/                   -        -        yes    -      yes     yes   -        -
/staff/user/<path:object_id>/delete/                    -        -        -      -      -       -     -        -
/staff/user/<id>/password/                              -        -        -      -      -       yes   -        -
/staff/user/add/                                        -        -        -      -      -       yes   -        -
/staff/signingkey/                                      yes      yes      yes    yes    yes     yes   yes      -
/staff/signingkey/<int:pk>/out/                         -        -        -      -      -       -     -        -
/staff/signingkey/signed/                               yes      yes      yes    yes    yes     yes   yes      -
"""

# What is posted there leaves the trace that is named, by these roles and by no other.
DEEDS = """
/devices/device/<int:pk>/ask/                           device.ask               helpdesk author admin
/devices/device/<int:pk>/lost/                          device.lost              helpdesk approver keeper admin
/devices/device/<int:pk>/found/                         found.ask                helpdesk keeper
/devices/device/<int:pk>/sound/                         lost_mode.sound          helpdesk admin
/devices/device/<int:pk>/locate/                        lost_mode.locate         admin
/devices/device/<int:pk>/place/                         lost_mode.place_opened   admin
/devices/device/<int:pk>/token/                         escrow.fresh_asked       helpdesk admin
/devices/device/<int:pk>/unenroll/                      device.unenroll          admin
/devices/device/<int:pk>/retire/                        device.retire            admin
/devices/device/<int:pk>/owner/                         device.assigned          admin
/devices/device/<int:pk>/users/list/                    user.list                helpdesk author admin
/devices/device/<int:pk>/users/unlock/                  user.unlock              helpdesk admin
/devices/device/<int:pk>/users/delete/                  user.delete              admin
/devices/device/<int:pk>/users/log-out/                 user.log_out             admin
/devices/deviceuser/<int:pk>/ask/                       user.ask                 helpdesk author admin
/devices/networkuser/add/                               network_user.kept        admin
/devices/networkuser/<int:pk>/remove/                   network_user.dropped     admin
/devices/device/<int:pk>/command/                       custom.send              admin
/devices/devicegroup/add/                               group.created            admin
/devices/devicegroup/<int:pk>/edit/                     group.changed            admin
/devices/devicegroup/<int:pk>/join/                     device.joined            admin
/devices/devicegroup/<int:pk>/leave/                    device.left_group        admin
/devices/devicegroup/<int:pk>/rule/                     group.rule               admin
/devices/devicegroup/<int:pk>/rule/drop/                group.rule_dropped       admin
/devices/enrollmentlink/add/                            enrollment.link_made     admin
/devices/pushcertificate/add/                           push_certificate.loaded  admin
/devices/pushcertificate/request/                       push_certificate.requested admin
/devices/houserules/                                    house.changed            admin
/devices/notice/mine/                                   notice.wish              everyone
/devices/notice/<uuid:pk>/again/                        notice.again             admin
/devices/notice/<uuid:pk>/let-be/                       notice.dropped           admin
/devices/notice/try/<str:name>/                         notice.trial             admin
/devices/auditentry/export/csv/                         audit.export             auditor
/devices/auditentry/export/jsonl/                       audit.export             auditor

/devices/device/csv/                                    list.export helpdesk approver keeper author auditor admin
/devices/deviceuser/csv/                                list.export helpdesk approver keeper author auditor admin
/devices/devicegroup/csv/                               list.export helpdesk approver keeper author auditor admin
/devices/enrollmentlink/csv/                            list.export              auditor admin
/devices/networkuser/csv/                               list.export              admin
/devices/notice/csv/                                    list.export              auditor admin
/devices/pushcertificate/csv/                           list.export              auditor admin
/passcodes/clearrequest/csv/                            list.export              helpdesk approver keeper auditor admin
/passcodes/clearlist/csv/                               list.export              helpdesk approver keeper auditor admin
/passcodes/act/csv/                                     list.export              helpdesk approver keeper auditor admin
/passcodes/policy/csv/                                  list.export helpdesk approver keeper author auditor admin
/passcodes/rollout/csv/                                 list.export              author auditor admin
/passcodes/withheldconfiguration/csv/                   list.export              helpdesk author auditor admin
/staff/user/csv/                                        list.export              keeper auditor admin
/views/keep/                                            view.kept helpdesk approver keeper author auditor admin
/views/<int:pk>/change/                                 view.changed             helpdesk
/views/<int:pk>/drop/                                   view.dropped             helpdesk
/views/<int:pk>/bring-back/                             view.brought_back        helpdesk

/coverage/csv/                                          coverage.export          helpdesk approver keeper auditor admin
/coverage/pins/                                         enrollment.pins_given    admin
/it-policy/write/                                       house.policy_written     admin
/setup/check/                                           setup.tried              admin
/setup/mail/                                            setup.mail               admin
/charter/propose/<str:what>/                            charter.draft            keeper

/passcodes/act/<uuid:pk>/sign/                          charter.ask              keeper
/passcodes/act/<uuid:pk>/agree/                         charter.agree            keeper
/passcodes/act/<uuid:pk>/deny/                          charter.deny             helpdesk approver keeper admin
/passcodes/act/<uuid:pk>/take-back/                     charter.cancel           keeper
/passcodes/act/review/<uuid:pk>/                        review.ask               keeper
/passcodes/clearrequest/add/                            clear.request            helpdesk
/passcodes/clearrequest/<uuid:pk>/sign/                 clear.request            helpdesk
/passcodes/clearrequest/<uuid:pk>/approve/              clear.approve            approver
/passcodes/clearrequest/<uuid:pk>/witness/              clear.witness            helpdesk approver admin
/passcodes/clearrequest/<uuid:pk>/deny/                 clear.deny               approver
/passcodes/clearrequest/<uuid:pk>/cancel/               clear.cancel             admin
/passcodes/clearlist/add/                               clears.request           helpdesk
/passcodes/clearlist/<uuid:key>/sign/                   clears.request           helpdesk
/passcodes/clearlist/<uuid:key>/approve/                clears.approve           approver
/passcodes/clearlist/<uuid:key>/witness/                clears.witness           helpdesk approver admin
/passcodes/clearlist/<uuid:key>/deny/                   clears.deny              approver
/passcodes/clearlist/<uuid:key>/stop/                   clears.stop              helpdesk approver admin
/passcodes/clearlist/<uuid:key>/csv/                    clears.export            helpdesk approver keeper auditor admin
/passcodes/policy/add/                                  policy.create            author
/passcodes/policy/<int:pk>/remove/                      policy.remove            author
/passcodes/policyversion/add/                           policy.draft             author
/passcodes/policyversion/<int:pk>/change/               policy.change_draft      author
/passcodes/policyversion/<int:pk>/publish/              policy.publish           author
/passcodes/policyversion/<int:pk>/discard/              policy.discard_draft     author
/passcodes/policyversion/<int:pk>/push/                 rollout.push             author
/passcodes/rollout/<int:pk>/stop/                       rollout.stop             author
/passcodes/rollout/<int:pk>/next/                       rollout.wave             author
/passcodes/rollout/<int:pk>/hold/                       rollout.held             author
/passcodes/withheldconfiguration/add/                   configuration.upload     author
/passcodes/withheldconfiguration/<int:pk>/assign/       configuration.assign     author
/passcodes/withheldconfiguration/<int:pk>/retire/       configuration.retire     author

/staff/signingkey/register/                             passkey.registered       everyone
/staff/signingkey/<int:pk>/revoke/                      passkey.revoked          admin
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


class Scene:
    """A house in which each page shows something and each deed could be done."""

    def __init__(self, house: House) -> None:
        self.house = house
        clears.allow_lists(house)
        self.group = house.group("Tills")
        self.phone = house.enrolled_phone(passcode="4711", group=self.group, name="till-1")
        self.device = house.device(self.phone)
        self.loose = published(house, LOOSE)
        self.rollout: Rollout = rollout.push(
            self.loose.pk, group_ids=[self.group.pk], by=house.author
        )
        self.draft = policies.draft(self.loose.policy, STRICT, note="", by=house.author)
        self.unpushed = published(house, STRICT, name="Visitors")
        self.configuration = wifi(house, group=self.group)
        [self.mac] = rows(1, platform="macos")
        [self.ipad] = rows(1, platform="ipados", is_shared_ipad=True)
        Account.objects.create(device=self.mac, name="anna", listed_at=timezone.now())
        self.mac_user = user_row(self.mac, "anna")
        self.network_user = logins.keep_password("nora", Secret(b"sesame"), realm="Example Org")
        self.link: EnrollmentLink = links.make(Platform.IOS, by=house.admin)[0]
        self.someone = house.person("helpdesk", name="someone")
        self.asked: ClearRequest | None = None
        self.waved: Rollout | None = None
        self.act: Act | None = None
        self.list: ClearList | None = None
        self.people: dict[str, User] = {
            role: getattr(house, role) for role in ROLES if role != "anonymous"
        }

    def ask(self, **how: Any) -> ClearRequest:
        """Somebody else's request for a clear: all roles can be tried on it."""
        self.asked = clears.ask(self.house.device(self.phone), by=self.someone, **how)
        return self.asked

    def prepare(self) -> ClearRequest:
        """A request that nobody has signed."""
        self.asked = clears.draft(self.house.device(self.phone), by=self.house.helpdesk)
        return self.asked

    def change(self) -> Act:
        """The other keeper asks for a change of the charter."""
        return self.change_of(self.house.keeper2)

    def change_of(self, by: User, *, signs: bool = True) -> Act:
        change = {"what": "list", "name": "vans", "serials": ["F2LXQ1ABCD"]}
        self.act = acts.change(change, words="They travel alone.", by=by)
        if signs:
            clears.ask_act(self.act, by=by)
        return self.act

    def glass(self) -> ClearRequest:
        """A clear that the key from the safe has signed."""
        self.house.charter(lambda now: replace(now, version=now.version + 1, default=Rule()))
        asked = self.ask()
        clears.approve(asked.pk, by=self.house.safe)
        self.house.vault()
        return asked

    def in_waves(self) -> Rollout:
        """A rollout that has one wave behind it and the last one before it."""
        if self.waved is None:
            version = published(self.house, STRICT, name="Pilots")
            self.waved = rollout.push(
                version.pk,
                device_ids=[self.device.pk, self.mac.pk],
                in_waves=Intent((Portion(Kind.DEVICES, 1),), after_hours=1, threshold=5),
                by=self.house.author,
            )
        return self.waved

    @cached_property
    def view(self) -> SavedView:
        """A view of the list of devices that the helpdesk has kept."""
        query, by = "view=overdue", self.house.helpdesk
        return saved_views.keep("devices.device", query, "My shops", by=by)

    @cached_property
    def notice(self) -> Notice:
        """One that has not arrived, at a place that the worker has told of."""
        NoticePlace.objects.create(name="slack", channel="slack", host="hooks.example.org")
        return Notice.objects.create(
            kind="sign",
            channel="slack",
            place="slack",
            once="sign 1 place slack",
            title="A clear waits to be signed: till-1",
            link="/passcodes/clearrequest/",
            attempts=1,
            trouble="It answers 500.",
        )

    @cached_property
    def tills(self) -> list[Device]:
        """Devices that can be cleared together."""
        return clears.several(2)

    def ask_list(self, **how: Any) -> ClearList:
        """Somebody else's request for several clears."""
        self.list = clears.ask_list(self.tills, by=self.someone, **how)
        return self.list

    def prepare_list(self) -> ClearList:
        """A list that nobody has signed."""
        self.list = clears.draft_list(self.tills, by=self.house.helpdesk)
        return self.list

    def lose(self) -> None:
        """Lost, and it has told where it is."""
        custody.mark_lost(self.device.pk, note="Left in a taxi.", by=self.someone)
        Place.objects.create(
            device=self.device, latitude=1.0, longitude=2.0, heard_at=timezone.now()
        )

    def certificate(self, *, is_request: bool) -> PushCertificate | PushCertificateRequest:
        if not is_request:
            return PushCertificate.objects.get()
        made = PushCertificateRequest.objects.first()
        return made or push_certificates.request(by=self.house.admin)

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
        if route in {"/passcodes/policyversion/add/", "/passcodes/policyversion/preview/"}:
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
        version = self.unpushed.pk if route.endswith("push/") else self.draft.pk
        if "/users/" in route:
            return (self.ipad if "log-out" in route else self.mac).pk
        stands: dict[str, Callable[[], Any]] = {
            "device": lambda: self.device.pk,
            "deviceuser": lambda: self.mac_user.pk,
            "devicegroup": lambda: self.group.pk,
            "enrollmentlink": lambda: self.link.pk,
            "pushcertificate": lambda: self.certificate(is_request="request/" in route).pk,
            "networkuser": lambda: self.network_user.pk,
            "notice": lambda: self.notice.place if "/try/" in route else self.notice.pk,
            "auditentry": lambda: AuditEntry.objects.filter(device=self.device).latest("pk").pk,
            "clearlist": lambda: (self.list or self.ask_list()).pk,
            "clearrequest": lambda: (self.asked or self.ask()).pk,
            "act": lambda: ((self.asked if "review" in route else self.act) or self.change()).pk,
            "propose": lambda: "rule",
            "policy": lambda: self.loose.policy_id,
            "policyversion": lambda: version,
            "rollout": lambda: (
                (self.in_waves() if route.endswith(("next/", "hold/")) else self.rollout).pk
            ),
            "withheldconfiguration": lambda: self.configuration.pk,
            "user": lambda: self.someone.pk,
            "invited": lambda: invitations.invite("newcomer", role="helpdesk"),
            "<int:pk>": lambda: self.view.pk,
            "signingkey": lambda: SigningKey.objects.get(person=self.someone).pk,
        }
        return stands[route.split("/")[2]]()
