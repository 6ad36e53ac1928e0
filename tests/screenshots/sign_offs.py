"""What people sign, from the first word to the last: clears of one device and of several, and what keepers decide."""

import re
import time

from playwright.sync_api import Page, expect

from tests.screenshots.people import sign
from tests.screenshots.scene import Scene, serial

VAULT_WITHIN = 20_000  # ms; it looks every two seconds
CLEARED_WITHIN = 120.0  # seconds, until the vault has opened and the device has answered
TEAM = 3
REQUEST = re.compile(r"/(clearrequest|clearlist|act)/([0-9a-f-]{36})/")


def key_from_the_safe(scene: Scene) -> str:
    """Two keepers let one key agree where nobody else can: their change, which comes into force in an hour."""
    _known_to_the_vault(scene, "safe")
    page = _propose(
        scene, "person/?name=safe", {"Why": "For nights on which no approver can be reached."}
    )
    act = page.url
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "a change of the charter")
    scene.take(page, "keeper a change of the charter, asked for")
    page = scene.open("keeper2", act)
    scene.take(page, "keeper2 a change of the charter, to sign")
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "a change of the charter, the second")
    expect(page.get_by_text("comes into force at").first).to_be_visible(timeout=VAULT_WITHIN)
    scene.take(page, "keeper2 a change of the charter, signed by two")
    return act


def denied(scene: Scene) -> None:
    """A change that is asked for, and that an approver will not have; and one that nobody has signed yet."""
    page = _propose(scene, "rule/?of=leaver", {"Signatures by others": "2", "Why": "To be sure."})
    act = page.url
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "a change of a rule")
    page = scene.open("approver", act)
    page.get_by_label("Reason, shown to").fill("There are not two of us at night.")
    scene.take(page, "approver an act to deny")
    page.get_by_role("button", name="Deny it").click()
    sign(page, scene.pictures, "denying")
    expect(page.get_by_text("Denied").first).to_be_visible(timeout=VAULT_WITHIN)
    scene.take(page, "approver an act that is denied")
    page = _propose(
        scene, "list/", {"Name": "vans", "Serial numbers": "F2LXQ1ABCD", "Why": "Vans."}
    )
    scene.take(page, "keeper a change that is prepared")


def asked(scene: Scene, phone: str) -> str:
    """A request with its requester's word, waiting to be signed."""
    page, number = _ask(scene, phone, "give my word")
    sign(page, scene.pictures, "asking", serial=number)
    expect(page.get_by_text("Nothing has reached the device yet.").first).to_be_visible()
    return page.url


def asked_with_a_code(scene: Scene, phone: str) -> str:
    """A device shows digits on its lock screen; whoever holds it is asked to read them."""
    ask = f"/passcodes/clearrequest/add/?device={phone.split('/')[3]}"
    page = scene.open("helpdesk", ask)
    page.get_by_role("button", name="Show a code on its lock screen").click()
    expect(page.get_by_label("Code from the lock screen")).to_be_visible(timeout=3 * VAULT_WITHIN)
    scene.take(page, "helpdesk a code on a lock screen")
    return ask


def seen_by_two(scene: Scene, phone: str) -> str:
    """A request that a second person is to confirm, who sees the device."""
    page, number = _ask(scene, phone, "a colleague sees")
    sign(page, scene.pictures, "asking, with a colleague", serial=number)
    request = page.url
    page = scene.open("approver", request)
    page.get_by_label("characters of its serial").fill(number[-4:])
    scene.take(page, "approver a request to witness")
    page.get_by_role("button", name="I see this device").click()
    sign(page, scene.pictures, "witnessing")
    scene.take(page, "approver a request, witnessed")
    return request


def stopped(scene: Scene, request: str) -> None:
    """What an operator stops at the vault's console: the page says so, and why."""
    found = REQUEST.search(request)
    assert found is not None
    scene.console("vault.env", "vault_stop", found[2], "--because", "The caller rang twice.")
    page = scene.open("helpdesk", request)
    expect(page.get_by_text("The caller rang twice.").first).to_be_visible(timeout=VAULT_WITHIN)
    scene.take(page, "helpdesk a request, stopped at the vault")


def agreed(scene: Scene, request: str) -> None:
    """The approver agrees; the handbook's picture of the request is made before."""
    page = scene.open("approver", request)
    scene.pictures.for_the_handbook(page, "sign")
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "agreeing")
    expect(page.get_by_text("Signed. The vault opens the token")).to_be_visible()
    page.wait_for_timeout(8000)  # the vault opens, the device is cleared
    page.reload()
    scene.take(page, "approver a clear, afterwards")


