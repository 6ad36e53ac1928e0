"""The project package is an app for its commands; the staff site is Django's admin under our name."""

import gc

from django.apps import AppConfig
from django.contrib.admin import apps as stock
from django.utils.module_loading import import_string


class MdmConfig(AppConfig):
    name = "mdm"
    default = True

    def ready(self) -> None:
        import_string("mdm.checks.register_all")()  # it knows tables, which are there only now
        gc.freeze()  # all of it is everybody's, and a worker's children share its memory
        gc.enable()


class DeskConfig(stock.AdminConfig):
    """The admin, with the staff site's own frame."""

    default = False
    default_site = "mdm.desk.site.Desk"
