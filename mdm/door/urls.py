"""The device door's addresses; nothing of the staff site is among them."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
