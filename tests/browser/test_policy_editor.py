"""The editor of a policy in a real browser: its words follow the fields, and nothing is kept."""

from playwright.sync_api import expect

from passcodes.models import PolicyVersion
from tests.browser.conftest import Browsers, Site


def test_the_words_follow_the_fields_while_somebody_types(site: Site, browsers: Browsers) -> None:
    draft = site.scene.draft
    tab = browsers.visit("author")
    page = tab.open(f"/passcodes/policyversion/{draft.pk}/change/")
    words = page.locator("[data-said=words]")
    expect(page.get_by_role("button", name="Show it in words")).to_be_hidden()
    page.get_by_label("Shortest length").fill("11")
    expect(words).to_contain_text("11 characters at least.")
    expect(page.locator("[data-said=comparison]")).to_contain_text("11 characters at least")
    page.get_by_label("Shortest length").fill("99")
    expect(words).to_contain_text("a whole number from 0 to 16")
    assert tab.complaints() == []
    assert PolicyVersion.objects.get(pk=draft.pk).requirements == draft.requirements


def test_without_a_script_a_button_does_the_same(site: Site, browsers: Browsers) -> None:
    draft = site.scene.draft
    page = browsers.visit("author", java_script_enabled=False).open(
        f"/passcodes/policyversion/{draft.pk}/change/"
    )
    page.get_by_label("Shortest length").fill("11")
    page.get_by_role("button", name="Show it in words").click()
    expect(page.locator("[data-said=words]")).to_contain_text("11 characters at least.")
