"""What stands above every list: its views, and its file."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from mdm.desk import saved_views
from mdm.desk.list_files import address_name
from mdm.desk.lists import LISTS
from staff.permissions import person

register = template.Library()


@register.inclusion_tag("desk/list_tools.html", takes_context=True)
def list_tools(context: template.RequestContext, cl: Any) -> dict[str, Any]:
    """The views of the list as it is shown, and the file of what it shows."""
    request = context.request
    query = request.GET.urlencode()
    file = reverse(f"admin:{address_name(cl.opts)}") if cl.model in LISTS else ""
    return {
        **saved_views.facts(person(request), cl.model, cl.opts.label_lower, query),
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "list_address": reverse(f"admin:{cl.opts.app_label}_{cl.opts.model_name}_changelist"),
        "file": f"{file}?{query}" if file and query else file,
        "count": cl.result_count,
        "is_narrowed": bool(query),
    }


@register.filter
def labelled(row: Iterable[str], headers: Iterable[Mapping[str, Any]]) -> list[str]:
    """The cells of a row, each with the name of its column: on a phone a row is a card without a head."""
    return [_with_label(cell, header) for cell, header in zip(row, headers, strict=True)]


def _with_label(cell: str, header: Mapping[str, Any]) -> str:
    """The box to tick and the name of the row need none; a cell is HTML of the admin's own."""
    if not cell.startswith("<td") or "action-checkbox" in cell[:40]:
        return cell
    rest = SafeString(cell.removeprefix("<td"))
    return format_html('<td data-label="{}"{}', capfirst(str(header["text"])), rest)
