"""Charts as SVG, made on the server: numbers go in, safe markup comes out, with a sentence and a table beside it.

A colour never stands alone: each has its word in the legend and in the table, and a screen reader is told
the sentence. Every text passes through `format_html`; the rest are numbers that were computed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDE, HIGH = 400, 170  # a card on a phone is not much wider, and its letters must be read
LEFT, RIGHT, TOP, BOTTOM = 44, 4, 10, 26  # for what is written beside the drawing
FIGURES = 58  # behind a bar
LINES = 4  # across
LABELS = 5  # below, at most
GAP = 0.24  # between two columns, of a column
FEWEST = 9  # columns that a drawing has room for, so that one alone is no wall
THICK = 18  # a row of bars
ROW = 30
NAMES = 150
LETTERS = 22  # that fit before a bar


@dataclass(frozen=True, slots=True)
class Series:
    """One part of each column."""

    name: str
    style: str  # c-compliant, c-grace …: classes of desk.css
    values: Sequence[int | None]  # None: nobody has counted

    @property
    def key(self) -> SafeString:
        return format_html(
            '<svg class="desk-key" viewBox="0 0 12 12" aria-hidden="true">'
            '<rect class="{}" width="12" height="12" rx="3"/></svg>',
            self.style,
        )


@dataclass(frozen=True, slots=True)
class Chart:
    """What the page includes (`desk/chart.html`)."""

    svg: SafeString
    sentence: str
    series: Sequence[Series]
    first: str  # what heads the table's first column
    labels: Sequence[str]

    @property
    def rows(self) -> list[tuple[str, list[int | None]]]:
        values = zip(*(one.values for one in self.series), strict=True)
        return [(label, list(row)) for label, row in zip(self.labels, values, strict=True)]


def columns(sentence: str, first: str, labels: Sequence[str], series: Sequence[Series]) -> Chart:
    """Columns side by side, each of its parts on top of one another, the first below."""
    totals = _totals(series)
    top = _ceiling(max(totals, default=0))
    step = (WIDE - LEFT - RIGHT) / max(FEWEST, len(labels))
    floor = HIGH - BOTTOM
    scale = (floor - TOP) / top
    heights = [0.0] * len(labels)
    parts = []
    for one in series:
        path = []
        for number, value in enumerate(one.values):
            if not value:
                continue
            x = LEFT + step * (number + GAP / 2)
            y = floor - (heights[number] + value) * scale
            wide, high = step * (1 - GAP), value * scale
            path.append(f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z")
            heights[number] += value
        if path:
            parts.append((one.style, "".join(path)))
    every = -(-len(labels) // LABELS)
    below = [
        (f"{LEFT + step * (number + 0.5):.1f}", HIGH - 8, label)
        for number, label in enumerate(labels)
        if number % every == 0
    ]
    drawing = format_html(
        "{}{}{}",
        _across(top, floor, scale),
        format_html_join("", '<path class="{}" d="{}"/>', parts),
        format_html_join("", '<text x="{}" y="{}" text-anchor="middle">{}</text>', below),
    )
    return Chart(_framed(drawing, sentence, HIGH), sentence, series, first, labels)


def bars(sentence: str, first: str, labels: Sequence[str], series: Sequence[Series]) -> Chart:
    """Rows below one another, each with its name before it and its parts beside one another."""
    totals = _totals(series)
    scale = (WIDE - NAMES - FIGURES) / max(1, *totals)
    drawn = []
    for number, (label, total) in enumerate(zip(labels, totals, strict=True)):
        y, x = number * ROW + (ROW - THICK) / 2, float(NAMES)
        rects = []
        for one in series:
            wide = (one.values[number] or 0) * scale
            if wide > 0:
                rects.append((one.style, f"{x:.1f}", f"{y:.0f}", f"{max(1.0, wide):.1f}", THICK))
                x += wide
        drawn.append(
            format_html(
                '<text x="0" y="{}">{}</text>{}<text class="t-loud" x="{}" y="{}">{}</text>',
                f"{y + 13:.0f}",
                _short(label),
                format_html_join(
                    "",
                    '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>',
                    rects,
                ),
                f"{x + 6:.1f}",
                f"{y + 13:.0f}",
                number_format(total, force_grouping=True),
            )
        )
    high = max(1, len(labels)) * ROW
    drawing = format_html_join("", "{}", ((one,) for one in drawn))
    return Chart(_framed(drawing, sentence, high), sentence, series, first, labels)


def _totals(series: Sequence[Series]) -> list[int]:
    every = zip(*(one.values for one in series), strict=True)
    return [sum(value or 0 for value in parts) for parts in every]


def day(value: date) -> str:
    """«14 Nov»."""
    return date_format(value, "j M")


def _framed(drawing: SafeString, sentence: str, high: int) -> SafeString:
    return format_html(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDE,
        high,
        sentence,
        drawing,
    )


def _across(top: int, floor: int, scale: float) -> SafeString:
    """Lines across with their numbers, the lowest at nothing."""
    marks = []
    for number in range(LINES + 1):
        value = top * number // LINES
        y = floor - value * scale
        marks.append((LEFT, f"{y:.1f}", WIDE - RIGHT, f"{y + 4:.1f}", _said(value)))
    return format_html_join(
        "",
        '<path class="ax" d="M{0} {1}H{2}"/><text x="38" y="{3}" text-anchor="end">{4}</text>',
        marks,
    )


def _ceiling(most: int) -> int:
    """The next round number that four lines divide."""
    unit = 1
    while unit * 40 < most:
        unit *= 10
    for factor in (1, 2, 3, 4, 5, 6, 8, 10):
        if unit * factor * LINES >= most:
            return unit * factor * LINES
    return unit * 10 * LINES


def _said(value: int) -> str:
    """Short enough to stand before the lines."""
    for limit, unit in ((1_000_000, "m"), (10_000, "k")):
        if value >= limit:
            return f"{value / (1_000_000 if unit == 'm' else 1_000):g} {unit}"
    return number_format(value, force_grouping=True)


def _short(label: str) -> str:
    return label if len(label) <= LETTERS else f"{label[: LETTERS - 1]}…"
