"""Views that people keep of a list: theirs alone, or shared with a role that they are in."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from devices.models import AuditEntry
from staff import saved_views
from staff.models import SavedView, User
from staff.saved_views import Refused

DEVICES = "devices.device"
pytestmark = pytest.mark.django_db


def person(name: str, *roles: str) -> User:
    user = User.objects.create(username=name)
    user.groups.set(Group.objects.get_or_create(name=role)[0] for role in roles)
    return user


def seen(user: User, listed: str = DEVICES) -> list[str]:
    return [view.name for view in saved_views.seen(user, listed) if view.dropped_at is None]


def test_two_ways_of_writing_the_same_are_the_same() -> None:
    assert saved_views.cleaned("view=overdue&q=till&p=3") == saved_views.cleaned(
        "q=till&view=overdue"
    )
    assert saved_views.cleaned("p=3&all=&q=") == ""
    assert saved_views.cleaned("q=a%26b%3Dc&o=-1.2") == "o=-1.2&q=a%26b%3Dc"


def test_an_address_with_many_parts_is_an_address_like_others() -> None:
    """Each page of a list reads its own, whatever somebody has typed there."""
    many = "&".join(f"q{n:02}=1" for n in range(60))
    assert saved_views.cleaned(many) == many


def test_a_view_is_seen_on_its_list_by_who_kept_it() -> None:
    mine, other = person("helpdesk", "helpdesk"), person("helpdesk2", "helpdesk")
    saved_views.keep(DEVICES, "view=overdue&p=2", "  My   shops ", by=mine)
    assert seen(mine) == ["My shops"]
    assert seen(mine, "passcodes.rollout") == []
    assert seen(other) == []
    assert SavedView.objects.get().query == "view=overdue"
    assert AuditEntry.objects.get(verb="view.kept").actor == mine


def test_a_shared_view_is_seen_by_the_role_and_by_nobody_else() -> None:
    mine = person("helpdesk", "helpdesk")
    saved_views.keep(DEVICES, "q=till", "Tills", role="helpdesk", by=mine)
    assert seen(person("helpdesk2", "helpdesk")) == ["Tills"]
    assert seen(person("author", "author")) == []


def test_nobody_shares_with_a_role_that_is_not_theirs() -> None:
    person("approver", "approver")
    with pytest.raises(Refused, match="a role that you are in"):
        saved_views.keep(DEVICES, "q=till", "Tills", role="approver", by=person("x", "helpdesk"))


@pytest.mark.parametrize(
    ("query", "name", "why"),
    [
        ("p=3", "All", "all of it needs no view"),
        ("q=till", "  ", "needs a name"),
        ("q=till", "n" * 61, "60 characters at most"),
        ("q=" + "t" * 1000, "Tills", "too long"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_a_reason(query: str, name: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        saved_views.keep(DEVICES, query, name, by=person("helpdesk"))


def test_two_views_of_a_list_have_two_names() -> None:
    mine = person("helpdesk")
    saved_views.keep(DEVICES, "q=till", "Tills", by=mine)
    with pytest.raises(Refused, match="already"):
        saved_views.keep(DEVICES, "q=van", "Tills", by=mine)
    saved_views.keep("devices.devicegroup", "q=till", "Tills", by=mine)
    saved_views.keep(DEVICES, "q=till", "Tills", by=person("helpdesk2"))


def test_nobody_keeps_more_than_a_screen_holds() -> None:
    mine = person("helpdesk")
    for number in range(saved_views.MOST):
        saved_views.keep(DEVICES, f"q={number}", f"View {number}", by=mine)
    with pytest.raises(Refused, match="Delete one"):
        saved_views.keep(DEVICES, "q=more", "One more", by=mine)


def test_a_view_gets_another_name_and_is_shared_later() -> None:
    mine = person("helpdesk", "helpdesk")
    view = saved_views.keep(DEVICES, "q=till", "Tills", by=mine)
    saved_views.change(view.pk, name="Counters", role="helpdesk", by=mine)
    assert seen(person("helpdesk2", "helpdesk")) == ["Counters"]
    saved_views.change(view.pk, name="Counters", role="", by=mine)
    assert seen(User.objects.get(username="helpdesk2")) == []


def test_what_was_deleted_is_gone_at_once_and_can_be_brought_back() -> None:
    mine = person("helpdesk", "helpdesk")
    other = person("helpdesk2", "helpdesk")
    view = saved_views.keep(DEVICES, "q=till", "Tills", role="helpdesk", by=mine)
    saved_views.drop(view.pk, by=mine)
    assert seen(mine) == seen(other) == []
    saved_views.bring_back(view.pk, by=mine)
    assert seen(mine) == seen(other) == ["Tills"]


def test_after_a_while_nothing_of_it_is_left() -> None:
    mine = person("helpdesk")
    old, new = (saved_views.keep(DEVICES, f"q={n}", f"View {n}", by=mine) for n in range(2))
    saved_views.drop(old.pk, by=mine)
    SavedView.objects.update(dropped_at=timezone.now() - timedelta(hours=1))
    SavedView.objects.filter(pk=new.pk).update(dropped_at=None)
    assert [view.pk for view in saved_views.seen(mine, DEVICES)] == [new.pk]
    saved_views.drop(new.pk, by=mine)
    assert not SavedView.objects.filter(pk=old.pk).exists()


def test_a_name_that_was_taken_meanwhile_is_not_given_twice() -> None:
    mine = person("helpdesk")
    view = saved_views.keep(DEVICES, "q=till", "Tills", by=mine)
    saved_views.drop(view.pk, by=mine)
    saved_views.keep(DEVICES, "q=van", "Tills", by=mine)
    with pytest.raises(Refused, match="already"):
        saved_views.bring_back(view.pk, by=mine)


def test_nobody_changes_what_somebody_else_has_kept() -> None:
    view = saved_views.keep(DEVICES, "q=till", "Tills", by=person("helpdesk"))
    other = person("helpdesk2")
    with pytest.raises(SavedView.DoesNotExist):
        saved_views.change(view.pk, name="Mine", role="", by=other)
    with pytest.raises(SavedView.DoesNotExist):
        saved_views.drop(view.pk, by=other)
    assert SavedView.objects.get().name == "Tills"
