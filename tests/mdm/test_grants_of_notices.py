"""Notices under each process's own login: laid down by all, sent and forgotten by the worker."""

from pytest_django import Settings

from devices import notices as sending
from devices.models import Notice
from passcodes import notices
from tests import clears
from tests.house import House
from tests.mailbox import open_mailbox
from tests.mdm.test_grants import apart, granted, role
from tests.notices import use, with_address
from tests.scenes import STRONG

__all__ = ["apart", "granted"]


def test_t23_notices_are_laid_down_and_sent_with_roles_apart(
    apart: House, settings: Settings
) -> None:
    with_address(apart.helpdesk, apart.approver, apart.admin)
    phone = apart.enrolled_phone(passcode=STRONG)
    with open_mailbox() as box:
        with role("worker"):
            use(settings, box)
        with role("staff"):
            clears.ask_for(phone, by=apart.helpdesk)
        apart.clock.forward(minutes=31)
        with role("worker"):
            assert notices.tend_due() == 2  # a reminder, and a vault that is silent
        apart.tick()
        phone.enroll()  # it checks in anew, and the request is void
        with role("staff"):
            asked = clears.ask_for(phone, by=apart.helpdesk)
            clears.approve(asked.pk, by=apart.approver)
        apart.tick()
        apart.tick()
    told = Notice.objects.values_list("person__username", "kind", "state").distinct()
    assert set(told) == {
        ("approver", "sign", "sent"),
        ("approver", "sign", "dropped"),
        ("approver", "reminder", "sent"),
        ("admin", "alarm", "sent"),
        ("helpdesk", "ended", "sent"),
        ("helpdesk", "opened", "sent"),
    }
    assert len(box.letters) == len(told) - 1
    with role("staff"):
        sending.wish_mail(wanted=False, by=apart.approver)
        sending.again(Notice.objects.filter(state="dropped")[0].pk, by=apart.admin)
    apart.clock.forward(days=91)
    with role("worker"):
        assert sending.forget_due()
