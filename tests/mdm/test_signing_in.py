"""Signing in: every try leaves a trace, tries are limited, nobody is led elsewhere, and the session is kept close."""

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from devices.models import AuditEntry
from staff.models import User
from tests.house import PASSWORD, House

TRIES = 5  # wrong passwords for one name in five minutes


def sign_in(client: Client, name: str, password: str = PASSWORD, to: str = "") -> HttpResponse:
    query = {"next": to} if to else None
    address = reverse("account_login", query=query)
    response: HttpResponse = client.post(address, {"login": name, "password": password})  # type: ignore[assignment]  # the stub's own class
    return response


def traces(verb: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(verb=verb).order_by("pk"))


def test_whoever_knows_the_password_comes_in_and_leaves_a_trace(
    house: House, client: Client
) -> None:
    house.helpdesk  # noqa: B018  the person is made
    response = sign_in(client, "helpdesk")
    assert response.headers["Location"] == reverse("admin:index")
    assert client.get("/").status_code == 200
    assert [entry.actor_name for entry in traces("staff.sign_in")] == ["helpdesk"]


def test_a_wrong_password_is_told_and_traced_with_the_name(house: House, client: Client) -> None:
    house.helpdesk  # noqa: B018
    response = sign_in(client, "helpdesk", "wrong")
    assert response.status_code == 200
    assert "not correct" in response.content.decode()
    (entry,) = traces("staff.sign_in_failed")
    assert entry.facts == {"name": "helpdesk"}
    assert entry.actor is None  # nobody has shown to be that person


def test_what_was_typed_as_a_name_is_kept_only_if_it_is_one(house: House, client: Client) -> None:
    sign_in(client, "my secret passphrase", "helpdesk")
    (entry,) = traces("staff.sign_in_failed")
    assert entry.facts == {"name": ""}


def test_tries_for_one_name_are_limited_even_with_the_right_password(
    house: House, client: Client
) -> None:
    house.helpdesk  # noqa: B018
    for _ in range(TRIES):
        sign_in(client, "helpdesk", "wrong")
    response = sign_in(client, "helpdesk")
    assert "Too many" in response.content.decode()
    assert client.get("/").status_code == 302
    assert len(traces("staff.sign_in_failed")) == TRIES


def test_tries_are_counted_for_all_processes_together() -> None:
    assert isinstance(caches["default"], DatabaseCache)


def test_tries_from_one_address_are_limited_whatever_the_name(
    house: House, client: Client
) -> None:
    answers = [sign_in(client, f"name-{number}", "wrong").status_code for number in range(31)]
    assert answers[:30] == [200] * 30
    assert answers[30] == 429
    assert len(traces("staff.sign_in_failed")) == 10  # after ten, no password is looked at


def test_too_many_tries_are_told_in_words(house: House, client: Client) -> None:
    for number in range(31):
        response = sign_in(client, f"name-{number}", "wrong")
    assert "wait five minutes" in response.content.decode()


def test_who_is_switched_off_is_told_so_if_the_password_is_right(
    house: House, client: Client
) -> None:
    User.objects.filter(pk=house.helpdesk.pk).update(is_active=False)
    response = sign_in(client, "helpdesk")
    assert "switched off" in response.content.decode()
    assert client.get("/").status_code == 302
    assert len(traces("staff.sign_in_failed")) == 1
    assert not traces("staff.sign_in")


def test_a_stranger_does_not_learn_who_is_switched_off(house: House, client: Client) -> None:
    User.objects.filter(pk=house.helpdesk.pk).update(is_active=False)
    off = sign_in(client, "helpdesk", "wrong").content.decode()
    assert "switched off" not in off
    nobody = sign_in(client, "nobody", "wrong").content.decode()
    assert off.count("not correct") == nobody.count("not correct") == 1


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
        "https://localhost@evil.example/",
    ],
)
def test_nobody_is_led_to_another_site(house: House, client: Client, address: str) -> None:
    house.helpdesk  # noqa: B018
    response = sign_in(client, "helpdesk", to=address)
    assert response.headers["Location"] == reverse("admin:index")


