"""Pages of withheld configuration, groups, enrollment links and the push certificate."""

import plistlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.models import Device, DeviceGroup, EnrollmentLink, PushCertificate
from devices.models.device import Enrollment
from passcodes import configurations, policies, rollout
from passcodes.models import Enforcement, Release, WithheldConfiguration
from passcodes.models.gate import ReleaseState
from passcodes.rules.requirements import Requirements
from staff.models import Scope
from tests.house import TOPIC, House

ROLES = ("helpdesk", "approver", "author", "auditor", "admin", "outsider")
PASSWORD_INSIDE = "wlan-secret-4711"
SignIn = Callable[[str], Client]


@pytest.fixture
def sign_in(house: House) -> SignIn:
    def sign_in(role: str) -> Client:
        client = Client()
        client.force_login(getattr(house, role))
        return client

    return sign_in


def wifi(
    payload_type: str = "com.apple.wifi.managed", identifier: str = "org.example.wifi"
) -> bytes:
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": "6B1D8D43-0000-4000-8000-000000000001",
            "PayloadDisplayName": "Office Wi-Fi",
            "PayloadContent": [
                {
                    "PayloadType": payload_type,
                    "PayloadVersion": 1,
                    "PayloadIdentifier": f"{identifier}.1",
                    "PayloadUUID": "6B1D8D43-0000-4000-8000-000000000002",
                    "SSID_STR": "office",
                    "Password": PASSWORD_INSIDE,
                }
            ],
        }
    )


def file(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("wifi.mobileconfig", data)


def device(serial: str, group: DeviceGroup | None = None, **how: Any) -> Device:
    made = Device.objects.create(
        udid=f"UDID-{serial}",
        serial=serial,
        platform="ios",
        enrollment_state=Enrollment.ENROLLED,
        access_rights=8191,
        **how,
    )
    if group:
        group.devices.add(made)
    return made


def text(response: Any) -> str:
    """What a person reads, on one line."""
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace(" ,", ",").replace(" .", ".")


def counted(response: Any) -> str:
    found = re.search(r'name="counted" value="([^"]+)"', response.content.decode())
    assert found, "the page asks for no confirmation"
    return found[1]


def pages(house: House) -> dict[str, tuple[str, set[str]]]:
    """Each page with the roles that may open it."""
    configuration = configurations.upload("Office Wi-Fi", wifi(), by=house.author)
    group = house.group("Retail")
    link = EnrollmentLink.objects.create(
        digest="0" * 64, platform="ios", expires_at=timezone.now() + timedelta(hours=1)
    )
    certificate = PushCertificate.objects.get()
    everybody = {"helpdesk", "approver", "author", "auditor", "admin"}
    withheld = {"helpdesk", "author", "auditor", "admin"}
    house_keepers = {"auditor", "admin"}
    return {
        reverse("admin:passcodes_withheldconfiguration_changelist"): ("withheld", withheld),
        reverse("admin:passcodes_withheldconfiguration_change", args=[configuration.pk]): (
            "configuration",
            withheld,
        ),
        reverse("admin:passcodes_withheldconfiguration_add"): ("upload", {"author"}),
        reverse("admin:withheld_assign", args=[configuration.pk]): ("assign", {"author"}),
        reverse("admin:withheld_retire", args=[configuration.pk]): ("retire", {"author"}),
        reverse("admin:devices_devicegroup_changelist"): ("groups", everybody),
        reverse("admin:devices_devicegroup_change", args=[group.pk]): ("group", everybody),
        reverse("admin:devices_devicegroup_add"): ("add group", {"admin"}),
        reverse("admin:group_edit", args=[group.pk]): ("rename", {"admin"}),
        reverse("admin:group_join", args=[group.pk]): ("join", {"admin"}),
        reverse("admin:devices_enrollmentlink_changelist"): ("links", house_keepers),
        reverse("admin:devices_enrollmentlink_change", args=[link.pk]): ("link", house_keepers),
        reverse("admin:devices_enrollmentlink_add"): ("make link", {"admin"}),
        reverse("admin:devices_pushcertificate_changelist"): ("certificates", house_keepers),
        reverse("admin:devices_pushcertificate_change", args=[certificate.pk]): (
            "certificate",
            house_keepers,
        ),
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_page_opens_for_its_roles_and_for_no_other(
    house: House, sign_in: SignIn, role: str
) -> None:
    opened = pages(house)
    client = sign_in(role)
    for address, (name, roles) in opened.items():
        response = client.get(address)
        assert response.status_code == (200 if role in roles else 403), (name, address)
        if role not in roles:
            assert "Not for you" in text(response), name


def test_what_does_not_exist_is_not_found(sign_in: SignIn) -> None:
    author, admin = sign_in("author"), sign_in("admin")
    for name in ("admin:passcodes_withheldconfiguration_change", "admin:withheld_assign"):
        assert author.get(reverse(name, args=[4_711])).status_code == 404, name
    for name in (
        "admin:devices_devicegroup_change",
        "admin:group_join",
        "admin:group_leave",
        "admin:devices_enrollmentlink_change",
        "admin:devices_pushcertificate_change",
    ):
        assert admin.get(reverse(name, args=[4_711])).status_code == 404, name


# Withheld configuration


def test_a_profile_is_uploaded_and_read_in_words_and_its_content_is_not_shown(
    house: House, sign_in: SignIn
) -> None:
    client = sign_in("author")
    done = client.post(
        reverse("admin:passcodes_withheldconfiguration_add"),
        {"profile": file(wifi()), "withdraw_on_regression": "on"},
        follow=True,
    )
    kept = WithheldConfiguration.objects.get()
    assert (kept.name, kept.withdraw_on_regression) == ("Office Wi-Fi", True)
    assert kept.uploaded_by == house.author
    assert "It is meant for nobody yet." in text(done)
    assert "Brings Wi-Fi." in text(done)
    assert PASSWORD_INSIDE not in done.content.decode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello", "it is no property list"),
        (wifi("com.apple.mobiledevice.passwordpolicy"), "it sets passcode requirements"),
        (wifi("com.apple.mdm"), "it would enroll the device"),
        (b"", "empty"),
    ],
)
def test_a_profile_that_cannot_be_taken_is_refused_in_words_beside_the_field(
    house: House, sign_in: SignIn, data: bytes, why: str
) -> None:
    response = sign_in("author").post(
        reverse("admin:passcodes_withheldconfiguration_add"), {"profile": file(data)}
    )
    assert response.status_code == 200
    rows = response.content.decode().split('class="form-row')
    assert why in next(row for row in rows if 'name="profile"' in row)
    assert not WithheldConfiguration.objects.exists()


