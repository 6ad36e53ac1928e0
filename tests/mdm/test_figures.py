"""The desk's figures and charts: counted now and then, drawn from numbers, and said in words and a table."""

import re
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from devices.models import Device, DeviceGroup
from devices.models.device import Enrollment
from mdm.desk import charts, figures, kept
from mdm.desk.charts import Series
from mdm.desk.kept import Keeper
from passcodes import fleet, standing
from passcodes.models import FleetDay, FleetPart
from staff.models import Scope, User
from tests.house import House
from tests.scenes import LOOSE, published, rows

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("hour", "first", "within"),
    [
        (timedelta(hours=1), "5 min", "within 10 minutes."),
        (timedelta(seconds=120), "10 s", "within 20 seconds."),  # the demo's
    ],
)
def test_hours_by_their_end_are_counted_in_what_people_count_in(
    db: None, settings: Settings, hour: timedelta, first: str, within: str
) -> None:
    settings.HOUR = hour
    counted = replace(figures.count(Device.objects.all()), hours=[1, 0, 2, *[0] * 9])
    chart = figures.ending_hours(counted)
    assert chart is not None
    assert chart.sentence.endswith(within)
    assert chart.rows[0][0] == first


def test_the_silent_are_some_of_the_unreachable(db: None) -> None:
    now = timezone.now()
    rows(1, last_seen_at=now - 9 * DAY)
    rows(1, last_seen_at=now - 9 * DAY, enrollment_state=Enrollment.LEFT)  # nobody looks for it
    rows(1)  # enrolled this minute
    counted = figures.count(Device.objects.all())
    chart = figures.last_contact(counted)
    assert chart is not None
    assert chart.sentence.startswith("1 device is unreachable: 1 silent for more than 7 days")


# Kept for a while


