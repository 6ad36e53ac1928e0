"""The staff site's addresses. The door has its own (`mdm/door/urls.py`)."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from mdm.desk import invitations

urlpatterns = [
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/", account.password_change, name="account_change_password"),
    path("accounts/invited/<str:link>/", invitations.page, name="account_invited"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path(
        "accounts/signup/", account.signup, name="account_signup"
    ),  # closed; the name is asked for
    # The admin has pages of its own for this; there is one way, and it is audited.
    path("logout/", RedirectView.as_view(pattern_name="account_logout")),
    path("password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("password_change/done/", RedirectView.as_view(pattern_name="account_change_password")),
    path("", admin.site.urls),
]
handler403 = "mdm.desk.errors.forbidden"
handler404 = "mdm.desk.errors.not_found"
handler500 = "mdm.desk.errors.our_fault"