def test_a_configuration_is_assigned_once_the_number_is_confirmed(
    house: House, sign_in: SignIn
) -> None:
    configuration = configurations.upload("Office Wi-Fi", wifi(), by=house.author)
    group = house.group("Retail")
    device("A1", group)
    device("A2", group)
    single = device("B1")
    address = reverse("admin:withheld_assign", args=[configuration.pk])
    client = sign_in("author")
    choice = {"groups": [group.pk], "serials": "B1"}
    asked = client.post(address, choice)
    assert "Give Office Wi-Fi to 3 devices?" in text(asked)
    assert not configuration.groups.exists()

    client.post(address, {**choice, "counted": counted(asked)})
    assert list(configuration.groups.all()) == [group]
    assert list(configuration.devices.all()) == [single]
    assert Release.objects.filter(state=ReleaseState.WITHHELD).count() == 3

    page = text(
        client.get(
            reverse("admin:passcodes_withheldconfiguration_change", args=[configuration.pk])
        )
    )
    assert "No passcode policy is wanted for this device." in page

    assert "checked" in client.get(address).content.decode()
    fewer = client.post(address, {"serials": "B1"})
    assert "0 are new, 2 lose it." in text(fewer)
    client.post(address, {"serials": "B1", "counted": counted(fewer)})
    assert not configuration.groups.exists()
    assert Release.objects.exclude(state=ReleaseState.ENDED).count() == 1


