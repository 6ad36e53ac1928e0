"""A push service for a test, and a house that pushes to it with its certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from devices import push_certificates
from devices.models import PushCertificate
from tests.simulator.push_certificates import Pair
from tests.simulator.push_service import PushService


@pytest.fixture(scope="session")
def push_certificates_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys are slow to make; all push services of a session may have the same."""
    return tmp_path_factory.mktemp("push")


@pytest.fixture
def push_service(settings: Settings, push_certificates_folder: Path) -> Iterator[PushService]:
    with PushService(state=push_certificates_folder) as service:
        push_to(service, settings)
        yield service


def push_to(service: PushService, settings: Settings) -> None:
    settings.APNS_TRANSPORT = "devices.apns.apple.Apple"
    settings.APNS_HOST = "localhost"
    settings.APNS_PORT = service.port
    settings.APNS_CA = str(service.ca_pem_path)


def load(pair: Pair) -> PushCertificate:
    return push_certificates.load(
        pair.certificate_path.read_bytes(), pair.key_path.read_bytes(), by=None
    )
