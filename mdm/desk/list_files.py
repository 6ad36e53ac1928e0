"""Takes a list away as a file: what the page has found, for whom it has found it, and a trace of that."""

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from devices import audit
from mdm.desk import export
from mdm.desk.lists import LISTS
from passcodes import acts
from passcodes.admin.page import NOT_FOR_YOU
from passcodes.models import Act
from staff.permissions import Forbidden, person


def paths(site: AdminSite) -> list[URLPattern]:
    """One address for the file of each list, beside the list's own."""
    return [
        path(
            f"{page.opts.app_label}/{page.opts.model_name}/csv/",
            site.admin_view(take),
            {"page": page},
            name=address_name(page.opts),
        )
        for page in map(site.get_model_admin, LISTS)
    ]


@require_POST
def take(request: HttpRequest, page: ModelAdmin) -> HttpResponseBase:
    """The file of a list; by a POST, since it leaves a trace."""
    if not page.has_view_permission(request):
        raise Forbidden(NOT_FOR_YOU)
    one = LISTS[page.model]
    found = one.from_page(_found(request, page))
    total = found.count()
    audit.record(
        "list.export",
        actor=person(request),
        list=one.file,
        format=export.CSV.suffix,
        entries=total,
        filters={name: value for name, value in request.GET.items() if value},
    )
    return export.answer(one.file, tuple(one.columns), one.rows(found), total=total)


def _found(request: HttpRequest, page: ModelAdmin) -> QuerySet[Any]:
    """What the page finds for this person, with its search, filters and order."""
    if page.model is Act:  # whose page is no list that can be narrowed
        return acts.visible(person(request))
    try:
        changelist = page.get_changelist_instance(request)
    except IncorrectLookupParameters:
        raise Http404 from None
    found: QuerySet[Any] = changelist.queryset
    return found


def address_name(opts: Any) -> str:
    """Of a list's file, by the model's options."""
    return f"{opts.app_label}_{opts.model_name}_csv"
