"""Presets: each stands on a source with a date, and is what a device can be told."""

import re

import pytest

from passcodes.rules.presets import BY_KEY, PRESETS, Preset
from passcodes.rules.requirements import Requirements, from_json, in_words
from passcodes.rules.strictness import loosened


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_a_preset_names_its_source_and_the_date_of_it(preset: Preset) -> None:
    assert preset.source
    assert re.search(r"\b20\d\d$", preset.dated)
    assert preset.address.startswith("https://")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_a_preset_is_a_set_that_the_editor_takes(preset: Preset) -> None:
    assert from_json(preset.requirements.to_json()) == preset.requirements
    assert preset.requirements.force_pin is True


def test_nist_demands_no_mixture_and_no_change_after_a_time() -> None:
    nist = BY_KEY["nist"].requirements
    assert (nist.require_alphanumeric, nist.min_complex_chars, nist.max_pin_age_in_days) == (
        None,
        None,
        None,
    )
    assert nist.max_failed_attempts == 10


def test_cis_is_nowhere_looser_than_nist_and_than_apple() -> None:
    cis = BY_KEY["cis"].requirements
    assert loosened(BY_KEY["nist"].requirements, cis) == []
    assert loosened(BY_KEY["apple"].requirements, cis) == []


def test_apple_s_default_demands_a_passcode_and_nothing_else() -> None:
    assert BY_KEY["apple"].requirements == Requirements(force_pin=True)
    assert in_words(BY_KEY["apple"].requirements) == ["A passcode is needed."]
