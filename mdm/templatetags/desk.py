"""What the staff site's templates say with: icons, badges, ages and the hour."""

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.conf import settings
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86400
TICKS = 60


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of `templates/desk/icons.svg`; the word beside it says the same."""
    return format_html('<svg class="desk-icon" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.simple_tag
def st(style: str, text: str, icon_name: str = "", *, plain: bool = False) -> SafeString:
    """A status badge: colour, icon and word."""
    return format_html(
        '<span class="st st--{}{}">{}{}</span>',
        style,
        " st--plain" if plain else "",
        icon(icon_name or ICONS.get(style, style)),
        text,
    )


ICONS = {"unmeasured": "unmeasured", "doing": "doing"}


@register.filter
def age(value: datetime | None) -> SafeString | str:
    """«7 min ago», with the exact time in the title."""
    if value is None:
        return "never"
    seconds = (timezone.now() - value).total_seconds()
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', value.isoformat(), _exact(value), _ago(seconds)
    )


@register.filter
def clock(value: datetime | None) -> SafeString | str:
    """«14:26» today, «18 Nov, 14:26» on another day; the exact time in the title."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    shape = "H:i" if local.date() == timezone.localdate() else "j M, H:i"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        _exact(value),
        formats.date_format(local, shape),
    )


@register.filter
def day(value: datetime | None) -> SafeString | str:
    """«2 Sep 2025»."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        _exact(value),
        formats.date_format(local, "j M Y"),
    )


@register.simple_tag
def countdown(deadline: datetime, then: str = "Overdue", *, style: str = "num") -> SafeString:
    """What is left of a deadline, kept running by desk.js; complete without it."""
    left = _left(deadline)
    return format_html(
        '<span class="{}" role="timer" data-countdown="{}" data-hour="{}" data-then="{}">{}</span>',
        style,
        int(left),
        f"{settings.HOUR.total_seconds() / MINUTE:g}",
        then,
        f"{int(left // MINUTE)}:{int(left % MINUTE):02}" if left else then,
    )


@register.simple_tag
def ticks(deadline: datetime) -> SafeString:
    """The hour as a row of sixty ticks, those left in colour."""
    start = 180 - 3 * _ticks_left(deadline)
    left = (
        format_html(
            '<path class="desk-ring__left" d="M{} 7H180" stroke-dasharray="2 1"/>', f"{start:.0f}"
        )
        if start < 180  # noqa: PLR2004  the width of the row
        else ""
    )
    return format_html(
        '<svg class="desk-ticks" viewBox="0 0 180 14" aria-hidden="true">'
        '<path d="M0 7H180" stroke-dasharray="2 1"/>{}</svg>',
        left,
    )


@register.inclusion_tag("desk/hour.html")
def hour(deadline: datetime, key: Any) -> dict[str, Any]:
    """The hour as a ring, with its end in words beside it."""
    left = _ticks_left(deadline)
    return {
        "deadline": deadline,
        "key": key,
        "dash": f"{left:.2f}",
        "offset": f"{left - TICKS:.2f}",
    }


def _left(deadline: datetime) -> float:
    return max(0.0, (deadline - timezone.now()).total_seconds())


def _ticks_left(deadline: datetime) -> float:
    return min(float(TICKS), TICKS * _left(deadline) / settings.HOUR.total_seconds())


def _exact(value: datetime) -> str:
    return formats.date_format(timezone.localtime(value), "j M Y, H:i:s T")


def _ago(seconds: float) -> str:
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min ago"
    if seconds < DAY:
        hours = int(seconds // HOUR)
        return f"{hours} hour{'s' if hours > 1 else ''} ago"
    days = timedelta(seconds=seconds).days
    return f"{days} day{'s' if days > 1 else ''} ago"
