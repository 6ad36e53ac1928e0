"""What a WSGI server loads: the staff site or the device door, as SERVE says."""

import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mdm.settings")
application = get_wsgi_application()

if settings.VAULT_PRIVATE_KEY or settings.VAULT_ORDER_KEY or settings.SERVE in {"vault", "worker"}:
    raise ImproperlyConfigured("A web process must not be able to see the vault's keys.")
