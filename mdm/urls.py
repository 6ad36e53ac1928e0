"""The staff site's addresses. The door has its own (`mdm/door/urls.py`)."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/", account.password_change, name="account_change_password"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path(
        "accounts/signup/", account.signup, name="account_signup"
    ),  # closed; the name is asked for
    path("", admin.site.urls),
]
