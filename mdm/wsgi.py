"""What a WSGI server loads: the staff site or the device door, as SERVE says."""

import os

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from passcodes.rules.enforcement import GRACE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mdm.settings")
application = get_wsgi_application()

if settings.VAULT_PRIVATE_KEY or settings.VAULT_ORDER_KEY or settings.VAULT_OLD_PRIVATE_KEYS:
    raise ImproperlyConfigured("A web process must not be able to see the vault's keys.")
if settings.SERVE not in {"staff", "devices", "checkin", "connect"}:
    raise ImproperlyConfigured(f"SERVE={settings.SERVE} is no web process.")
if settings.HOUR != GRACE and not settings.DEMO:
    raise ImproperlyConfigured("HOUR is Apple's: 3,600 seconds. Only the demo may scale it.")
