"""Pages of policies, versions and rollouts: who may open them, what they say, and that they do what they say."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from passcodes import policies, rollout
from passcodes.models import Assignment, Enforcement, Policy, PolicyVersion, Rollout
from passcodes.rules.requirements import Requirements
from staff.models import Scope, User
from tests.house import House

WEAK = Requirements(force_pin=True, min_length=4)
STRONG = Requirements(force_pin=True, min_length=8, require_alphanumeric=True)
SignIn = Callable[[str], Client]


@pytest.fixture
def sign_in(house: House) -> SignIn:
    def sign_in(role: str) -> Client:
        client = Client()
        client.force_login(getattr(house, role))
        return client

    return sign_in


def devices(number: int, group: DeviceGroup | None = None, **how: Any) -> list[Device]:
    made = [
        Device.objects.create(
            udid=f"UDID-{group or 'x'}-{key}",
            serial=f"SER{group.pk if group else 0}X{key:04}",
            platform=how.pop("platform", "ios"),
            enrollment_state=Enrollment.ENROLLED,
            access_rights=8191,
            **how,
        )
        for key in range(number)
    ]
    if group:
        group.devices.add(*made)
    return made


def strong_policy(by: User) -> PolicyVersion:
    """Version 1 is weak, version 2 strong; both are published."""
    policy = policies.create("Strong passcode", description="For everybody.", by=by)
    policies.publish(policies.draft(policy, WEAK, by=by).pk, by=by)
    return policies.publish(policies.draft(policy, STRONG, note="More calls.", by=by).pk, by=by)


def text(response: Any) -> str:
    """What a person reads, on one line."""
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace(" ,", ",").replace(" .", ".")


def counted(response: Any) -> str:
    found = re.search(r'name="counted" value="([^"]+)"', response.content.decode())
    assert found, "the page asks for no confirmation"
    return found[1]


# Who may open what


def pages(house: House) -> dict[str, tuple[str, set[str]]]:
    """Each page with the roles that may open it."""
    version = strong_policy(house.author)
    draft = policies.draft(version.policy, STRONG, by=house.author)
    group = house.group("Retail")
    devices(1, group)
    pushed = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    readers = {"helpdesk", "approver", "author", "auditor", "admin"}
    watchers = {"author", "auditor", "admin"}
    author = {"author"}
    one = [version.pk]
    return {
        reverse("admin:passcodes_policy_changelist"): ("policies", readers),
        reverse("admin:passcodes_policy_change", args=[version.policy_id]): ("policy", readers),
        reverse("admin:policy_compare", args=[version.policy_id]): ("compare", readers),
        reverse("admin:passcodes_policyversion_change", args=one): ("version", readers),
        reverse("admin:passcodes_policyversion_change", args=[draft.pk]): ("draft", readers),
        reverse("admin:passcodes_rollout_changelist"): ("rollouts", watchers),
        reverse("admin:passcodes_rollout_change", args=[pushed.pk]): ("rollout", watchers),
        reverse("admin:passcodes_policy_add"): ("add", author),
        reverse("admin:policy_remove", args=[version.policy_id]): ("remove", author),
        reverse("admin:policyversion_publish", args=[draft.pk]): ("publish", author),
        reverse("admin:policyversion_discard", args=[draft.pk]): ("discard", author),
        reverse("admin:policyversion_push", args=one): ("push", author),
        reverse("admin:rollout_stop", args=[pushed.pk]): ("stop", author),
    }


@pytest.mark.parametrize(
    "role", ["helpdesk", "approver", "author", "auditor", "admin", "outsider"]
)
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


def test_without_signing_in_a_page_leads_to_the_sign_in(house: House) -> None:
    for address in pages(house):
        response = Client().get(address)
        assert response.status_code == 302, address
        assert response["Location"].startswith(reverse("admin:login")), address


def test_what_does_not_exist_is_not_found(sign_in: SignIn) -> None:
    client = sign_in("author")
    for name in (
        "admin:passcodes_policy_change",
        "admin:policy_compare",
        "admin:policy_remove",
        "admin:passcodes_policyversion_change",
        "admin:policyversion_push",
        "admin:passcodes_rollout_change",
        "admin:rollout_stop",
    ):
        assert client.get(reverse(name, args=[4_711])).status_code == 404, name
    assert client.get(reverse("admin:passcodes_policyversion_add")).status_code == 404


def test_a_role_that_may_not_push_is_shown_no_button_for_it(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    push = reverse("admin:policyversion_push", args=[version.pk])
    for name, key in (
        ("admin:passcodes_policy_change", version.policy_id),
        ("admin:passcodes_policyversion_change", version.pk),
    ):
        address = reverse(name, args=[key])
        assert push in sign_in("author").get(address).content.decode()
        assert push not in sign_in("helpdesk").get(address).content.decode()


# Writing


def test_a_policy_is_added_drafted_and_published_without_leaving_the_pages(
    house: House, sign_in: SignIn
) -> None:
    client = sign_in("author")
    response = client.post(reverse("admin:passcodes_policy_add"), {"name": "Retail phones"})
    policy = Policy.objects.get(name="Retail phones")
    assert response["Location"].endswith(f"add/?policy={policy.pk}")

    kept = client.post(
        response["Location"],
        {"force_pin": "true", "min_length": "6", "allow_simple": "false", "note": "First."},
    )
    version = policy.versions.get()
    assert kept["Location"] == reverse("admin:passcodes_policyversion_change", args=[version.pk])
    assert version.requirements == {"force_pin": True, "min_length": 6, "allow_simple": False}
    assert version.note == "First."

    changed = client.post(
        kept["Location"], {"force_pin": "true", "min_length": "8", "publish": ""}
    )
    assert changed["Location"] == reverse("admin:policyversion_publish", args=[version.pk])
    version.refresh_from_db()
    assert version.requirements == {"force_pin": True, "min_length": 8}
    assert not version.is_published

    asked = client.get(changed["Location"])
    assert "Publishing makes it final" in text(asked)
    done = client.post(changed["Location"], follow=True)
    version.refresh_from_db()
    assert version.is_published
    assert version.published_by == house.author
    assert "Nothing has been sent" in text(done)


def test_a_name_that_is_taken_is_refused_beside_the_field(house: House, sign_in: SignIn) -> None:
    policies.create("Retail phones", by=house.author)
    response = sign_in("author").post(
        reverse("admin:passcodes_policy_add"), {"name": "Retail phones"}
    )
    assert "There is a policy «Retail phones» already" in text(response)
    assert Policy.objects.count() == 1


def test_the_editor_says_what_is_wrong_beside_each_line(house: House, sign_in: SignIn) -> None:
    policy = policies.create("Retail phones", by=house.author)
    draft = policies.draft(policy, WEAK, by=house.author)
    response = sign_in("author").post(
        reverse("admin:passcodes_policyversion_change", args=[draft.pk]),
        {"min_length": "17", "minutes_until_failed_login_reset": "5", "max_inactivity": "soon"},
    )
    said = text(response)
    assert "«Shortest length» is a whole number from 0 to 16, or empty." in said
    assert "A locked account can open again only if a number of wrong tries is set." in said
    assert "Enter a whole number." in said
    draft.refresh_from_db()
    assert draft.requirements == WEAK.to_json()


def test_the_editor_shows_every_requirement_and_what_tightens(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    stricter = Requirements(force_pin=True, min_length=10)
    draft = policies.draft(version.policy, stricter, by=house.author)
    response = sign_in("author").get(
        reverse("admin:passcodes_policyversion_change", args=[draft.pk])
    )
    said = text(response)
    assert "Version 3 against version 2" in said
    assert "stricter: was 8 characters at least" in said
    assert "looser: was one letter and one digit at least" in said
    assert "Left empty: 0, the strictest. Not «no limit»." in said
    assert "Only on Mac." in said
    assert response.content.decode().count('class="help"') == 13  # twelve, and the reason why


def test_a_published_version_is_read_in_words_and_cannot_be_posted_to(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    address = reverse("admin:passcodes_policyversion_change", args=[version.pk])
    response = sign_in("author").get(address)
    assert "8 characters at least. One letter and one digit at least." in text(response)
    assert "<textarea" not in response.content.decode()
    sign_in("author").post(address, {"min_length": "4"})
    version.refresh_from_db()
    assert version.requirements == STRONG.to_json()


def test_a_draft_is_only_read_by_who_may_not_write_it(house: House, sign_in: SignIn) -> None:
    draft = policies.draft(strong_policy(house.author).policy, WEAK, by=house.author)
    address = reverse("admin:passcodes_policyversion_change", args=[draft.pk])
    response = sign_in("helpdesk").post(address, {"min_length": "0"})
    assert response.status_code == 200
    assert "A draft of author" in text(response)
    draft.refresh_from_db()
    assert draft.requirements == WEAK.to_json()


def test_a_second_draft_leads_to_the_first(house: House, sign_in: SignIn) -> None:
    draft = policies.draft(strong_policy(house.author).policy, WEAK, by=house.author)
    address = reverse("admin:passcodes_policyversion_add") + f"?policy={draft.policy_id}"
    response = sign_in("author").get(address)
    assert response["Location"] == reverse("admin:passcodes_policyversion_change", args=[draft.pk])


def test_a_draft_is_thrown_away_once_that_is_confirmed(house: House, sign_in: SignIn) -> None:
    draft = policies.draft(strong_policy(house.author).policy, WEAK, by=house.author)
    address = reverse("admin:policyversion_discard", args=[draft.pk])
    client = sign_in("author")
    assert "It was never published" in text(client.get(address))
    assert PolicyVersion.objects.filter(pk=draft.pk).exists()
    client.post(address)
    assert not PolicyVersion.objects.filter(pk=draft.pk).exists()


def test_any_two_versions_can_be_compared(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    address = reverse("admin:policy_compare", args=[version.policy_id])
    forth = text(sign_in("auditor").get(address, {"old": "1", "new": "2"}))
    assert "Shortest length 4 characters at least 8 characters at least stricter" in forth
    back = text(sign_in("auditor").get(address, {"old": "2", "new": "1"}))
    assert "Shortest length 8 characters at least 4 characters at least looser" in back


# Pushing


def test_a_push_counts_first_and_then_does_what_it_counted(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    devices(3, group)
    single = devices(1)[0]
    address = reverse("admin:policyversion_push", args=[version.pk])
    client = sign_in("author")
    choice = {"groups": [group.pk], "serials": single.serial.lower()}

    asked = client.post(address, choice)
    assert "Push Strong passcode, version 2, to 4 devices?" in text(asked)
    assert "4 of them get a stricter policy, and their users 60 minutes." in text(asked)
    assert not Rollout.objects.exists()

    done = client.post(address, {**choice, "counted": counted(asked)})
    started = Rollout.objects.get()
    assert done["Location"] == reverse("admin:passcodes_rollout_change", args=[started.pk])
    assert (started.devices, started.stricter, started.started_by) == (4, 4, house.author)
    assert Assignment.objects.get().version == version
    assert Enforcement.objects.filter(rollout=started, state="pushed").count() == 4


def test_a_count_that_has_changed_is_shown_again_and_nothing_is_pushed(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    devices(2, group)
    address = reverse("admin:policyversion_push", args=[version.pk])
    client = sign_in("author")
    asked = client.post(address, {"groups": [group.pk]})
    group.devices.add(*devices(1))

    again = client.post(address, {"groups": [group.pk], "counted": counted(asked)})
    assert "the numbers have changed since you read them" in text(again)
    assert "to 3 devices?" in text(again)
    assert not Rollout.objects.exists()

    client.post(address, {"groups": [group.pk], "counted": counted(again)})
    assert Rollout.objects.get().devices == 3


def test_a_count_of_one_choice_confirms_no_other(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    small, large = house.group("Small"), house.group("Large")
    devices(1, small)
    devices(3, large)
    address = reverse("admin:policyversion_push", args=[version.pk])
    client = sign_in("author")
    of_small = counted(client.post(address, {"groups": [small.pk]}))
    client.post(address, {"groups": [large.pk], "counted": of_small})
    client.post(address, {"groups": [large.pk], "counted": of_small.replace("e", "f")})
    assert not Rollout.objects.exists()
    other = house.person("author", name="author2")
    theirs = Client()
    theirs.force_login(other)
    theirs.post(address, {"groups": [small.pk], "counted": of_small})
    assert not Rollout.objects.exists()


def test_the_confirmation_says_who_is_left_out_and_why(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    devices(2, group)
    Device.objects.filter(pk=group.devices.all()[0].pk).update(enrollment_state=Enrollment.LEFT)
    Device.objects.filter(pk=group.devices.all()[1].pk).update(platform="macos")
    address = reverse("admin:policyversion_push", args=[version.pk])
    asked = text(sign_in("author").post(address, {"groups": [group.pk]}))
    assert "to 1 device?" in asked
    assert "Each has left; it gets a group's version by itself when it enrolls again." in asked
    assert "1 device cannot be measured" in asked


def test_a_push_to_nobody_and_to_unknown_serials_is_refused_beside_the_field(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    address = reverse("admin:policyversion_push", args=[version.pk])
    client = sign_in("author")
    assert "Choose a group, or paste the serial" in text(client.post(address, {}))
    said = text(client.post(address, {"serials": "NOBODY1, NOBODY2"}))
    assert "Not among the devices that you may act on: NOBODY1, NOBODY2." in said


def test_a_person_with_a_scope_is_offered_its_groups_and_no_serial_outside(house: House) -> None:
    version = strong_policy(house.author)
    own, other = house.group("Own"), house.group("Other")
    devices(1, own)
    outside = devices(1, other)[0]
    scoped = house.person("author", name="author2", everything=False)
    Scope.objects.create(user=scoped).groups.add(own)
    client = Client()
    client.force_login(scoped)
    address = reverse("admin:policyversion_push", args=[version.pk])
    page = client.get(address).content.decode()
    assert f'value="{own.pk}"' in page
    assert f'value="{other.pk}"' not in page
    assert client.post(address, {"groups": [other.pk]}).status_code == 200
    said = text(client.post(address, {"groups": [own.pk], "serials": outside.serial}))
    assert "Not among the devices that you may act on" in said
    assert not Rollout.objects.exists()


def test_a_draft_is_not_pushed(house: House, sign_in: SignIn) -> None:
    draft = policies.draft(strong_policy(house.author).policy, WEAK, by=house.author)
    response = sign_in("author").get(
        reverse("admin:policyversion_push", args=[draft.pk]), follow=True
    )
    assert "is a draft. Publish it first." in text(response)


# Watching and stopping


def test_the_rollout_page_follows_the_devices(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    good = house.enrolled_phone(group=group, passcode="correct horse 7")
    bad = house.enrolled_phone(group=group, passcode="1234")
    started = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    address = reverse("admin:passcodes_rollout_change", args=[started.pk])
    client = sign_in("author")
    assert "0 of 2 devices have come for it" in text(client.get(address))

    good.connect()
    bad.connect()
    said = text(client.get(address))
    assert "2 of 2 devices have come for it" in said
    figures = "Compliant 1 50 % In grace 1 50 % Overdue 0 0 % Checking 0 0 % Not come yet 0 0 %"
    assert figures in said
    assert "No device needs a person." in said

    house.clock.forward(minutes=61)
    said = text(client.get(address))  # before any tick: the deadline itself counts
    figures = "Compliant 1 50 % In grace 0 0 % Overdue 1 50 % Checking 0 0 % Not come yet 0 0 %"
    assert figures in said
    assert "Its passcode does not meet the version" in said
    assert str(house.device(bad)) in said


def test_a_rollout_is_stopped_for_who_has_not_taken_it(house: House, sign_in: SignIn) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    phone = house.enrolled_phone(group=group, passcode="1234")
    devices(2, group)
    started = rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    phone.connect()
    address = reverse("admin:rollout_stop", args=[started.pk])
    client = sign_in("author")
    asked = text(client.get(address))
    assert "2 devices have not taken it yet and are spared." in asked
    assert "1 device has taken it" in asked
    started.refresh_from_db()
    assert started.stopped_at is None

    done = text(client.post(address, follow=True))
    started.refresh_from_db()
    assert started.stopped_by == house.author
    assert "2 devices had not taken Strong passcode, version 2 yet." in done
    assert not Assignment.objects.exists()
    assert "is stopped already" in text(client.post(address, follow=True))


def test_a_policy_is_removed_from_a_group_once_the_number_is_confirmed(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    kept = devices(3, group)[0]
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    other = house.group("Board")
    other.devices.add(kept)
    rollout.push(version.pk, group_ids=[other.pk], by=house.author)
    address = reverse("admin:policy_remove", args=[version.policy_id])
    client = sign_in("author")
    asked = client.post(address, {"groups": [group.pk]})
    assert "Remove Strong passcode from 2 devices?" in text(asked)
    assert "1 of them keeps it, because another group gives it to them." in text(asked)
    assert Enforcement.objects.live().count() == 3

    done = client.post(address, {"groups": [group.pk], "counted": counted(asked)}, follow=True)
    assert "is being taken off 2 devices." in text(done)
    assert [one.device for one in Enforcement.objects.live()] == [kept]
    assert [one.group for one in Assignment.objects.all()] == [other]


def test_a_single_device_whose_group_has_the_policy_keeps_it_and_the_page_says_why(
    house: House, sign_in: SignIn
) -> None:
    version = strong_policy(house.author)
    group = house.group("Retail")
    one = devices(1, group)[0]
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    address = reverse("admin:policy_remove", args=[version.policy_id])
    client = sign_in("author")
    asked = client.post(address, {"serials": one.serial})
    refused = client.post(address, {"serials": one.serial, "counted": counted(asked)})
    assert "The policy would come back by itself" in text(refused)
    assert Enforcement.objects.live().count() == 1


@pytest.mark.parametrize("name", ["passcodes_policy_changelist", "passcodes_rollout_changelist"])
def test_a_list_asks_as_little_for_many_rows_as_for_few(
    house: House, sign_in: SignIn, name: str
) -> None:
    client = sign_in("author")
    devices(2, house.group("Retail"))

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse(f"admin:{name}")).status_code == 200
        return len(captured)

    strong = strong_policy(house.author)
    rollout.push(strong.pk, group_ids=[house.group("Retail").pk], by=house.author)
    few = queries()
    for number in range(5):
        policy = policies.create(f"Policy {number}", by=house.author)
        version = policies.publish(
            policies.draft(policy, WEAK, by=house.author).pk, by=house.author
        )
        rollout.push(version.pk, group_ids=[house.group("Retail").pk], by=house.author)
    assert queries() == few
    assert few < 20