def test_the_device_s_page_says_what_withheld_configuration_waits_for(
    house: House, sign_in: SignIn
) -> None:
    """It promises nothing that cannot come: no policy, or gone."""
    waits = device("S1", house.group("Shops"))
    configuration = configurations.upload("Wi-Fi", wifi(), by=house.author)
    configurations.assign(configuration.pk, group_ids=[house.group("Shops").pk], by=house.author)
    page = reverse("admin:devices_device_change", args=[waits.pk])
    helpdesk = sign_in("helpdesk")
    assert "Wi-Fi waits: no policy is in force on it." in text(helpdesk.get(page))
    Device.objects.filter(pk=waits.pk).update(enrollment_state=Enrollment.LEFT)
    assert "Wi-Fi waits: the device is not enrolled." in text(helpdesk.get(page))


def test_who_may_not_act_on_a_group_leaves_it_its_configuration(house: House) -> None:
    configuration = configurations.upload("Office Wi-Fi", wifi(), by=house.author)
    own, other = house.group("Own"), house.group("Other")
    device("A1", own)
    device("B1", other)
    configurations.assign(configuration.pk, group_ids=[own.pk, other.pk], by=house.author)
    scoped = house.person("author", name="author2", everything=False)
    Scope.objects.create(user=scoped).groups.add(own)
    client = Client()
    client.force_login(scoped)
    address = reverse("admin:withheld_assign", args=[configuration.pk])
    asked = client.post(address, {})
    client.post(address, {"counted": counted(asked)})
    assert list(configuration.groups.all()) == [other]


def test_a_configuration_is_retired_once_that_is_confirmed(house: House, sign_in: SignIn) -> None:
    configuration = configurations.upload("Office Wi-Fi", wifi(), by=house.author)
    address = reverse("admin:withheld_retire", args=[configuration.pk])
    client = sign_in("author")
    client.get(address)
    configuration.refresh_from_db()
    assert configuration.retired_at is None
    client.post(address)
    configuration.refresh_from_db()
    assert configuration.retired_at is not None
    assert "is retired already" in text(client.post(address, follow=True))


# Groups


def test_a_group_is_made_and_renamed_and_both_leave_a_trace(house: House, sign_in: SignIn) -> None:
    client = sign_in("admin")
    client.post(reverse("admin:devices_devicegroup_add"), {"name": "Retail", "description": ""})
    group = DeviceGroup.objects.get()
    client.post(reverse("admin:group_edit", args=[group.pk]), {"name": "Retail phones"})
    group.refresh_from_db()
    assert group.name == "Retail phones"
    assert house.audit()[-2:] == ["group.created", "group.changed"]


def test_a_name_that_a_group_has_already_is_refused(house: House, sign_in: SignIn) -> None:
    house.group("Retail")
    response = sign_in("admin").post(reverse("admin:devices_devicegroup_add"), {"name": "Retail"})
    assert "already exists" in text(response)
    assert DeviceGroup.objects.count() == 1


def test_devices_that_join_are_told_apart_and_get_what_the_group_has(
    house: House, sign_in: SignIn
) -> None:
    policy = policies.create("Strong passcode", by=house.author)
    draft = policies.draft(policy, Requirements(min_length=8), by=house.author)
    version = policies.publish(draft.pk, by=house.author)
    group = house.group("Retail")
    device("A1", group)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    found, pasted = device("B1", name="kiosk-7"), device("C1")
    address = reverse("admin:group_join", args=[group.pk])
    client = sign_in("admin")
    assert "kiosk-7" in text(client.get(address, {"q": "kiosk"}))

    asked = client.post(address, {"devices": [found.pk], "serials": "C1 A1"})
    assert "Add 2 devices to Retail?" in text(asked)  # A1 is in it already
    assert "Strong passcode, version 1" in text(asked)
    assert group.devices.count() == 1

    chosen = re.findall(r'name="serials" value="([^"]+)"', asked.content.decode())
    client.post(address, {"serials": chosen, "counted": counted(asked)})
    assert set(group.devices.all()) >= {found, pasted}
    assert Enforcement.objects.live().filter(version=version).count() == 3


