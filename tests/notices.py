"""What tests of notices share: a worker that has a mail server and webhooks, and people with addresses."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from devices import notices
from devices.models import Notice
from staff.models import User
from tests.mailbox import Mailbox, open_mailbox


@pytest.fixture
def post(settings: Settings) -> Iterator[Mailbox]:
    """Where the worker's mail arrives; the worker has said so."""
    with open_mailbox() as box:
        use(settings, box)
        yield box


def use(settings: Settings, box: Mailbox) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_URL = f"smtp://127.0.0.1:{box.port}"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
    settings.DEFAULT_FROM_EMAIL = "passcodes@example.org"
    notices.tell()


def with_address(*people: User) -> None:
    for person in people:
        person.email = f"{person.username}@example.org"
        person.save(update_fields=["email"])


def knows(settings: Settings, **places: str) -> None:
    """The worker knows these webhooks: name=address, the name being the kind of place."""
    settings.NOTICE_WEBHOOKS = [(name, name, address) for name, address in places.items()]
    notices.tell()


def newest() -> Notice:
    return Notice.objects.latest("made_at")
