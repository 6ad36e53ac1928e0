"""Rollouts in waves on the staff site: chosen at the push, counted, followed, let go and held."""

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from passcodes.models import Enforcement, Rollout, WavePlan
from passcodes.rules.waves import State
from tests.house import House
from tests.scenes import STRICT, published, rows

IN_WAVES = {"how": "waves", "kind_1": "devices", "number_1": "2", "goes": "click"}


def signed_in(house: House, role: str = "author") -> Client:
    client = Client()
    client.force_login(getattr(house, role))
    return client


def text(response: Any) -> str:
    """What a person reads, on one line."""
    plain = re.sub(r"<[^>]*>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'").replace(" ,", ",").replace(" .", ".")


def counted(response: Any) -> str:
    found = re.search(r'name="counted" value="([^"]+)"', response.content.decode())
    assert found, text(response)
    return found[1]


def started(house: House, client: Client, **choice: str) -> Rollout:
    """Ten devices of a group, pushed to as chosen; the numbers are read and confirmed."""
    group = house.group("Tills")
    rows(10, group=group)
    version = published(house, STRICT)
    address = reverse("admin:policyversion_push", args=[version.pk])
    chosen = {"groups": [group.pk], **IN_WAVES, **choice}
    asked = client.post(address, chosen)
    client.post(address, {**chosen, "counted": counted(asked)})
    return Rollout.objects.get()


def test_a_push_goes_all_at_once_unless_somebody_chooses_waves(house: House) -> None:
    client = signed_in(house)
    version = published(house, STRICT, name="Others")
    shown = client.get(reverse("admin:policyversion_push", args=[version.pk])).content.decode()
    assert re.search(r'value="at_once"[^>]*checked', shown)
    one = started(house, client, how="at_once")
    assert Enforcement.objects.filter(rollout=one).count() == 10
    assert not WavePlan.objects.exists()


def test_waves_are_counted_confirmed_and_let_go_one_by_one(house: House) -> None:
    client = signed_in(house)
    group = house.group("Tills")
    rows(10, group=group)
    version = published(house, STRICT)
    address = reverse("admin:policyversion_push", args=[version.pk])
    chosen = {"groups": [group.pk], **IN_WAVES, "kind_2": "percent", "number_2": "50"}
    asked = client.post(address, chosen)
    said = text(asked)
    assert "1, at once 2 devices 2" in said
    assert "2 50 % of all 5" in said
    assert "3, the last Everyone else 3" in said
    assert "10 countdowns would start" in said
    client.post(address, {**chosen, "counted": counted(asked)})
    one = Rollout.objects.get()
    assert Enforcement.objects.filter(rollout=one).count() == 2

    page = text(client.get(reverse("admin:passcodes_rollout_change", args=[one.pk])))
    assert "Let wave 2 go" in page
    assert "0 of 2 done" in page
    following = reverse("admin:rollout_next", args=[one.pk])
    assert "5 devices get it now" in text(client.get(following))
    client.post(following, {"wave": "2"})
    assert Enforcement.objects.filter(rollout=one).count() == 7
    again = client.post(following, {"wave": "2"}, follow=True)
    assert "This wave went out meanwhile" in text(again)
    client.post(following, {"wave": "3"})
    assert WavePlan.objects.get().state == State.DONE
    led = client.get(following, follow=True)
    assert "No wave of this rollout is still to come." in text(led)


def test_what_goes_by_itself_says_when_and_can_be_held_and_stopped(house: House) -> None:
    client = signed_in(house)
    one = started(house, client, goes="itself", after_hours="2", threshold="0")
    plan = WavePlan.objects.get()
    assert (plan.after_hours, plan.threshold) == (2, 0)
    page = reverse("admin:passcodes_rollout_change", args=[one.pk])
    assert "at the earliest Its time has not come." in text(client.get(page))
    client.post(reverse("admin:rollout_hold", args=[one.pk]))
    assert "Held by author." in text(client.get(page))
    listed = text(client.get(reverse("admin:passcodes_rollout_changelist")))
    assert "held between two waves" in listed
    stop = reverse("admin:rollout_stop", args=[one.pk])
    assert "No further wave goes out." in text(client.get(stop))
    client.post(stop)
    assert WavePlan.objects.get().state == State.STOPPED


def test_waves_that_make_no_sense_are_refused_where_they_are_chosen(house: House) -> None:
    client = signed_in(house)
    group = house.group("Tills")
    version = published(house, STRICT)
    address = reverse("admin:policyversion_push", args=[version.pk])
    for choice, why in (
        ({"kind_1": ""}, "needs a first wave"),
        ({"number_1": ""}, "This wave has no number."),
        ({"kind_1": "group"}, "This wave has no group."),
        ({"kind_1": "percent", "number_1": "100"}, "100 % or more"),
    ):
        shown = client.post(address, {"groups": [group.pk], **IN_WAVES, **choice})
        assert why in text(shown)
        assert "counted" not in shown.content.decode()


def test_a_first_wave_of_nobody_is_said_and_nothing_is_pushed(house: House) -> None:
    client = signed_in(house)
    group, nobody = house.group("Tills"), house.group("Nobody")
    rows(2, group=group)
    address = reverse("admin:policyversion_push", args=[published(house, STRICT).pk])
    chosen = {"groups": [group.pk], **IN_WAVES, "kind_1": "group", "group_1": str(nobody.pk)}
    asked = client.post(address, chosen)
    assert "0 no device: choose another first wave" in text(asked)
    refused = client.post(address, {**chosen, "counted": counted(asked)})
    assert "The first wave has no device." in text(refused)
    assert not Rollout.objects.exists()


def test_whoever_may_not_push_sees_the_waves_and_no_button(house: House) -> None:
    one = started(house, signed_in(house))
    page = text(
        signed_in(house, "auditor").get(reverse("admin:passcodes_rollout_change", args=[one.pk]))
    )
    assert "Going on in waves" in page
    assert "Let wave" not in page


def test_one_that_stopped_by_itself_is_an_alarm_on_every_page(house: House) -> None:
    author = signed_in(house)
    one = started(house, author, goes="itself", after_hours="1", threshold="5")
    WavePlan.objects.update(
        state=State.HELD.value, held_because="2 of 2 devices are overdue.", due_at=None
    )
    address = reverse("admin:passcodes_rollout_change", args=[one.pk])
    shown = author.get("/")
    assert "stopped by itself. 2 of 2 devices are overdue. See there which" in text(shown)
    assert f'href="{address}">To its page' in shown.content.decode()
    assert "An author looks at it" in text(signed_in(house, "admin").get("/it-policy/"))
    assert "stopped by itself" not in text(signed_in(house, "helpdesk").get("/"))
    author.post(reverse("admin:rollout_stop", args=[one.pk]))
    assert "stopped by itself" not in text(author.get("/"))
