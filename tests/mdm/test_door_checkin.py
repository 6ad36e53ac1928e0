"""Check-in at the door: how a device gets in, keeps in touch and leaves."""

import json

import pytest
from django.conf import settings

from devices import sealing
from devices.models import Device, DeviceUser, PushCertificate
from devices.models.device import Enrollment
from mdm.enrollment import authority
from passcodes import clearing, escrow, gate, rollout
from passcodes.models import Enforcement, EscrowedToken, Evidence, Release, TokenBox
from tests.house import House
from tests.scenes import STRICT, STRONG, published, wifi
from tests.simulator.phone import Phone

MAC_USER = "6C9C1C2E-9E0B-4B77-8B2E-6B8A4C3E7C11"
EVERY_SHARED_IPAD_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def opened(token: EscrowedToken | None) -> bytes:
    """What the vault would find in the box."""
    assert token is not None
    return sealing.unseal(
        bytes(TokenBox.objects.get(token=token).box),
        key=sealing.private_key(settings.VAULT_PRIVATE_KEY),
        context=escrow.place(token),
    ).reveal()


def current(house: House, phone: Phone) -> EscrowedToken | None:
    return escrow.current(house.device(phone))


def test_a1_authenticate_is_answered_and_nothing_else_happens(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)

    response = phone.authenticate()

    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-type"].startswith("application/xml")
    assert house.device(phone).enrollment_state == Enrollment.AUTHENTICATED
    house.tick()
    assert house.pushes == []
    assert house.commands(phone) == []
    assert phone.idle().body == b""


def test_a1_a_wrong_topic_is_refused(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)

    assert phone.authenticate(Topic="com.apple.mgmt.External.another").status == 400

    assert not Device.objects.exists()


def test_a1_a_wrong_topic_of_a_token_update_changes_nothing(house: House) -> None:
    phone = house.enrolled_phone()
    before = bytes(house.device(phone).push_token or b"")
    phone.new_push_token()

    assert phone.token_update(Topic="com.apple.mgmt.External.another").status == 400

    assert bytes(house.device(phone).push_token or b"") == before


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/mdm/checkin", "/mdm/connect"])
def test_a1_only_put_is_answered(house: House, method: str, path: str) -> None:
    response = house.door.ask(method, path, {"Content-Type": "application/xml"}, b"")

    assert response.status_code == 405
    assert response["Allow"] == "PUT"


@pytest.mark.parametrize("path", ["/mdm/checkin", "/mdm/connect"])
def test_the_door_says_which_keys_it_was_given_and_shows_none(house: House, path: str) -> None:
    response = house.door.ask("GET", f"{path}?keys", {}, b"")

    said = json.loads(response.content)
    vault = sealing.private_key(settings.VAULT_PRIVATE_KEY).public_key()
    assert said["boxes"] == sealing.key_id(vault)
    assert said["authority"]["signs"] is True
    keys = [getattr(settings, name) for name in dir(settings) if name.endswith("_KEY")]
    written = [key for key in keys if isinstance(key, str) and key]
    assert not [key for key in written if key in response.content.decode()]


def test_whoever_asks_the_door_for_its_keys_again_has_it_read_none_of_them_anew(
    house: House,
) -> None:
    house.door.ask("GET", "/mdm/checkin?keys", {}, b"")
    spared = authority._loaded.cache_info().hits
    house.door.ask("GET", "/mdm/checkin?keys", {}, b"")
    assert authority._loaded.cache_info().hits == spared + 1


def test_without_a_push_certificate_nobody_gets_in(house: House) -> None:
    phone = house.phone()
    house.give_profile(phone)
    PushCertificate.objects.update(is_current=False)

    assert phone.authenticate().status == 400

    assert not Device.objects.exists()


def test_what_the_device_says_of_itself_is_kept(house: House) -> None:
    phone = house.phone("ipad", name="Reception")
    house.give_profile(phone)
    phone.authenticate()

    device = house.device(phone)

    assert (device.name, device.serial, device.platform) == ("Reception", phone.serial, "ipados")
    assert device.product_name == phone.product_name
    assert device.access_rights == 8191