def test_after_signing_in_the_page_that_was_asked_for_is_opened(
    house: House, client: Client
) -> None:
    house.helpdesk  # noqa: B018
    wanted = reverse("admin:devices_device_changelist")
    asked = client.get(wanted, follow=True)
    assert asked.redirect_chain[-1][0].startswith(reverse("account_login"))
    response = client.post(
        asked.redirect_chain[-1][0], {"login": "helpdesk", "password": PASSWORD}
    )
    assert response.headers["Location"] == wanted


@pytest.mark.parametrize(
    ("stock", "ours"),
    [
        ("/login/", "account_login"),
        ("/logout/", "account_logout"),
        ("/password_change/", "account_change_password"),
        ("/password_change/done/", "account_change_password"),
    ],
)
def test_the_admin_s_own_pages_lead_to_the_one_way_of_signing_in(
    house: House, client: Client, stock: str, ours: str
) -> None:
    for response in (client.get(stock), client.post(stock, {"username": "x", "password": "y"})):
        assert response.status_code in {301, 302}
        assert response.headers["Location"].split("?")[0] == reverse(ours)


def test_an_account_that_is_not_staff_s_is_refused_and_not_sent_round_in_circles(
    house: House, client: Client
) -> None:
    User.objects.create_user("guest", password=PASSWORD)
    response = client.post(
        reverse("account_login"), {"login": "guest", "password": PASSWORD}, follow=True
    )
    assert response.status_code == 403
    assert "not one of the staff site" in response.content.decode()


def test_nobody_signs_up(house: House, client: Client) -> None:
    words = {"username": "new", "password1": PASSWORD, "password2": PASSWORD}
    response = client.post(reverse("account_signup"), words)
    assert "Nobody signs up here" in response.content.decode()
    assert not User.objects.filter(username="new").exists()


def test_logging_out_takes_a_click_and_ends_the_session(house: House, client: Client) -> None:
    client.force_login(house.helpdesk)
    client.get(reverse("account_logout"))
    assert client.get("/").status_code == 200
    client.post(reverse("account_logout"))
    assert client.get("/").status_code == 302


def test_one_s_own_password_is_changed_with_the_old_one_and_traced(
    house: House, client: Client
) -> None:
    client.force_login(house.helpdesk)
    page = reverse("account_change_password")
    words = {"password1": "nine green bottles", "password2": "nine green bottles"}
    client.post(page, {"oldpassword": "wrong", **words})
    assert not traces("staff.password_changed")
    client.post(page, {"oldpassword": PASSWORD, **words})
    assert [entry.actor_name for entry in traces("staff.password_changed")] == ["helpdesk"]
    house.helpdesk.refresh_from_db()
    assert house.helpdesk.check_password("nine green bottles")


def test_no_password_is_in_any_trace(house: House, client: Client) -> None:
    house.helpdesk  # noqa: B018
    sign_in(client, "helpdesk", "a wrong one")
    sign_in(client, "helpdesk")
    told = str([entry.facts for entry in AuditEntry.objects.all()])
    assert PASSWORD not in told
    assert "a wrong one" not in told


@override_settings(SESSION_COOKIE_SECURE=True, CSRF_COOKIE_SECURE=True)
def test_over_https_the_session_s_cookie_goes_nowhere_else(house: House, client: Client) -> None:
    house.helpdesk  # noqa: B018
    client.get(reverse("account_login"))
    response = sign_in(client, "helpdesk")
    session = response.cookies[settings.SESSION_COOKIE_NAME]
    assert (session["secure"], session["httponly"], session["samesite"]) == (True, True, "Lax")
    assert session["max-age"] == ""  # it goes when the browser is closed
    assert client.session.get_expiry_age() <= 60 * 60 * 10  # and after a working day in any case
    assert response.cookies[settings.CSRF_COOKIE_NAME]["secure"] is True


def test_a_new_session_is_begun_at_signing_in(house: House, client: Client) -> None:
    house.helpdesk  # noqa: B018
    client.get("/accounts/login/")
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key or ""
    sign_in(client, "helpdesk")
    assert client.session.session_key != session.session_key


def test_a_form_from_elsewhere_is_refused_in_words(house: House) -> None:
    house.helpdesk  # noqa: B018
    strict = Client(enforce_csrf_checks=True)
    response = sign_in(strict, "helpdesk")
    assert response.status_code == 403
    assert "did not come from this site" in response.content.decode()
