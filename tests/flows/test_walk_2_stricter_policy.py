"""A stricter policy goes to phones, the hour runs on each, and the Wi-Fi follows the proof."""

from datetime import timedelta

from devices.models import Device
from passcodes import membership, rollout
from passcodes.models import Enforcement, PolicyVersion
from passcodes.models.gate import ReleaseState
from passcodes.rules.enforcement import State
from tests.house import House
from tests.scenes import (
    LOOSE,
    STRICT,
    STRICTER,
    STRONG,
    STRONGER,
    WEAK,
    enforced,
    published,
    release,
    wifi,
)
from tests.simulator.phone import Phone

WIFI = "com.example.wifi"


def push(house: House, version: PolicyVersion) -> None:
    """To everybody in the group."""
    rollout.push(version.pk, group_ids=[house.group("All").pk], by=house.author)


def phones(house: House, *passcodes: str | None) -> list[Phone]:
    group = house.group("All")
    return [house.enrolled_phone(passcode=passcode, group=group) for passcode in passcodes]


def test_a_stricter_policy_starts_the_countdown(house: House) -> None:
    ready, weak, away = phones(house, STRONG, WEAK, WEAK)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    policy = version.policy.identifier
    away.lose_network()

    push(house, version)
    house.woken()

    # Who complies has everything in one session; who does not has an hour; who is away, nothing.
    assert (enforced(house, ready).state, ready.installed) == (State.COMPLIANT, [policy, WIFI])
    assert (enforced(house, weak).state, weak.installed) == (State.GRACE, [policy])
    assert (enforced(house, away).state, away.installed) == (State.PUSHED, [])
    assert "Prompt: change the passcode" in weak.screen()

    weak.user_sets_passcode(STRONG)
    house.clock.forward(minutes=15, seconds=1)
    house.tick()
    weak.connect()
    assert (enforced(house, weak).state, weak.installed) == (State.COMPLIANT, [policy, WIFI])
    assert "enforcement.compliant" in house.audit(weak)

    # The hour of the third begins when it comes, not when it was pushed to.
    away.regain_network()
    away.connect()
    row = enforced(house, away)
    assert row.acknowledged_at is not None
    assert row.deadline == row.acknowledged_at + timedelta(minutes=60)


def test_a15_not_now_starts_no_clock(house: House) -> None:
    busy, free = phones(house, WEAK, WEAK)
    busy.become_busy()
    push(house, published(house, STRICT))
    house.woken()
    assert (enforced(house, busy).state, enforced(house, busy).deadline) == (State.PUSHED, None)
    assert enforced(house, free).state == State.GRACE

    busy.become_free()
    house.clock.forward(minutes=30)
    busy.connect()
    row = enforced(house, busy)
    assert row.state == State.GRACE
    assert row.deadline is not None
    assert row.deadline > house.clock.now() + timedelta(minutes=59)


def test_a15_an_acknowledgement_sent_twice_counts_once(house: House) -> None:
    phone, other = phones(house, WEAK, WEAK)
    push(house, published(house, STRICT))
    result = phone.answer(phone.idle().body)
    first = phone.report(result)
    deadline = enforced(house, phone).deadline
    house.clock.forward(minutes=10)
    again = phone.report(result)

    assert (first.status, again.status) == (200, 200)
    assert enforced(house, phone).deadline == deadline
    assert house.audit(phone).count("enforcement.grace") == 1
    assert len(house.commands(phone, "SecurityInfo")) == 2  # at enrollment, and now
    assert enforced(house, other).state == State.PUSHED


def test_a16_the_wifi_arrives_only_after_the_proof_and_its_time_is_kept(house: House) -> None:
    (phone,) = phones(house, WEAK)
    device = house.device(phone)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    for _ in range(3):
        phone.connect()
    assert phone.installed == [version.policy.identifier]
    assert release(device).state == ReleaseState.WITHHELD

    phone.user_sets_passcode(STRONG)
    house.clock.forward(minutes=16)
    house.tick()
    phone.connect()
    assert WIFI in phone.installed
    delivered_at = release(device).delivered_at
    assert delivered_at is not None
    newest = device.evidence.first()
    assert newest is not None
    assert newest.asked_at <= delivered_at


def test_a17_a_compliant_answer_from_before_the_policy_releases_nothing(house: House) -> None:
    (phone,) = phones(house, STRONG)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    house.clock.forward(seconds=5)
    phone.report(phone.answer(phone.idle().body))  # the policy alone; the question comes after it
    assert enforced(house, phone).state == State.GRACE
    assert phone.installed == [version.policy.identifier]
    phone.connect()
    assert WIFI in phone.installed


