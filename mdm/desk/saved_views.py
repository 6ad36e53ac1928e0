"""The views above a list: those of the product, one's own, and those that a role shares."""

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.exceptions import NotRegistered
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from devices.models import Device
from passcodes.admin.page import NOT_FOR_YOU, attempt
from passcodes.models import ClearRequest
from staff import saved_views
from staff.models import SavedView, User
from staff.permissions import Forbidden, person

# What every house needs: the name, and how the list is narrowed.
BUILT_IN: dict[type[Model], tuple[tuple[str, str], ...]] = {
    Device: (
        ("Needs somebody", "view=needs"),
        ("Overdue", "view=overdue"),
        ("Exposed", "view=exposed"),
        ("In grace", "view=grace"),
        ("Cannot be cleared", "clear=any"),
        ("Unreachable", "view=unreachable"),
        ("Something withheld", "view=withheld"),
    ),
    ClearRequest: (
        ("Waiting to be signed", "stage=waiting"),
        ("Under way", "stage=under_way"),
        ("Ended", "stage=over"),
    ),
}


def facts(user: User, model: type[Model], listed: str, query: str) -> dict[str, Any]:
    """What stands above the list of these."""
    here = saved_views.cleaned(query)
    seen = list(saved_views.seen(user, listed))
    there = [view for view in seen if view.dropped_at is None]
    mine = [view for view in there if view.person_id == user.pk]
    dropped = [view for view in seen if view.dropped_at is not None]
    built_in = BUILT_IN.get(model, ())
    is_named = here in {query for _, query in built_in} | {view.query for view in there}
    own = next((view for view in mine if view.query == here), None)
    may_keep = bool(here) and not is_named
    return {
        "here": here,
        "built_in": built_in,
        "views": sorted(there, key=lambda view: (view.person_id != user.pk, view.name.lower())),
        "has_tabs": bool(built_in or there),
        "own": own,
        "may_keep": may_keep,
        "dropped": max(dropped, key=_when, default=None),
        "roles": [group.name for group in user.groups.all()] if may_keep or own else [],
        "listed": listed,
    }


def _when(view: SavedView) -> Any:
    return view.dropped_at


def paths(site: AdminSite) -> list[URLPattern]:
    """Keeping a view, changing it, deleting it and bringing it back; each leads back to its list."""
    wrap = site.admin_view
    return [
        path("views/keep/", wrap(keep), name="view_keep"),
        path("views/<int:pk>/change/", wrap(change), name="view_change"),
        path("views/<int:pk>/drop/", wrap(drop), name="view_drop"),
        path("views/<int:pk>/bring-back/", wrap(bring_back), name="view_bring_back"),
    ]


@require_POST
def keep(request: HttpRequest) -> HttpResponse:
    sent, by = request.POST, person(request)
    opts = _list(request, sent.get("list", ""))
    query = saved_views.cleaned(sent.get("query", ""))
    kept = attempt(
        request,
        lambda: saved_views.keep(
            opts.label_lower,
            query,
            sent.get("name", ""),
            role=sent.get("role", ""),
            by=by,
        ),
        saved_views.Refused,
    )
    if kept:
        messages.success(request, f"Kept as «{kept}».")
    return redirect(_address(opts, query))


@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    name, role = request.POST.get("name", ""), request.POST.get("role", "")
    return _do(
        request,
        pk,
        lambda: saved_views.change(pk, name=name, role=role, by=person(request)),
    )


@require_POST
def drop(request: HttpRequest, pk: int) -> HttpResponse:
    return _do(request, pk, lambda: saved_views.drop(pk, by=person(request)))


@require_POST
def bring_back(request: HttpRequest, pk: int) -> HttpResponse:
    return _do(request, pk, lambda: saved_views.bring_back(pk, by=person(request)))


def _do(request: HttpRequest, pk: int, deed: Callable[[], SavedView]) -> HttpResponse:
    view = SavedView.objects.filter(pk=pk, person=person(request)).first()
    if view is None:
        raise Http404
    opts = _list(request, view.list)
    try:
        done = attempt(request, deed, saved_views.Refused)
    except SavedView.DoesNotExist:
        raise Http404 from None
    is_there = (done or view).dropped_at is None
    return redirect(_address(opts, view.query if is_there else ""))


def _list(request: HttpRequest, listed: str) -> Any:
    """The options of the model that is listed, if there is one and this person may see it."""
    try:
        page = admin.site.get_model_admin(apps.get_model(listed))
    except (LookupError, ValueError, NotRegistered):
        raise Http404 from None
    if not page.has_view_permission(request):
        raise Forbidden(NOT_FOR_YOU)
    return page.opts


def _address(opts: Any, query: str) -> str:
    listed = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return f"{listed}?{query}" if query else listed
