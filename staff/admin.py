"""People: who may sign in, with which roles, for which devices. An admin gives them; nobody to themselves."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import (
    AdminPasswordChangeForm,
    UserCreationForm,
    UsernameField,
)
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from devices import audit
from devices.models import DeviceGroup
from staff.models import Scope, User
from staff.roles import ROLES

ONE_S_OWN = ("is_active", "groups", "everything", "device_groups")
MEANING = {
    "helpdesk": "Looks after devices, asks for clears, and says which were found.",
    "approver": "Signs clears that somebody else has asked for, or denies them.",
    "keeper": "Keeps the charter with another keeper: who counts at the vault, and its rules.",
    "author": "Writes policies, pushes them and withholds configuration.",
    "auditor": "Reads everything, changes nothing, takes the audit away.",
    "admin": "Lets devices in and out, gives roles; sees the charter.",
}

admin.site.unregister(
    Group
)  # the roles are written in staff/roles.py; a page could only break them


class Roles(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Any) -> SafeString:
        return format_html('{} <span class="quiet">{}</span>', obj.name, MEANING.get(obj.name, ""))


class PersonForm(forms.ModelForm):
    """Name, roles and scope in one form; the scope is a row of its own."""

    groups = Roles(
        Group.objects.filter(name__in=ROLES).order_by("name"),
        label="Roles",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    everything = forms.BooleanField(
        label="All devices", required=False, help_text="Also those that come later."
    )
    device_groups = forms.ModelMultipleChoiceField(
        DeviceGroup.objects.filter(rule=None),
        label="Or these groups",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Without a group and without all devices: none. Groups by rule are not among them: "
        "whoever may edit a tag would move devices into somebody’s reach.",
        error_messages={
            "invalid_choice": "This group is none that people put devices into, so it cannot say "
            "which devices somebody may act on."
        },
    )

    class Meta:
        model = User
        fields = ("username", "email", "is_active", "groups")
        field_classes = {"username": UsernameField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "username" in self.fields:
            self.fields["username"].label = "User name"
        if "is_active" in self.fields:
            self.fields["is_active"].label = "May sign in"
            self.fields["is_active"].help_text = "Taken away, it ends every session at once."
        scope = Scope.objects.filter(user=self.instance.pk).first() if self.instance.pk else None
        if scope:
            self.initial["everything"] = scope.everything
            self.initial["device_groups"] = list(scope.groups.all())

    def keep_scope(self, user: User) -> None:
        """Write the row of the scope, once the person has a number."""
        if "everything" not in self.cleaned_data:
            return
        scope, _ = Scope.objects.get_or_create(user=user)
        scope.everything = self.cleaned_data["everything"]
        scope.save(update_fields=["everything"])
        scope.groups.set(self.cleaned_data["device_groups"])


class OneSelfForm(PersonForm):
    """Nobody gives themselves roles or devices, or switches themselves off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ONE_S_OWN:
            if name in self.fields:
                self.fields[name].disabled = True  # what is posted for it is not looked at


class NewPersonForm(PersonForm, UserCreationForm):
    class Meta:
        model = User
        fields = ("username", "email", "groups")
        field_classes = {"username": UsernameField}

    def save(self, commit: bool = True) -> Any:
        self.instance.is_staff = True  # whoever has an account may see the desk
        return super().save(commit)