def test_thousands_of_pasted_serials_join_by_one_form(house: House, sign_in: SignIn) -> None:
    group = house.group("Retail")
    Device.objects.bulk_create(
        Device(udid=f"U-{key}", serial=f"S-{key}", enrollment_state=Enrollment.ENROLLED)
        for key in range(1_200)
    )
    address = reverse("admin:group_join", args=[group.pk])
    client = sign_in("admin")
    asked = client.post(address, {"serials": "\n".join(f"S-{key}" for key in range(1_200))})
    assert "Add 1,200 devices to Retail?" in text(asked)
    fields = re.findall(r'name="(?:serials|devices)" value="([^"]+)"', asked.content.decode())
    done = client.post(address, {"serials": fields, "counted": counted(asked)}, follow=True)
    assert "1,200 devices joined Retail." in text(done)
    assert group.devices.count() == 1_200


def test_members_are_found_as_devices_are_found_everywhere(house: House, sign_in: SignIn) -> None:
    group = house.group("Retail")
    device("A1", group, name="till-north", asset_tag="T-17")
    device("B1", group, name="till-south", asset_tag="T-18")
    page = reverse("admin:devices_devicegroup_change", args=[group.pk])
    found = text(sign_in("helpdesk").get(page, {"q": "t-17 north"}))
    assert "till-north" in found
    assert "till-south" not in found


def test_a_device_leaves_a_group_once_that_is_confirmed(house: House, sign_in: SignIn) -> None:
    group = house.group("Retail")
    gone, stays = device("A1", group), device("A2", group)
    address = reverse("admin:group_leave", args=[group.pk])
    client = sign_in("admin")
    asked = client.post(address, {"devices": [gone.pk]})
    assert "Take 1 device out of Retail?" in text(asked)
    assert group.devices.count() == 2
    client.post(address, {"devices": [gone.pk, stays.pk], "counted": counted(asked)})
    assert group.devices.count() == 2  # another number than the one that was confirmed
    client.post(address, {"devices": [gone.pk], "counted": counted(asked)})
    assert list(group.devices.all()) == [stays]
    assert "Tick the devices" in text(client.post(address, {}, follow=True))


def test_helpdesk_can_neither_add_nor_take_out(house: House, sign_in: SignIn) -> None:
    group = house.group("Retail")
    inside = device("A1", group)
    client = sign_in("helpdesk")
    for name in ("admin:group_join", "admin:group_leave"):
        address = reverse(name, args=[group.pk])
        assert client.post(address, {"devices": [inside.pk]}).status_code == 403
    page = client.get(reverse("admin:devices_devicegroup_change", args=[group.pk]))
    assert "Add devices" not in text(page)
    assert "Take the ticked ones out" not in text(page)
    assert list(group.devices.all()) == [inside]


def test_a_person_with_a_scope_sees_no_member_outside_it(house: House) -> None:
    own, other = house.group("Own"), house.group("Other")
    device("A1", own, name="inside-1")
    device("B1", other, name="outside-1")
    scoped = house.person("helpdesk", name="helpdesk2", everything=False)
    Scope.objects.create(user=scoped).groups.add(own)
    client = Client()
    client.force_login(scoped)
    assert "outside-1" not in text(
        client.get(reverse("admin:devices_devicegroup_change", args=[other.pk]))
    )


# Enrollment links and the push certificate


def test_a_link_is_shown_once_and_lets_a_device_in(house: House, sign_in: SignIn) -> None:
    group = house.group("Retail")
    client = sign_in("admin")
    made = client.post(
        reverse("admin:devices_enrollmentlink_add"),
        {
            "platform": "ios",
            "identity": "pkcs12",
            "group": group.pk,
            "note": "retail-17",
            "hours": "2",
        },
    )
    assert "no-store" in made["Cache-Control"]
    found = re.search(r"http[^\"]+/enroll/([^\"]+)", made.content.decode())
    assert found
    link = EnrollmentLink.objects.get()
    assert (link.made_by, link.group, link.note) == (house.admin, group, "retail-17")
    assert timedelta(hours=1) < link.expires_at - timezone.now() <= timedelta(hours=2)

    listed = client.get(reverse("admin:devices_enrollmentlink_changelist"))
    page = client.get(reverse("admin:devices_enrollmentlink_change", args=[link.pk]))
    for response in (listed, page):
        assert "retail-17" in text(response)
        assert "Open" in text(response)
        assert found[1] not in response.content.decode()
        assert link.digest not in response.content.decode()
    assert house.door("GET", f"/enroll/{found[1]}", {}, b"")[0] == 200
    assert "Used" in text(client.get(reverse("admin:devices_enrollmentlink_changelist")))