def test_a2_the_first_token_update_enrolls_and_wakes(house: House) -> None:
    phone = house.enrolled_phone(connects=False)

    device = house.device(phone)
    assert device.is_enrolled
    assert bytes(device.push_token or b"") == phone.push_token
    assert device.push_magic == phone.push_magic
    assert opened(current(house, phone)) == phone.unlock_token
    house.tick()
    assert [(push.token, push.magic) for push in house.pushes] == [
        (phone.push_token, phone.push_magic)
    ]


def test_a_first_visit_brings_the_first_questions(house: House) -> None:
    phone = house.enrolled_phone(connects=False)

    assert {done.request_type for done in phone.connect()} >= {"DeviceInformation", "SecurityInfo"}

    assert house.device(phone).is_supervised is True
    assert house.waiting(phone) == []


@pytest.mark.parametrize("without", [None, b""])
def test_a3_a_token_update_without_an_unlock_token_keeps_the_old_one(
    house: House, without: bytes | None
) -> None:
    phone = house.enrolled_phone()
    first = phone.unlock_token
    phone.new_push_token()

    assert phone.token_update(UnlockToken=without, PushMagic="another magic").ok

    assert opened(current(house, phone)) == first
    device = house.device(phone)
    assert bytes(device.push_token or b"") == phone.push_token
    assert device.push_magic == "another magic"


def test_a4_another_unlock_token_takes_the_place_of_the_first(house: House) -> None:
    phone = house.enrolled_phone()
    first = current(house, phone)
    phone.new_unlock_token()

    phone.token_update()

    second = current(house, phone)
    assert first
    assert second
    assert second.pk != first.pk
    assert opened(second) == phone.unlock_token
    first.refresh_from_db()
    assert not first.current
    assert TokenBox.objects.filter(token=first).exists()  # sealed, until it is shredded


def test_a5_a_users_token_update_does_not_touch_the_device(house: House) -> None:
    mac = house.enrolled_phone("mac")
    before = Device.objects.values().get()

    assert mac.token_update(
        UserID=MAC_USER,
        UserShortName="ada",
        UserLongName="Ada",
        Token=b"u" * 32,
        PushMagic="magic of a user",
        UnlockToken=b"no user has one",
    ).ok

    assert Device.objects.values().get() == before
    assert not EscrowedToken.objects.exists()
    user = DeviceUser.objects.get()
    assert (bytes(user.push_token or b""), user.push_magic) == (b"u" * 32, "magic of a user")
    house.tick()
    assert (house.pushes[-1].token, house.pushes[-1].magic) == (b"u" * 32, "magic of a user")


def test_a5_a_user_of_an_unknown_device_makes_no_device(house: House) -> None:
    mac = house.phone("mac")
    house.give_profile(mac)

    assert mac.token_update(UserID=MAC_USER, Token=b"u" * 32).status == 403

    assert not Device.objects.exists()
    assert not DeviceUser.objects.exists()


def test_a6_users_of_a_shared_ipad_are_told_apart_by_their_short_name(house: House) -> None:
    ipad = house.enrolled_phone("ipad", shared_ipad=True)
    for name in ("ada", "bert", "ada"):
        assert ipad.token_update(
            UserID=EVERY_SHARED_IPAD_USER,
            UserShortName=name,
            Token=name.encode() * 8,
            PushMagic=f"magic of {name}",
        ).ok

    users = DeviceUser.objects.order_by("short_name")

    assert [(user.short_name, user.push_magic) for user in users] == [
        ("ada", "magic of ada"),
        ("bert", "magic of bert"),
    ]


def test_a14_a_repeated_authenticate_begins_anew(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234", connects=False)
    first = house.device(phone)
    Device.objects.update(lost_at=house.clock.now(), lost_note="left in a train")
    phone.token_update(UserID=MAC_USER, Token=b"u" * 32, PushMagic="magic of a user")
    assert house.waiting(phone)

    assert phone.authenticate().ok

    again = house.device(phone)
    assert again.pk == first.pk
    assert again.enrollment != first.enrollment
    assert again.enrollment_state == Enrollment.AUTHENTICATED
    assert again.push_token is None
    assert house.waiting(phone) == []
    assert {command.state for command in house.commands(phone)} == {"cancelled"}
    assert current(house, phone) is None
    assert not DeviceUser.objects.filter(is_active=True).exists()
    assert again.is_lost
    assert again.lost_note == "left in a train"


def test_a14_compliance_is_unknown_again_and_the_gate_is_shut(house: House) -> None:
    berlin = house.group("Berlin")
    phone = house.enrolled_phone(passcode=STRONG, group=berlin)
    wifi(house, group=berlin)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[berlin.pk], by=house.author)
    phone.connect()
    assert phone.installed == [version.policy.identifier, "com.example.wifi"]
    assert gate.answer(house.device(phone)).open

    phone.authenticate()

    device = house.device(phone)
    assert not gate.answer(device).open
    assert not Evidence.objects.filter(device=device, enrollment=device.enrollment).exists()
    assert not Enforcement.objects.live().filter(device=device).exists()
    assert Release.objects.get(device=device).state == "withheld"


