"""What stands above every list: its views, and its file."""

from typing import Any

from django import template
from django.urls import reverse

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
