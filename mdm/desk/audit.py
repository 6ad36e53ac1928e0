"""The auditor's page: who did what, newest first, in sentences; found, narrowed and taken away as a file."""

import json
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.paginator import Paginator
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from devices import audit
from devices.models import AuditEntry, Device
from mdm.desk import export, history
from passcodes import chain
from staff import permissions
from staff.permissions import person

COUNTED_TO = 10_000  # entries; who wants older ones says when
COLUMNS = (
    "number",
    "at",
    "kind",
    "verb",
    "sentence",
    "actor",
    "device",
    "serial",
    "device_name",
    "facts",
)
TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clears": ("Clears", ("clear.", "escrow.")),
    "policies": ("Policies and the hour", ("policy.", "rollout.", "enforcement.", "declaration.")),
    "withheld": ("Withheld configuration", ("configuration.", "gate.")),
    "devices": ("Devices", ("device.", "user.", "group.", "door.")),
    "house": ("Enrollment and push", ("enrollment.", "identity.", "push")),
    "people": ("People and sign-ins", ("staff.", "audit.")),
}


class Choice(admin.SimpleListFilter):
    """A filter that stands in the form above the list; what it does not know narrows nothing."""

    title = ""

    def has_output(self) -> bool:
        return True  # even without choices of its own

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return ()


class Kind(Choice):
    parameter_name = "kind"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        wanted = self.value()
        return queryset.filter(history.of_kind(wanted)) if wanted in history.KINDS else queryset


class Topic(Choice):
    parameter_name = "topic"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        _, beginnings = TOPICS.get(self.value() or "", ("", ()))
        wanted = Q()
        for beginning in beginnings:
            wanted |= Q(verb__startswith=beginning)
        return queryset.filter(wanted)


class Since(Choice):
    parameter_name = "since"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        begins = _day(self.value())
        return queryset.filter(at__gte=_midnight(begins)) if begins else queryset


class Until(Choice):
    parameter_name = "until"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        ends = _day(self.value())
        return queryset.filter(at__lt=_midnight(ends + timedelta(1))) if ends else queryset


class Counted(Paginator):
    """Counts no further than anybody leafs, so that a long audit opens as fast as a short one."""

    @cached_property
    def count(self) -> int:
        entries = self.object_list
        assert isinstance(entries, QuerySet)
        return entries.order_by()[:COUNTED_TO].count()


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    list_display = ("verb",)
    list_filter = (Kind, Topic, Since, Until)
    list_select_related = ("device",)
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = Counted
    actions = None
    search_fields = ("verb", "actor_name")
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # what happens is recorded where it happens

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # by nobody

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # likewise

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Entries of the devices that this person may see, and those of no device."""
        seen = permissions.visible(person(request))
        return AuditEntry.objects.filter(Q(device=None) | Q(device__in=seen.values("pk")))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {"device__id__exact", "verb"} or super().lookup_allowed(
            lookup, value, request
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Each word must be in a verb, its sentence, a person's name or something of the device."""
        for word in search_term.split():
            devices = permissions.visible(person(request)).filter(
                Q(serial__icontains=word)
                | Q(name__icontains=word)
                | Q(user_name__icontains=word)
                | Q(udid__icontains=word)
            )
            verbs = [
                verb for verb, said in history.SENTENCES.items() if word.lower() in said.lower()
            ]
            queryset = queryset.filter(
                Q(verb__icontains=word)
                | Q(verb__in=verbs)
                | Q(actor_name__icontains=word)
                | Q(device__in=devices.values("pk"))
            )
        return queryset, False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("export/csv/", wrap(self.export), {"shape": "csv"}, name="audit_export_csv"),
            path(
                "export/jsonl/", wrap(self.export), {"shape": "jsonl"}, name="audit_export_jsonl"
            ),
            *super().get_urls(),
        ]

    # The list.

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            context = response.context_data
            assert context is not None
            changelist = context["cl"]
            context |= {
                "title": "Audit",
                "lines": history.lines(changelist.result_list),
                "newer": _leaf(changelist, changelist.page_num - 1),
                "older": _leaf(changelist, changelist.page_num + 1),
                "is_counted_out": changelist.result_count >= COUNTED_TO,
                "kinds": [(kind, words) for kind, (words, _) in history.KINDS.items()],
                "topics": [(topic, words) for topic, (words, _) in TOPICS.items()],
                "chosen": request.GET,
                "of_device": self._one_device(request),
                "standing": chain.standing(chain.own_keys()),
                "may_export": request.user.has_perm("devices.export_audit"),
                "query": request.GET.urlencode(),
            }
        return response

    def _one_device(self, request: HttpRequest) -> Device | None:
        number = request.GET.get("device__id__exact", "")
        if not number.isdecimal():
            return None
        return permissions.visible(person(request)).filter(pk=number).first()

    # One entry.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        try:
            entry = self.get_queryset(request).select_related("device").get(pk=int(object_id))
        except (AuditEntry.DoesNotExist, ValueError):
            raise Http404 from None
        names = history.Names([entry])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Entry {entry.pk}",
            "line": history.lines([entry])[0],
            "entry": entry,
            "kind": history.KINDS[history.kind(entry)][0],
            "facts": [(fact, _whole(fact, value, names)) for fact, value in entry.facts.items()],
        }
        return TemplateResponse(request, "admin/devices/auditentry/change_form.html", context)

    # Taking it away.

    @method_decorator(require_POST)
    def export(self, request: HttpRequest, shape: str) -> StreamingHttpResponse:
        """The entries of the list as it is narrowed, oldest first, as a file; and a trace of that."""
        user = person(request)
        permissions.require(user, "devices.view_auditentry")
        permissions.require(user, "devices.export_audit")
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            raise Http404 from None
        entries = changelist.queryset.select_related("device").order_by("at", "pk")
        newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        entries = entries.filter(pk__lte=newest)
        total = entries.count()
        audit.record(
            "audit.export",
            actor=user,
            format=shape,
            entries=total,
            filters={name: value for name, value in request.GET.items() if value},
        )
        rows = map(_cells, entries.iterator(chunk_size=export.AT_ONCE))
        return export.answer("audit", COLUMNS, rows, total=total, shape=SHAPES[shape])


SHAPES = {shape.suffix: shape for shape in (export.CSV, export.JSON_LINES)}


def _cells(entry: AuditEntry) -> export.Row:
    row = _row(entry)
    return [row[column] for column in COLUMNS]


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.pk,
        "at": entry.at.isoformat(),
        "kind": history.kind(entry),
        "verb": entry.verb,
        "sentence": history.sentence(entry.verb),
        "actor": entry.actor_name,
        "device": entry.device_id,
        "serial": entry.device.serial if entry.device else None,
        "device_name": entry.device.name if entry.device else None,
        "facts": entry.facts,
    }


def _whole(fact: str, value: Any, names: history.Names) -> str:
    """A fact with nothing left out: its words, and what lies beneath where they differ."""
    words = names.said(fact, value)
    if isinstance(value, dict):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
    if isinstance(value, list) and fact == "devices":
        return ", ".join(str(one) for one in value) or "–"
    return words or "–"


def _leaf(changelist: ChangeList, number: int) -> str:
    """The address of another page, as narrowed as this one; empty where there is none."""
    if not 1 <= number <= changelist.paginator.num_pages:
        return ""
    return str(changelist.get_query_string({PAGE_VAR: number}))


def _day(value: str | None) -> date | None:
    try:
        return parse_date(value or "")
    except ValueError:
        return None  # well formed, but no such day


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
