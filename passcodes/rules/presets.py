"""Sets of requirements that others have written down, to begin a policy with: each with its source.

Nothing here is a law of the house. A source that says nothing of a key leaves it out, so that Apple's
default holds there.
"""

from dataclasses import dataclass

from passcodes.rules.requirements import Requirements


@dataclass(frozen=True, slots=True)
class Preset:
    """A beginning for a policy: who says so, when, and what of it a device can be told."""

    key: str
    name: str
    source: str
    dated: str
    address: str
    why: str
    requirements: Requirements


PRESETS: tuple[Preset, ...] = (
    Preset(
        key="nist",
        name="NIST SP 800-63B",
        source="NIST SP 800-63B-4, section 3.2.10, Activation Secrets",
        dated="July 2025",
        address="https://doi.org/10.6028/NIST.SP.800-63B-4",
        why=(
            "Four characters are demanded and six advised, digits are enough, at most ten tries, and "
            "well-known ones kept out, of which 1234 and 1111 are what a device can be told. Nothing "
            "has to be changed after a time, and nothing has to be mixed."
        ),
        requirements=Requirements(
            force_pin=True, min_length=6, allow_simple=False, max_failed_attempts=10
        ),
    ),
    Preset(
        key="cis",
        name="CIS Apple iOS Benchmark",
        source=(
            "CIS Apple iOS 17 Benchmark v1.1.0, Level 1, Institutionally-Owned Devices, "
            "3.4.1 and 3.4.3 to 3.4.6; the same in iOS 18 v1.0.0"
        ),
        dated="April 2024",
        address="https://www.cisecurity.org/benchmark/apple_ios",
        why=(
            "Six characters, nothing like 1234, locked after two minutes, the passcode needed at "
            "once, and six wrong tries at most, after which an iPhone or iPad erases itself."
        ),
        requirements=Requirements(
            force_pin=True,
            allow_simple=False,
            min_length=6,
            max_inactivity=2,
            max_grace_period=0,
            max_failed_attempts=6,
        ),
    ),
    Preset(
        key="apple",
        name="Apple’s default",
        source="Apple, Device Management: Passcode (com.apple.mobiledevice.passwordpolicy)",
        dated="August 2026",
        address="https://developer.apple.com/documentation/devicemanagement/passcode",
        why=(
            "A passcode is needed, and every other key is left out: what an iPhone or iPad does by "
            "itself is what counts."
        ),
        requirements=Requirements(force_pin=True),
    ),
)
BY_KEY = {preset.key: preset for preset in PRESETS}