def test_a18_a_stricter_version_shuts_the_gate_again(house: House) -> None:
    stays, changes = phones(house, STRONG, STRONG)
    first = published(house, STRICT)
    push(house, first)
    house.woken()
    newer = published(house, STRICTER, policy=first.policy)
    push(house, newer)
    configuration = wifi(house, group=house.group("All"))
    house.woken()
    assert [enforced(house, one).state for one in (stays, changes)] == [State.GRACE] * 2
    assert WIFI not in stays.installed + changes.installed

    changes.user_sets_passcode(STRONGER)
    house.clock.forward(minutes=60, seconds=1)
    house.tick()
    for phone in (stays, changes):
        phone.connect()
    assert enforced(house, stays).state == State.OVERDUE
    assert WIFI not in stays.installed
    assert WIFI in changes.installed
    assert release(house.device(changes)).configuration == configuration


def test_a_regression_takes_the_wifi_back(house: House) -> None:
    weak, strong = phones(house, WEAK, STRONG)
    wifi(house, group=house.group("All"), withdraw_on_regression=True)
    first = published(house, LOOSE)
    push(house, first)
    house.woken()
    assert WIFI in weak.installed
    push(house, published(house, STRICT, policy=first.policy))
    house.woken()
    assert WIFI not in weak.installed
    assert WIFI in strong.installed
    weak.user_sets_passcode(STRONG)
    house.clock.forward(minutes=15, seconds=1)
    house.tick()
    weak.connect()
    assert WIFI in weak.installed


def test_who_comes_later_gets_the_version_of_the_group(house: House) -> None:
    group = house.group("All")
    version = published(house, STRICT)
    rollout.push(version.pk, group_ids=[group.pk], by=house.author)
    late = house.enrolled_phone(passcode=WEAK, group=group)
    assert enforced(house, late).state == State.GRACE
    joins = house.enrolled_phone(passcode=WEAK)
    membership.joined(group, [house.device(joins).pk], by=house.admin)
    house.woken()
    assert enforced(house, joins).state == State.GRACE
    assert joins.installed == late.installed == [version.policy.identifier]


def test_who_enrolls_again_gets_it_again_with_a_new_hour(house: House) -> None:
    (phone,) = phones(house, STRONG)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    house.woken()
    assert WIFI in phone.installed
    phone.user_removes_profile()
    device = house.device(phone)
    assert not Enforcement.objects.live().filter(device=device).exists()
    assert release(device).state == ReleaseState.WITHHELD

    house.clock.forward(minutes=5)
    house.give_profile(phone)
    phone.enroll()
    assert release(device).state == ReleaseState.WITHHELD
    phone.connect()
    row = enforced(house, phone)
    assert row.tightens
    assert row.state == State.COMPLIANT
    assert WIFI in phone.installed


def test_a_stopped_rollout_spares_who_has_not_taken_it(house: House) -> None:
    first_comes, sleeps = phones(house, WEAK, WEAK)
    loose = published(house, LOOSE)
    push(house, loose)
    house.woken()
    strict = published(house, STRICT, policy=loose.policy)
    pushed = rollout.push(strict.pk, group_ids=[house.group("All").pk], by=house.author)
    first_comes.connect()
    assert rollout.stop(pushed.pk, by=house.author) == 1
    sleeps.connect()
    assert enforced(house, first_comes).version == strict
    assert enforced(house, sleeps).version == loose
    assert enforced(house, sleeps).state == State.COMPLIANT
    assert sleeps.seconds_left is None


def test_a_removed_policy_is_gone_from_the_phone_and_the_wifi_waits(house: House) -> None:
    (phone,) = phones(house, STRONG)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    house.woken()
    rollout.remove(version.policy_id, group_ids=[house.group("All").pk], by=house.author)
    house.woken()
    assert phone.installed == [WIFI]
    assert "enforcement.removed" in house.audit(phone)
    phone.token_update()
    assert not Enforcement.objects.live().exists()


def test_a_mac_is_not_measurable_and_has_no_countdown(house: House) -> None:
    mac = house.enrolled_phone("mac", passcode=WEAK, group=house.group("All"))
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    house.woken()
    house.clock.forward(hours=2)
    house.tick()
    mac.connect()
    row = enforced(house, mac)
    assert (row.state, row.deadline) == (State.NOT_MEASURABLE, None)
    assert mac.installed == [version.policy.identifier]


def test_nothing_withheld_goes_to_a_phone_that_is_lost_by_then(house: House) -> None:
    (phone,) = phones(house, STRONG)
    wifi(house, group=house.group("All"))
    version = published(house, STRICT)
    push(house, version)
    response = phone.idle()
    while b"SecurityInfo" not in response.body:
        response = phone.report(phone.answer(response.body))
    result = phone.answer(response.body)
    Device.objects.update(lost_at=house.clock.now())
    phone.report(result)
    phone.connect()
    assert phone.installed == [version.policy.identifier]
    assert "marked lost" in " ".join(release(house.device(phone)).reasons)
