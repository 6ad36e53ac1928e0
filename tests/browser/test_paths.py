"""How far it is from a caller’s serial to a request, and from an approver’s mail to a signature: clicks and keys."""

import time
from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect

from devices.models import Device
from tests import clears
from tests.browser.conftest import NARROW, Browsers, Site
from tests.browser.test_code import SHOWN
from tests.browser.test_desk import LIVE
from tests.clears import reread
from tests.house import PASSKEYS

WHY = "Forgot it over the weekend."
WHO = "At the counter."


@dataclass
class Hands:
    """Somebody who clicks and types, and counts; what the product itself takes is timed."""

    page: Page
    clicks: int = 0
    keys: int = 0
    typed: int = 0  # letters of sentences: as many as somebody likes
    began: float = field(default_factory=time.monotonic)

    def click(self, what: Locator) -> None:
        what.click()
        self.clicks += 1

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.keys += len(text)

    def say(self, sentence: str) -> None:
        self.page.keyboard.type(sentence)
        self.typed += len(sentence)

    def told(self, path: str) -> None:
        seconds = time.monotonic() - self.began
        print(
            f"{path}: {self.clicks} clicks, {self.keys} keys and two sentences, {seconds:.1f} s"
            if self.typed
            else f"{path}: {self.clicks} clicks, {self.keys} keys, {seconds:.1f} s"
        )


def device_of(site: Site, name: str) -> tuple[Device, str]:
    phone = site.house.enrolled_phone(passcode="1234", name=name)
    phone.user_forgets_passcode()
    device = Device.objects.get(udid=phone.udid)
    return device, device.serial or ""


def test_from_a_serial_to_a_request_with_one_s_own_word(site: Site, browsers: Browsers) -> None:
    device, serial = device_of(site, "path-1")
    tab = browsers.visit("helpdesk")
    tab.authenticator(PASSKEYS["helpdesk"])
    hands = Hands(tab.open("/"))
    _find_and_say(hands, serial)
    hands.click(hands.page.get_by_text("use other evidence"))
    hands.press("Tab", "Tab")  # past the word that is given, to the serial's end
    hands.type(serial[-4:])
    _send_and_sign(hands, serial)
    hands.told("Serial known → request sent, by one's own word")
    assert device.clear_requests.get().state == "requested"
    assert hands.clicks <= 6
    assert tab.complaints() == []


def test_from_a_serial_to_a_request_with_a_code(site: Site, browsers: Browsers) -> None:
    """The strongest proof costs two clicks and the wait for the device, not more."""
    phone = site.house.enrolled_phone(passcode="1234", name="path-2")
    phone.user_forgets_passcode()
    device = Device.objects.get(udid=phone.udid)
    tab = browsers.visit("helpdesk")
    tab.authenticator(PASSKEYS["helpdesk"])
    hands = Hands(tab.open("/"))
    _find_and_say(hands, device.serial or "")
    page = hands.page
    hands.click(page.get_by_role("button", name="Show a code on its lock screen"))
    site.house.vault()
    phone.connect()
    digits = page.get_by_label("Code from the lock screen")
    expect(digits).to_be_visible(timeout=LIVE)
    found = SHOWN.search(phone.screen())
    assert found is not None
    hands.click(digits)
    hands.type(found[1].replace(" ", ""))
    hands.press("Enter")
    expect(page.get_by_text("Checking", exact=True)).to_be_visible()
    site.house.vault()
    expect(page.get_by_text("Shown by the lock-screen code")).to_be_visible(timeout=LIVE)
    _send_and_sign(hands, "")
    hands.told("Serial known → request sent, by a code")
    assert device.clear_requests.get().state == "requested"
    assert hands.clicks <= 7


def test_from_an_approver_s_mail_to_a_signature(site: Site, browsers: Browsers) -> None:
    """Signed in, on a phone in a corridor: the mail's link, and two touches."""
    device, _ = device_of(site, "path-3")
    request = clears.ask(device, by=site.scene.someone)
    tab = browsers.visit("approver", viewport=NARROW)
    tab.authenticator(PASSKEYS["approver"])
    hands = Hands(tab.open(f"/passcodes/clearrequest/{request.pk}/change/"))
    hands.click(hands.page.get_by_role("button", name="Sign", exact=True))
    hands.click(hands.page.get_by_role("button", name="Sign with a passkey"))
    expect(hands.page.get_by_text("Signed. The vault opens the token")).to_be_visible()
    hands.told("Mail's link → signed")
    assert reread(request).state == "approved"
    assert hands.clicks == 2


def _find_and_say(hands: Hands, serial: str) -> None:
    """From the first page to the sentences; a search for one device leads straight to it."""
    page = hands.page
    hands.press("/")
    hands.type(serial[-6:])
    hands.press("Enter")
    page.wait_for_url("**/devices/device/*/change/")
    hands.click(page.get_by_role("link", name="Ask for a clear").first)
    hands.click(page.get_by_text("The user has forgotten the passcode"))
    hands.press("Tab")
    hands.say(WHY)
    hands.press("Tab")
    hands.say(WHO)


def _send_and_sign(hands: Hands, serial: str) -> None:
    page = hands.page
    hands.click(page.get_by_role("button", name="Ask to remove the passcode"))
    expect(page.get_by_role("button", name="Sign with a passkey")).to_be_visible()
    if serial:
        hands.type(serial[-4:])  # its field has the focus
    hands.click(page.get_by_role("button", name="Sign with a passkey"))
    expect(page.get_by_text("Nothing has reached the device yet.").first).to_be_visible()