class Counts:
    """Counts how often it was counted."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + seconds)


def test_who_looks_again_gets_the_same_count() -> None:
    keeper, count = Keeper[int](lambda _: True), Counts()
    assert [keeper.get("all", count).value for _ in range(3)] == [1, 1, 1]
    assert keeper.get("one group", count).value == 2


def test_what_is_not_worth_keeping_is_counted_each_time() -> None:
    keeper, count = Keeper[int](lambda value: value > 2), Counts()
    assert [keeper.get("all", count).value for _ in range(4)] == [1, 2, 3, 3]


def test_a_count_that_has_lasted_is_shown_once_more_while_the_next_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper, count = Keeper[int](lambda _: True), Counts()
    made = threading.Event()

    def slowly() -> int:
        made.wait(10)
        return count()

    keeper.get("all", count)
    later(monkeypatch, kept.LONGEST + 1)
    assert keeper.get("all", slowly).value == 1
    assert keeper.get("all", slowly).value == 1  # and nobody begins a second one beside it
    made.set()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "_beside" in thread.name:
            thread.join(10)
    assert keeper.get("all", slowly).value == 2
    assert count.times == 2


def test_a_count_that_is_too_old_is_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, count = Keeper[int](lambda _: True), Counts()
    keeper.get("all", count)
    later(monkeypatch, kept.SHOWN_FOR + 1)
    assert keeper.get("all", count).value == 2


def test_a_count_that_fails_beside_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, count = Keeper[int](lambda _: True), Counts()
    keeper.get("all", count)
    later(monkeypatch, kept.LONGEST + 1)
    assert keeper._begins("all")
    keeper._counting.discard("all")
    assert keeper._begins("all")


# Drawn


def rectangles(svg: str) -> list[tuple[float, float]]:
    """Width and height of each column, as drawn."""
    return [(float(w), float(h)) for w, h in re.findall(r"h([\d.]+)v([\d.]+)h-", svg)]


def test_a_column_is_as_high_as_its_number_and_nothing_is_drawn_for_nothing() -> None:
    series = [Series("A", "c-grace", [2, 0, 4]), Series("B", "c-mute", [1, None, 0])]
    chart = charts.columns("Said.", "Day", ["1", "2", "3"], series)
    heights = [height for _, height in rectangles(chart.svg)]
    assert len(heights) == 3
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert heights[2] == pytest.approx(heights[0] / 2, abs=0.2)


def test_parts_stand_on_one_another() -> None:
    series = [Series("A", "c-grace", [3]), Series("B", "c-mute", [1])]
    svg = str(charts.columns("Said.", "Day", ["1"], series).svg)
    [(_, y1, _, h1), (_, y2, _, h2)] = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", svg)
    assert float(y2) + float(h2) == pytest.approx(float(y1), abs=0.2)
    assert float(h1) == pytest.approx(3 * float(h2), abs=0.2)


@pytest.mark.parametrize("most", [0, 1, 3, 4, 5, 39, 40, 41, 97_531, 1_000_000])
def test_nothing_sticks_out_of_a_drawing(most: int) -> None:
    svg = str(charts.columns("Said.", "Day", ["1"], [Series("A", "c-grace", [most])]).svg)
    tops = [float(y) for y in re.findall(r"M[\d.]+ ([-\d.]+)h", svg)]
    assert all(charts.TOP - 1 <= top <= charts.HIGH for top in tops)
    labels = [str(number) for number in range(40)]
    svg = str(charts.bars("Said.", "Day", labels, [Series("A", "c-grace", [most] * 40)]).svg)
    ends = [
        float(x) + float(w) for x, w in re.findall(r'x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    ]
    assert all(end <= charts.WIDE - charts.FIGURES + 1 for end in ends)


def test_a_name_is_text_wherever_it_comes_from() -> None:
    evil = '"><script>alert(1)</script>'
    chart = charts.bars(evil, "Version", [evil], [Series(evil, "c-grace", [1])])
    assert "<script" not in chart.svg
    assert "&lt;script" in chart.svg


def test_a_reader_is_told_the_sentence_and_has_every_number_in_the_table() -> None:
    series = [Series("A", "c-grace", [2, None])]
    chart = charts.columns("Two of two.", "Day", ["1 Nov", "2 Nov"], series)
    assert 'role="img" aria-label="Two of two."' in chart.svg
    assert chart.rows == [("1 Nov", [2]), ("2 Nov", [None])]


# On the desk


@pytest.fixture
def helpdesk(house: House, client: Client) -> Client:
    rows(3)
    client.force_login(house.helpdesk)
    return client


def desk(client: Client, **query: str) -> str:
    response: Any = client.get("/", query)
    assert response.status_code == 200
    return str(response.content.decode())


def days(*ago: int, **counts: int) -> None:
    for number in ago:
        FleetDay.objects.create(
            day=timezone.localdate() - number * DAY, counted_at=timezone.now(), **counts
        )


def test_the_first_day_is_one_column_and_says_since_when(helpdesk: Client) -> None:
    fleet.note()
    text = desk(helpdesk)
    assert f"Counted since {charts.day(timezone.localdate())}" in text
    assert "Compliance over time" in text


def test_before_the_first_count_there_is_no_chart_over_time(helpdesk: Client) -> None:
    assert "Compliance over time" not in desk(helpdesk)


def test_a_day_on_which_nothing_ran_is_a_gap_and_said(helpdesk: Client) -> None:
    days(0, 3, compliant=3, overdue=1)
    text = desk(helpdesk)
    assert "75.0 % of the devices that can be measured comply today." in text
    assert "On 2 days nothing was counted." in text
    assert "your groups" not in text
    assert text.count("not counted") == 2 * len(figures.STACK)


@pytest.mark.parametrize(("asked", "shown"), [("", 30), ("90", 90), ("7", 30), ("x", 30)])
def test_it_goes_over_thirty_days_or_ninety(helpdesk: Client, asked: str, shown: int) -> None:
    days(0, 29, 31, 89, 91, compliant=1)
    text = desk(helpdesk, days=asked)
    assert f'?days={shown}" aria-current="true"' in text
    assert (charts.day(timezone.localdate() - 89 * DAY) in text) is (shown == 90)


@pytest.fixture
def region(house: House, client: Client) -> User:
    """Somebody whose scope is one group of two devices, signed in; there are five devices more."""
    person = house.person("helpdesk", name="region", everything=False)
    mine = house.group("Mine")
    Scope.objects.create(user=person).groups.add(mine)
    rows(2, group=mine)
    rows(4, group=house.group("Other"))
    rows(1)
    client.force_login(person)
    return person


def parts(group: DeviceGroup, *ago: int, **counts: int) -> None:
    days(*ago, compliant=7)
    for number in ago:
        FleetPart.objects.create(
            day=timezone.localdate() - number * DAY,
            counted_at=timezone.now(),
            groups=[group.pk],
            **counts,
        )


def test_who_sees_some_groups_sees_their_figures_and_not_the_house_s(
    house: House, region: User
) -> None:
    fleet.note()
    assert figures.of(region).value.fleet.total == 2
    assert figures.of(house.helpdesk).value.fleet.total == 7
    for person, count in ((region, 2), (house.helpdesk, 7)):
        chart = figures.over_time(person, "30")["chart"]
        assert [sum(numbers) for _, numbers in chart.rows] == [count], person


def test_who_sees_some_groups_sees_how_those_stood_over_time_and_is_told_so(
    house: House, region: User, client: Client
) -> None:
    mine = house.group("Mine")
    days(5, 4, compliant=7)  # before this version: nobody counted parts
    parts(mine, 3, compliant=1, overdue=1)
    parts(mine, 0, compliant=2)
    parts(house.group("Other"), 2, overdue=3)
    FleetPart.objects.create(
        day=timezone.localdate(),
        counted_at=timezone.now(),
        groups=[mine.pk, house.group("Other").pk],
        overdue=2,
    )
    text = desk(client)
    begins = charts.day(timezone.localdate() - 3 * DAY)
    assert (
        "50.0 % of the devices that can be measured comply today. "
        f"Of these 30 days the first that was counted is {begins}: 50.0 %. "
        "On 1 day nothing was counted. "
        "Each day counts the devices that were in your groups then."
    ) in text
    rows_told = figures.over_time(region, "30")["chart"].rows
    assert [numbers for _, numbers in rows_told] == [
        [1, 0, 1, 0],
        [0, 0, 0, 0],  # on this day only others had devices
        [None] * 4,
        [2, 0, 2, 0],
    ]


@pytest.mark.usefixtures("region")
def test_who_sees_some_groups_has_no_chart_over_time_before_those_were_counted(
    house: House, client: Client
) -> None:
    days(5, 4, 0, compliant=7)
    parts(house.group("Other"), 1, compliant=3)
    assert "Compliance over time" not in desk(client)


def test_who_has_no_scope_has_no_chart_over_time(house: House, client: Client) -> None:
    rows(2, group=house.group("Other"))
    fleet.note()
    client.force_login(house.person("helpdesk", name="nobody's", everything=False))
    assert "Compliance over time" not in desk(client)


def test_the_tiles_agree_with_the_lists_behind_them(helpdesk: Client, house: House) -> None:
    published(house, LOOSE)
    rows(2, push_token=None)
    rows(1, lost_at=timezone.now())
    response: Any = helpdesk.get("/")
    told = response.context_data
    for figure, view in (
        ("exposed_total", "exposed"),
        ("overdue_total", "overdue"),
        ("unreachable_total", "unreachable"),
        ("lost_total", "lost"),
    ):
        assert told[figure] == standing.only(Device.objects.all(), view).count(), view


def test_the_house_says_whether_clock_worker_and_vault_are_at_work(
    helpdesk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker writes what the clock calls for; a session at the database tells them apart."""
    assert "The worker is not running" in desk(helpdesk)
    monkeypatch.setattr("mdm.desk.it_policy.processes", lambda: {"worker", "staff"})
    assert "Clock and worker have counted nothing yet" in desk(helpdesk)
    fleet.note()
    assert "Clock and worker are at work" in desk(helpdesk)
    FleetDay.objects.update(counted_at=timezone.now() - timedelta(minutes=4))
    assert "The clock stands still" in desk(helpdesk)
    assert "The vault speaks" in desk(helpdesk)


