"""The staff site: Django's admin under our name, with our way of signing in."""

from django.contrib.admin import AdminSite


class Desk(AdminSite):
    site_title = "Passcodes"
    site_header = "Passcodes"
    index_title = "Desk"