class NewPasswordForm(AdminPasswordChangeForm):
    """Gives a password and takes none away: who may not sign in is switched off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("usable_password", None)


class InRole(admin.SimpleListFilter):
    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*((role, role) for role in ROLES), ("none", "none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() == "none":
            return queryset.filter(groups=None)
        return queryset.filter(groups__name=self.value()) if self.value() else queryset


@admin.register(User)
class PersonAdmin(UserAdmin):
    form = PersonForm
    add_form = NewPersonForm
    change_password_form = NewPasswordForm
    change_user_password_template = "admin/staff/user/change_password.html"  # noqa: S105  a page
    add_form_template = "admin/staff/user/change_form.html"
    list_display = ("username", "roles", "acts_on", "signs_in", "last_login")
    list_filter = (InRole, "is_active")
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("username", "email")
    search_help_text = "Any part of a user name or an email address"
    filter_horizontal = ()
    actions = None
    show_full_result_count = False
    list_per_page = 50
    fieldsets = (
        (None, {"fields": ("username", "email", "is_active")}),
        ("What they may do", {"fields": ("groups",)}),
        ("Which devices they may act on", {"fields": ("everything", "device_groups")}),
        ("Since when", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "password1", "password2")}),
        ("What they may do", {"fields": ("groups",)}),
        ("Which devices they may act on", {"fields": ("everything", "device_groups")}),
    )
    read_fieldsets = (
        (None, {"fields": ("username", "email", "signs_in")}),
        ("What they may do", {"fields": ("roles",)}),
        ("Which devices they may act on", {"fields": ("acts_on",)}),
        ("Since when", {"fields": ("date_joined", "last_login")}),
    )
    readonly_fields = ("date_joined", "last_login", "signs_in", "roles", "acts_on")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        people = super().get_queryset(request)
        return people.select_related("scope").prefetch_related("groups", "scope__groups")

    @admin.display(description="Roles")
    def roles(self, person: User) -> str:
        return ", ".join(_roles(person)) or "none"

    @admin.display(description="Acts on")
    def acts_on(self, person: User) -> str:
        return _scope(person)

    @admin.display(description="May sign in", ordering="is_active")
    def signs_in(self, person: User) -> str:
        return "Yes" if person.is_active else "No, switched off"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.has_perm("staff.add_scope")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_change_permission(request, obj)
        may = may and request.user.has_perm("staff.change_scope")
        if may and obj is not None and obj.is_superuser:
            return bool(getattr(request.user, "is_superuser", False))
        return may

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # what a person did stays theirs; they are switched off

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return self.read_fieldsets
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None and obj.pk == request.user.pk:
            kwargs["form"] = OneSelfForm
        return super().get_form(request, obj, change=change, **kwargs)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        is_own = object_id == str(request.user.pk)
        context = {"is_own": is_own, "show_save_and_continue": False, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    # Writing, with a trace that says what changed. It takes the place of the admin's own log.

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        person = form.instance
        super().save_related(request, form, formsets, change)
        form.keep_scope(person)
        after = _stands(User.objects.get(pk=person.pk))
        if not change:
            given = [f"{name}: {words}" for name, words in after.items() if words]
            _trace(request, "staff.user_added", person, given)
        elif changed := [
            f"{name}: {form.was[name]} → {words}"
            for name, words in after.items()
            if form.was[name] != words
        ]:
            _trace(request, "staff.user_changed", person, changed)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            form.was = _stands(User.objects.get(pk=obj.pk))
        super().save_model(request, obj, form, change)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    @transaction.atomic
    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002  Django's name for it
        form_url: str = "",
    ) -> HttpResponse:
        """A new password for somebody else; one's own asks for the old one."""
        person = self.get_object(request, unquote(id))  # whichever way its number is spelt
        if person is not None and person.pk == request.user.pk:
            return redirect("account_change_password")
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:  # noqa: PLR2004  it was kept
            assert person is not None
            _trace(request, "staff.password_set", person, ["password"])
        return response


def _stands(person: User) -> dict[str, str]:
    return {
        "user name": person.username,
        "email": person.email,
        "may sign in": "yes" if person.is_active else "no",
        "roles": ", ".join(_roles(person)) or "none",
        "devices": _scope(person),
    }


def _roles(person: User) -> list[str]:
    return sorted(group.name for group in person.groups.all())


def _scope(person: User) -> str:
    scope = getattr(person, "scope", None)
    if person.is_superuser or (scope and scope.everything):
        return "all devices"
    names = [group.name for group in scope.groups.all()] if scope else []
    return ", ".join(names) or "no device"


def _trace(request: HttpRequest, verb: str, person: User, changed: list[str]) -> None:
    actor = request.user
    assert isinstance(actor, User)
    audit.record(verb, actor=actor, person=person.username, changed=changed)