def test_a_link_that_cannot_be_made_says_why(house: House, sign_in: SignIn) -> None:
    PushCertificate.objects.update(is_current=False)
    fields = {"platform": "ios", "identity": "pkcs12", "hours": "24"}
    address = reverse("admin:devices_enrollmentlink_add")
    client = sign_in("admin")
    assert "There is no push certificate yet" in text(client.post(address, fields))
    assert "less than or equal to 336" in text(client.post(address, {**fields, "hours": "9999"}))
    assert not EnrollmentLink.objects.exists()


def test_the_push_certificate_is_shown_with_its_end_and_without_its_key(
    house: House, sign_in: SignIn
) -> None:
    certificate = PushCertificate.objects.get()
    client = sign_in("auditor")
    addresses = (
        reverse("admin:devices_pushcertificate_changelist"),
        reverse("admin:devices_pushcertificate_change", args=[certificate.pk]),
    )
    for address in addresses:
        response = client.get(address)
        assert TOPIC in text(response)
        assert "Works" in text(response)
        assert "BEGIN CERTIFICATE" not in response.content.decode()
    PushCertificate.objects.update(alarm="Apple does not accept the certificate.")
    assert "Stands still" in text(client.get(addresses[0]))
    PushCertificate.objects.update(alarm="", not_after=timezone.now() + timedelta(days=9, hours=1))
    assert "Ends soon" in text(client.get(addresses[1]))
    assert "in 9 days" in text(client.get(addresses[1]))


@pytest.mark.parametrize(
    ("days", "look", "said"),
    [
        (61, "yes", "ends in 61 days"),
        (59, "care", "ends in 59 days"),
        (1, "care", "ends in 1 day"),
    ],
)
def test_the_desk_is_uneasy_of_a_certificate_when_every_page_warns(
    sign_in: SignIn, days: int, look: str, said: str
) -> None:
    PushCertificate.objects.update(not_after=timezone.now() + timedelta(days=days, hours=1))
    device("S1")
    client = sign_in("helpdesk")
    [found] = re.findall(
        r'<li class="is-(\w+)">[^\n]*<span>(Push certificate [^<]*)<',
        client.get("/").content.decode(),
    )
    assert found == (look, f"Push certificate {said}")


def test_the_desk_says_that_the_certificate_has_ended(sign_in: SignIn) -> None:
    PushCertificate.objects.update(not_after=timezone.now() - timedelta(hours=1))
    device("S1")
    assert "Push certificate has ended" in text(sign_in("helpdesk").get("/"))


# Lists


def test_a_list_asks_as_little_for_many_rows_as_for_few(house: House, sign_in: SignIn) -> None:
    client = sign_in("admin")

    def queries(name: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse(f"admin:{name}")).status_code == 200
        return len(captured)

    def make(number: int) -> None:
        group = house.group(f"Group {number}")
        member = device(f"S{number}", group)
        data = wifi(identifier=f"org.example.{number}")
        configuration = configurations.upload(f"Wi-Fi {number}", data, by=house.author)
        configurations.assign(configuration.pk, group_ids=[group.pk], by=house.author)
        EnrollmentLink.objects.create(
            digest=f"{number:064}",
            platform="ios",
            group=group,
            device=member,
            made_by=house.admin,
            expires_at=timezone.now(),
        )

    names = (
        "passcodes_withheldconfiguration_changelist",
        "devices_devicegroup_changelist",
        "devices_enrollmentlink_changelist",
        "devices_pushcertificate_changelist",
    )
    make(0)
    few = {name: queries(name) for name in names}
    for number in range(1, 6):
        make(number)
    assert {name: queries(name) for name in names} == few
    assert max(few.values()) <= 20  # half of them ask what burns
