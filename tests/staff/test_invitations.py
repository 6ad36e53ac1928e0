"""A new person chooses their own password by a link that serves once; nobody else ever knows it."""

from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from devices.models import AuditEntry
from staff import invitations
from staff.models import User
from staff.setup import setup_roles

pytestmark = pytest.mark.django_db

PASSWORD = "nine green bottles"


@pytest.fixture(autouse=True)
def _roles() -> None:
    setup_roles()


def invite(*people: str) -> dict[str, str]:
    call_command("invite", *people, stdout=(out := StringIO()))
    return dict(line.split(" ", 1) for line in out.getvalue().splitlines())


def path(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def choose(client: Client, link: str, password: str = PASSWORD) -> int:
    form = {"new_password1": password, "new_password2": password}
    return client.post(path(link), form).status_code


def test_whoever_is_invited_chooses_a_password_and_signs_in(client: Client) -> None:
    links = invite("anna:helpdesk", "bo:admin")
    assert not User.objects.get(username="anna").has_usable_password()
    assert "invited as <strong>anna</strong>" in client.get(path(links["anna"])).content.decode()
    assert choose(client, links["anna"]) == 302
    said = client.post("/accounts/login/", {"login": "anna", "password": PASSWORD})
    assert said.headers["Location"] == "/"
    anna = User.objects.get(username="anna")
    assert [group.name for group in anna.groups.all()] == ["helpdesk"]
    assert anna.scope.everything
    [entry] = AuditEntry.objects.filter(verb="staff.invitation_taken")
    assert entry.actor_name == "anna"


def test_a_link_serves_once(client: Client) -> None:
    links = invite("anna:helpdesk")
    choose(client, links["anna"])
    page = client.get(path(links["anna"]))
    assert page.status_code == 404
    assert "not valid" in page.content.decode()
    assert choose(client, links["anna"], "another long word") == 404
    assert User.objects.get(username="anna").check_password(PASSWORD)


def test_a_link_serves_three_days(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    links = invite("anna:helpdesk")
    later = datetime.now() + timedelta(days=3, minutes=1)  # noqa: DTZ005 - as Django counts it
    monkeypatch.setattr(invitations.TOKENS, "_now", lambda: later)
    assert client.get(path(links["anna"])).status_code == 404


def test_a_link_is_for_its_person_alone(client: Client) -> None:
    links = invite("anna:helpdesk", "bo:admin")
    of_bo = User.objects.get(username="bo").pk
    stolen = f"{of_bo}-{links['anna'].rstrip('/').rpartition('-')[0].rpartition('/')[2]}"
    for link in (stolen, f"{of_bo}-", "0-x", "x", f"{of_bo}-{'9' * 20}-x", "²-x"):
        assert client.get(f"/accounts/invited/{link}/").status_code == 404


def test_a_weak_password_is_refused_with_the_reason(client: Client) -> None:
    links = invite("anna:helpdesk")
    assert choose(client, links["anna"], "short") == 200
    assert not User.objects.get(username="anna").has_usable_password()


def test_who_is_switched_off_is_not_let_in(client: Client) -> None:
    links = invite("anna:helpdesk")
    User.objects.filter(username="anna").update(is_active=False)
    assert choose(client, links["anna"]) == 404


def test_inviting_again_makes_a_fresh_link_and_no_second_person(client: Client) -> None:
    invite("anna:helpdesk")
    again = invite("anna:helpdesk")
    assert User.objects.count() == 1
    assert AuditEntry.objects.filter(verb="staff.invited").count() == 1
    assert choose(client, again["anna"]) == 302
    with pytest.raises(CommandError, match="has an account already"):
        invite("anna:admin")


@pytest.mark.parametrize(
    ("people", "words"), [("anna:king", "no role king"), ("anna", "NAME:ROLE")]
)
def test_what_is_no_invitation_is_refused(people: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        invite(people)
