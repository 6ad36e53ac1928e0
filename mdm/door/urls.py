"""The device door's addresses; nothing of the staff site is among them.

`SERVE` may split the door in two processes with different keys: one hears check-ins, the other
hands out commands.
"""

from django.conf import settings
from django.urls import URLPattern, path

from mdm.door import views as door
from mdm.enrollment import views as enrollment

CHECK_IN = [
    path("enroll/<str:token>", enrollment.profile, name="enroll"),
    path("scep", enrollment.certificates, name="scep"),
    path("mdm/checkin", door.checkin, name="checkin"),
]
CONNECT = [path("mdm/connect", door.connect, name="connect")]

urlpatterns: list[URLPattern] = {"checkin": CHECK_IN, "connect": CONNECT}.get(
    settings.SERVE, CHECK_IN + CONNECT
)

# A device reads a status, not a page.
handler400 = "mdm.door.views.bad_request"
handler403 = "mdm.door.views.forbidden"
handler404 = "mdm.door.views.not_found"
handler500 = "mdm.door.views.our_fault"
