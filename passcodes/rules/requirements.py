"""What a policy may demand of a passcode, key by key, in Apple's ranges and in plain words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirements:
    """One field for each key of Apple's passcode payload; None is a key that is absent."""

    allow_simple: bool | None = None
    force_pin: bool | None = None
    min_length: int | None = None
    require_alphanumeric: bool | None = None
    min_complex_chars: int | None = None
    max_failed_attempts: int | None = None
    max_inactivity: int | None = None
    max_grace_period: int | None = None
    max_pin_age_in_days: int | None = None
    pin_history: int | None = None
    minutes_until_failed_login_reset: int | None = None
    change_at_next_auth: bool | None = None