def several(scene: Scene, phones: list[str]) -> None:
    """A list of devices: ticked, asked for, denied nowhere, signed, and on its way."""
    keys = ",".join(phone.split("/")[3] for phone in phones)
    page = scene.open("helpdesk", f"/passcodes/clearlist/add/?devices={keys}")
    for box in page.get_by_role("checkbox", name="goes along").all()[TEAM:]:
        box.uncheck()
    numbers = page.locator("td[data-label=Serial]").all_inner_texts()[:TEAM]
    page.get_by_label("In your words").fill("New phones for the north.")
    page.get_by_label("Who holds them, and where").fill("On my bench.")
    page.get_by_text("I give my word").click()
    page.get_by_label("Serial numbers, as read off").fill("\n".join(numbers))
    scene.take(page, "helpdesk several clears, asked for")
    page.get_by_role("button", name="Ask to remove the passcodes").click()
    sign(page, scene.pictures, "several devices", count=TEAM)
    request = page.url
    scene.take(page, "helpdesk several clears, waiting")
    page = scene.open("approver", request)
    scene.take(page, "approver several clears, to sign")
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "agreeing to several devices")
    page.wait_for_timeout(6000)  # the vault opens them, one after the other
    page.reload()
    scene.take(page, "approver several clears, afterwards")


def by_the_key_from_the_safe(scene: Scene, phones: list[str], change: str) -> None:
    """A clear that no approver has signed, on every page until two keepers have reviewed it.

    The vault refuses the key for what was asked before it counted; for what is asked now it opens.
    """
    early = asked(scene, phones[0])
    page = scene.open("keeper", change)
    expect(page.get_by_text("It is in force").first).to_be_visible(timeout=600_000)
    page = _with_the_key(scene, early)
    expect(page.get_by_text("after the request was made").first).to_be_visible(
        timeout=VAULT_WITHIN
    )
    scene.take(page, "safe a signature that the vault refuses")
    request = asked(scene, phones[1])
    _with_the_key(scene, request)
    _to_be_reviewed(scene, request)
    scene.take(scene.open("author", "/"), "author the key from the safe, on every page")
    page = _to_be_reviewed(scene, request)
    page.get_by_label("Who took the key from the safe").fill("The night shift; it is back.")
    scene.take(page, "keeper a clear to be reviewed")
    page.get_by_role("button", name="Sign the review").click()
    sign(page, scene.pictures, "reviewing")
    review = page.url
    page = scene.open("keeper2", review)
    scene.take(page, "keeper2 a review, to sign")
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "reviewing, the second")
    expect(page.get_by_text("Reviewed.").first).to_be_visible(timeout=VAULT_WITHIN)
    scene.take(page, "keeper2 a review, done")


def _with_the_key(scene: Scene, request: str) -> Page:
    page = scene.open("safe", request)
    page.get_by_role("button", name="Sign", exact=True).click()
    sign(page, scene.pictures, "the key from the safe")
    return page


def _to_be_reviewed(scene: Scene, request: str) -> Page:
    """The clear's page before a keeper, once the device has answered: then it can be reviewed."""
    until = time.monotonic() + CLEARED_WITHIN
    while True:
        page = scene.open("keeper", request)
        if page.get_by_role("button", name="Sign the review").count():
            return page
        if time.monotonic() > until:
            raise SystemExit("Nothing has come to be reviewed.")
        time.sleep(2)


def _known_to_the_vault(scene: Scene, name: str) -> None:
    """Its copy of the charter names whoever has just registered a passkey."""
    until = time.monotonic() + VAULT_WITHIN / 1000
    while not scene.open("keeper", "/charter/").get_by_role("rowheader", name=name).count():
        if time.monotonic() > until:
            raise SystemExit(f"The vault does not know {name}.")
        time.sleep(1)


def _ask(scene: Scene, phone: str, proof: str) -> tuple[Page, str]:
    """Four steps on one page, up to the signing page; and the serial number of the device."""
    page = scene.open("helpdesk", phone)
    number = serial(page)
    page.get_by_role("link", name="Ask for a clear").first.click()
    page.get_by_label("forgotten", exact=False).first.check()
    page.get_by_label("In your words").fill("Forgot it over the weekend, needs the till by ten.")
    page.get_by_label("Who holds it").fill("In my hands, at the counter.")
    page.get_by_text("use other evidence").click()
    page.get_by_label(re.compile(proof, re.IGNORECASE)).check()
    page.get_by_label("characters of its serial").fill(number[-4:])
    page.get_by_role("button", name="Ask to remove the passcode").click()
    return page, number


def _propose(scene: Scene, what: str, fields: dict[str, str]) -> Page:
    """A keeper says what is to be otherwise, and reads what that changes."""
    page = scene.open("keeper", f"/charter/propose/{what}")
    if what.startswith("person"):
        for role in page.locator("input[name=roles]").all():
            role.set_checked(role.get_attribute("value") == "glass")
    for label, words in fields.items():
        page.get_by_label(label, exact=True).fill(words)
    page.get_by_role("button", name="Show what changes").click()
    page.wait_for_url("**/act/*/change/")
    return page
