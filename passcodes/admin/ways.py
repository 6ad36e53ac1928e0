"""By which way each device has a policy, and why: the list behind a rollout's and a policy's numbers."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from passcodes import ways
from passcodes.admin.page import Page
from passcodes.models import Enforcement
from passcodes.rules import enforcement as rules
from passcodes.rules.enforcement import State
from passcodes.rules.ways import IN_WORDS, Way
from staff import permissions
from staff.permissions import person

SHOWN = 50


class WayPages(Page):
    """A page of devices with their ways, for whoever holds the rows."""

    def devices(
        self, request: HttpRequest, rows: QuerySet[Enforcement], title: str, **facts: Any
    ) -> HttpResponse:
        """Those of the rows whose devices the reader may see, filtered by way and by state."""
        visible = permissions.visible(person(request))
        chosen = ways.told(rows.filter(device__in=visible))
        way, state = request.GET.get("way", ""), request.GET.get("state", "")
        if way in set(Way):
            chosen = chosen.filter(way=way)
        if state in set(State):
            chosen = chosen.filter(state=state)
        pages = Paginator(chosen.select_related("device").order_by("device__name", "pk"), SHOWN)
        page = pages.get_page(request.GET.get("page"))
        return self.show(
            request,
            "admin/passcodes/ways.html",
            title,
            lines=[
                {
                    "device": row.device,
                    "state": rules.IN_WORDS[State(row.state)],
                    "said": ways.said(row),
                }
                for row in page.object_list
            ],
            page=page,
            number=pages.count,
            ways=[(one.value, words, one == way) for one, words in IN_WORDS.items()],
            states=[(one.value, rules.IN_WORDS[one], one == state) for one in sorted(rules.LIVE)],
            chosen={"way": way, "state": state},
            **facts,
        )
