"""What the staff site's pages have in common: rows that are read, deeds, and refusals in words.

A page hides what its process would refuse; the process asks again, and its refusal is shown as it is.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from staff.permissions import Forbidden

Answer = TypeVar("Answer")
View = Callable[..., HttpResponseBase]
Deed = tuple[str, View, str]  # a route below the list, its view, its name

NOT_FOR_YOU = "This page is not for your role."


class Page(admin.ModelAdmin):
    """A model whose rows are read, and change by deeds alone: nothing is edited or deleted in place."""

    actions = None
    show_full_result_count = False
    list_per_page = 50

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list, one row and its deeds; none of the stock pages for editing."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", self.behind(self.changelist_view), name=f"{name}_changelist"),
            path("<int:pk>/change/", self.behind(self.page), name=f"{name}_change"),
            *(
                path(route, self.behind(view), name=view_name)
                for route, view, view_name in self.deeds()
            ),
        ]

    def deeds(self) -> list[Deed]:
        return []

    def page(self, request: HttpRequest, pk: int) -> HttpResponse:
        raise Http404

    def behind(self, view: View) -> View:
        """The view behind the sign-in and the right to see the model; who lacks it gets a 403 in words."""

        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise Forbidden(NOT_FOR_YOU)
            return view(request, *args, **kwargs)

        return self.admin_site.admin_view(answer)

    def show(
        self, request: HttpRequest, template: str, title: str, **facts: Any
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            **facts,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, context)


def posted(request: HttpRequest) -> QueryDict | None:
    """What was sent; an empty form that was sent is not the same as none."""
    return request.POST if request.method == "POST" else None


def attempt(
    request: HttpRequest, deed: Callable[[], Answer], *refusals: type[Exception]
) -> Answer | None:
    """Do it; a refusal is shown as it stands, and the answer is None."""
    expected: tuple[type[Exception], ...] = (Forbidden, *refusals)
    try:
        return deed()
    except expected as refused:
        messages.error(request, str(refused))
        return None
