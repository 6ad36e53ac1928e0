"""Who may sign, what the first policy is, and whether the first device is in."""

from collections.abc import Iterator

from django.urls import reverse

from devices.models import Device
from mdm.desk import alarms
from mdm.desk.first_checks import RESTART, Check
from passcodes import vault_says
from passcodes.models import Assignment, EscrowedToken, PolicyVersion, Rollout
from passcodes.rules.charter import Charter
from passcodes.rules.charter_changes import FEWEST_KEEPERS
from staff.models import SigningKey, User


def people() -> Iterator[Check]:
    """Each of the three kinds; what is next is said once."""
    charter = vault_says.charter()
    needed = charter.default.approvers if charter.version else 1
    approvers = "An approver is" if needed == 1 else f"{needed} approvers are"
    kinds = (
        ("keep", FEWEST_KEEPERS, "keeper", "Two keepers are registered, and known to the vault"),
        ("yes", needed, "approver", f"{approvers} registered, and known to the vault"),
        ("ask", 1, "helpdesk", "Somebody who may ask is registered, and known to the vault"),
    )
    unpinned, is_told = _unpinned(charter), False
    for says, least, role, text in kinds:
        who = sorted(_counts(charter, says))
        if len(who) >= least:
            yield Check(text, "yes", ", ".join(who))
            continue
        mend, command, link = _how(charter, unpinned, role)
        missing = _still(who, unpinned)
        yield (
            Check(text, "open", missing)
            if is_told
            else Check(text, "open", missing, None, mend, command, link)
        )
        is_told = True


def _counts(charter: Charter, role: str) -> set[str]:
    """Whose pinned passkey is one that is registered here and not revoked."""
    here = set(
        SigningKey.objects.filter(revoked_at=None).values_list("person__username", "fingerprint")
    )
    return {
        one.name
        for one in charter.people
        if role in one.roles and any((one.name, key.fingerprint) in here for key in one.keys)
    }


def _unpinned(charter: Charter) -> list[str]:
    """People with a passkey that the vault does not know."""
    known = {(one.name, key.fingerprint) for one in charter.people for key in one.keys}
    here = SigningKey.objects.filter(revoked_at=None, person__is_active=True)
    return sorted(
        {
            name
            for name, print_ in here.values_list("person__username", "fingerprint")
            if (name, print_) not in known
        }
    )


def _still(who: list[str], unpinned: list[str]) -> str:
    said = f"Only {', '.join(who)}." if who else "Nobody yet."
    if unpinned:
        said += f" Registered, and not known to the vault: {', '.join(unpinned)}."
    return said


def _how(
    charter: Charter, unpinned: list[str], role: str
) -> tuple[str, str, tuple[str, str] | None]:
    """What is next: come, register, be pinned; with the command where a console is needed."""
    if not unpinned:
        return (
            "Invite them; each opens the link, chooses a password and registers a passkey under «My signing passkeys».",
            f"manage.py invite NAME:{role}",
            ("People", reverse("admin:staff_user_changelist")),
        )
    if charter.version and len(_counts(charter, "keep")) >= FEWEST_KEEPERS:
        return (
            "Two keepers pin them. Each person reads the fingerprint aloud off the signing page.",
            "",
            ("Charter", reverse("admin:charter")),
        )
    deed = "recover" if charter.version else "genesis"
    pins = " ".join(f"--pin {name}:ROLE:'FINGERPRINT'" for name in unpinned)
    return (
        (
            "Two operators pin them at the vault’s console, with the vault stopped; roles are keep, "
            "yes and ask. Each person reads the fingerprint aloud off the signing page."
        ),
        f"manage.py vault_trust {deed} {pins}",
        None,
    )


def policy() -> Iterator[Check]:
    published = PolicyVersion.objects.exclude(published_at=None).select_related("policy")
    last = published.order_by("-published_at").first()
    page = ("Policies", reverse("admin:passcodes_policy_changelist"))
    yield Check(
        "A version is published",
        "yes" if last else "open",
        str(last) if last else "",
        last.published_at if last else None,
        f"An author writes it from a preset. {ask_whom('author')}",
        link=page,
    )
    pushed = (
        Rollout.objects.filter(groups__isnull=False)
        .select_related("version__policy")
        .order_by("-pk")
        .first()
    )
    has = pushed or Assignment.objects.first()
    yield Check(
        "It was pushed to a group",
        "yes" if has else "open",
        str(pushed.version) if pushed else "",
        None,
        f"An author pushes it to a group; who joins that group gets it. {ask_whom('author')}",
        link=("The version", reverse("admin:passcodes_policyversion_change", args=[last.pk]))
        if last
        else None,
    )


def ask_whom(role: str) -> str:
    """Whom to ask for what this role does."""
    names = User.objects.filter(is_active=True, groups__name=role).order_by("username")
    found = list(names.values_list("username", flat=True)[:3])
    return f"Ask {' or '.join(found)}." if found else f"Nobody has the role {role} yet."


def device() -> Iterator[Check]:
    first = Device.objects.enrolled().order_by("enrolled_at").first()
    yield Check(
        "A device has enrolled, and answers",
        "yes" if first and first.last_seen_at else "open",
        f"{first}, as the first" if first else "",
        first.last_seen_at if first else None,
        "" if first else "Make a link and open it on the device, in Safari.",
        link=None if first else ("Make a link", reverse("admin:devices_enrollmentlink_add")),
    )
    token = (
        EscrowedToken.objects.filter(current=True).select_related("device").order_by("pk").first()
    )
    yield Check(
        "An unlock token is in escrow",
        "yes" if token else "open",
        f"Of {token.device}" if token else "",
        token.received_at if token else None,
        "An iPhone or iPad sends it with its first check-in, if it has a passcode or sets one.",
    )
    last = alarms.selftest()
    opens = last.facts.get("opens") if last else None
    yield Check(
        "The vault opens what the door has sealed",
        {"yes": "yes", "no": "no"}.get(str(opens), "open"),
        f"{last.facts.get('opened')} of {last.facts.get('tried')} tried"
        if last and opens in {"yes", "no"}
        else "The vault tries when it starts, and each hour.",
        last.at if last else None,
        "The vault’s key is not the one that the door seals to: see Keys, above."
        if opens == "no"
        else "",
        RESTART if opens == "no" else "",
    )