def test_forty_devices_cost_the_desk_as_many_queries_as_four(helpdesk: Client) -> None:
    fleet.note()
    desk(helpdesk)
    with CaptureQueriesContext(connection) as few:
        desk(helpdesk)
    rows(40, last_seen_at=timezone.now() - 9 * DAY)
    with CaptureQueriesContext(connection) as many:
        desk(helpdesk)
    assert len(many) == len(few)


def test_a_large_fleet_is_not_counted_at_each_look(
    helpdesk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "SMALL", 1)
    figures.forget()
    try:
        desk(helpdesk)
        with CaptureQueriesContext(connection) as again:
            desk(helpdesk)
        counted = [one["sql"] for one in again.captured_queries if "held" in one["sql"]]
        assert counted == []
        assert len(again) < QUERIES
    finally:
        figures.forget()


QUERIES = 40  # of the desk when nothing is counted: mend what has become dearer before raising it


@pytest.mark.parametrize(
    ("address", "most"),
    [
        ("/devices/device/", 30),
        ("/devices/device/?q=row", 32),
        ("/devices/device/?view=needs", 30),
        ("/devices/device/?clear=any", 30),
        ("{device}", 58),
    ],
)
def test_a_page_asks_the_database_as_often_however_large_the_fleet_is(
    house: House, helpdesk: Client, address: str, most: int
) -> None:
    phone = house.device(house.enrolled_phone(name="till-1"))
    place = address.format(device=f"/devices/device/{phone.pk}/change/")
    counts: list[int] = []
    for _ in range(2):
        rows(20, group=house.group(f"Tills {len(counts)}"))
        helpdesk.get(place)
        with CaptureQueriesContext(connection) as captured:
            assert helpdesk.get(place).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1] <= most