def test_a14_who_enrolls_again_gets_what_the_group_has(house: House) -> None:
    berlin = house.group("Berlin")
    phone = house.enrolled_phone(passcode=STRONG, group=berlin)
    wifi(house, group=berlin)
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[berlin.pk], by=house.author)
    phone.user_removes_profile()

    house.give_profile(phone)
    phone.enroll()
    phone.connect()

    assert phone.installed == [version.policy.identifier, "com.example.wifi"]


def test_a14_an_open_clear_is_void(house: House) -> None:
    phone = house.enrolled_phone(passcode="1234")
    asked = clearing.draft(
        house.device(phone).pk,
        reason="forgotten",
        words="Forgotten over the holidays.",
        possession={
            "how": "word",
            "words": "It lies before me.",
            "serial_end": phone.serial[-4:],
        },
        by=house.helpdesk,
    )

    phone.authenticate()

    asked.refresh_from_db()
    assert asked.state == "void"


def test_a_personal_device_enrolls_by_its_enrollment_id(house: House) -> None:
    phone = house.enrolled_phone(user_enrollment=True)

    device = house.device(phone)

    assert device.is_enrolled
    assert device.is_user_enrollment
    assert (device.udid, device.serial) == (phone.enrollment_id, "")
    assert current(house, phone) is None


def test_a14_a_new_token_serves_the_new_enrollment(house: House) -> None:
    phone = house.enrolled_phone()
    phone.authenticate()
    phone.token_update(UnlockToken=None)
    assert current(house, phone) is None

    phone.token_update()

    assert opened(current(house, phone)) == phone.unlock_token


def test_a_device_that_leaves_is_left_alone(house: House) -> None:
    phone = house.enrolled_phone(connects=False)

    phone.user_removes_profile()

    device = Device.objects.get()
    assert device.enrollment_state == Enrollment.LEFT
    assert device.push_token is None
    assert {command.state for command in house.commands(phone)} == {"cancelled"}
    assert not EscrowedToken.objects.filter(current=True).exists()
    house.tick()
    assert house.pushes == []


def test_a_device_that_left_is_not_back_by_a_token_update(house: House) -> None:
    phone = house.enrolled_phone()
    phone.check_out()

    assert phone.token_update().status == 403

    assert Device.objects.get().enrollment_state == Enrollment.LEFT


def test_a_new_link_brings_a_device_back(house: House) -> None:
    phone = house.enrolled_phone()
    first = house.device(phone)
    phone.user_removes_profile()

    house.give_profile(phone)
    phone.enroll()

    again = house.device(phone)
    assert again.pk == first.pk
    assert again.is_enrolled
    assert again.identity != first.identity


def test_a_network_user_is_not_managed(house: House) -> None:
    mac = house.enrolled_phone("mac")

    assert mac.check_in("UserAuthenticate", UserID=MAC_USER).status == 410


@pytest.mark.parametrize(
    ("message", "keys", "status"),
    [
        ("GetBootstrapToken", {}, 200),
        ("GetToken", {"TokenServiceType": "com.apple.maid"}, 400),
        ("NeverHeardOf", {}, 400),
    ],
)
def test_what_is_not_offered_is_answered_so(
    house: House, message: str, keys: dict[str, object], status: int
) -> None:
    phone = house.enrolled_phone()

    response = phone.check_in(message, **keys)

    assert (response.status, response.body) == (status, b"")


def test_a_user_cannot_enroll_or_take_out_a_device(house: House) -> None:
    mac = house.enrolled_phone("mac")
    before = Device.objects.values().get()

    assert mac.authenticate(UserID=MAC_USER).status == 400
    assert mac.check_out(UserID=MAC_USER).status == 400

    assert Device.objects.values().get() == before
