"""The staff site's addresses. The door has its own (`mdm/door/urls.py`)."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.account.urls")),
    path("", admin.site.urls),
]
