"""Every setting, and the only file that reads the environment.

In the order in which a person sets up the house: which process this is, where its memory is, who may
call it, which keys it holds. What a process must have and has not is said by name, with the reason.
"""

import gc
import secrets
import sys
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

# What a process loads stays until its end: nobody looks through it for rings until all is there (MdmConfig).
gc.disable()

ROOT = Path(__file__).resolve().parent.parent

env = environ.FileAwareEnv()  # FOO_FILE=/run/secrets/foo works for every FOO
if env_file := env.str("ENV_FILE", default=""):
    if not Path(env_file).is_file():
        raise ImproperlyConfigured(f"ENV_FILE names {env_file}, and there is no such file.")
    env.read_env(env_file)


def needed(name: str, why: str) -> str:
    """The value of an environment variable without which this process must not run."""
    value = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: {why} ({name}_FILE may name a file.)")
    return str(value)


def webhook(text: str) -> tuple[str, str]:
    """`slack=https://…` in its two halves. An address is a password, so it is never quoted."""
    channel, _, address = (part.strip() for part in text.partition("="))
    if channel not in {"slack", "teams", "webhook"}:
        raise ImproperlyConfigured(
            "NOTICE_WEBHOOKS: each begins with slack=, teams= or webhook=, and then its address."
        )
    if not address.startswith("https://") and not (DEMO and address.startswith("http://")):
        raise ImproperlyConfigured(f"NOTICE_WEBHOOKS: {channel} must begin with https://.")
    if not is_address(address):
        raise ImproperlyConfigured(
            f"NOTICE_WEBHOOKS: {channel} is no address that can be posted to. It names a host, in ASCII, "
            "and no user before it."
        )
    return channel, address


def is_address(text: str) -> bool:
    """Whether nothing that is to go there fails on how it is written."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its words quote the address
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return is_plain and port != 0 and bool(parts.hostname) and parts.username is None


def network(text: str) -> IPv4Network | IPv6Network:
    """An address or a network as a person writes it."""
    try:
        return ip_network(text.strip())
    except ValueError as fault:
        raise ImproperlyConfigured(f"TRUSTED_PROXIES: {fault}.") from None


# Which process this is.

PROCESSES = (
    "staff",
    "devices",
    "checkin",
    "connect",
    "worker",
    "clock",
    "vault",
    "owner",
    "setup",
)
SERVE = needed("SERVE", f"it says which process this is, one of {', '.join(PROCESSES)}.")
if SERVE not in PROCESSES:
    raise ImproperlyConfigured(f"SERVE is {SERVE!r}; it must be one of {', '.join(PROCESSES)}.")
IS_DOOR = SERVE in {"devices", "checkin", "connect"}
HAS_PAGES = SERVE in {"staff", "owner"}  # the owner serves nobody, and migrates every app's tables

DEBUG = False
DEMO = env.bool("DEMO", default=False)
SEED_PASSWORDS = (
    env.str("SEED_PASSWORDS", default="") if DEMO else ""
)  # JSON, for `seed_demo` alone
ORGANISATION = env.str("ORGANISATION", default="Passcodes")
# What a lost device shows; a number that answers is what brings it back.
LOST_MESSAGE = env.str(
    "LOST_MESSAGE", default=f"This device belongs to {ORGANISATION}. It is lost. Please call us."
)
LOST_PHONE = env.str("LOST_PHONE", default="")
SECRET_KEY = (
    secrets.token_urlsafe(48)  # `manage.py setup` signs nothing
    if SERVE == "setup"
    else needed("SECRET_KEY", "sessions and forms are signed with it.")
)

# Its memory.

DATABASES: dict[str, Any] = {}
if SERVE not in {"clock", "setup"}:  # the one only ticks, the other makes the house
    DATABASES["default"] = {
        **env.db_url_config(
            needed("DATABASE_URL", "everything is remembered in PostgreSQL: postgres://…")
        ),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
    # The IT policy page says which processes there are.
    DATABASES["default"].setdefault("OPTIONS", {})["application_name"] = f"passcodes {SERVE}"
# Each process has a login of its own, made by `manage.py grants`, which the owner of the tables runs.
ROLE_PREFIX = env.str("ROLE_PREFIX", default="passcodes_")
ROLE_PASSWORDS = {
    role: env.str(f"ROLE_PASSWORD_{role.upper()}", default="")
    for role in ("staff", "devices", "checkin", "connect", "worker", "vault")
    if SERVE == "owner"
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",  # rate limits hold for all processes
        "LOCATION": "cache",
    },
}

# The parts.

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "devices",
    "staff",
    "passcodes",
    "mdm",
]
MIDDLEWARE: list[str] = []
WSGI_APPLICATION = "mdm.wsgi.application"
AUTH_USER_MODEL = "staff.User"

if SERVE == "vault":
    INSTALLED_APPS += ["vault"]
if IS_DOOR:
    ROOT_URLCONF = "mdm.door.urls"
if HAS_PAGES:
    ROOT_URLCONF = "mdm.urls"
    INSTALLED_APPS = [
        "mdm.apps.DeskConfig",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.humanize",
        "django.contrib.staticfiles",
        "allauth",
        "allauth.account",
        "csp",
        *INSTALLED_APPS,
    ]
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "allauth.account.middleware.AccountMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "csp.middleware.CSPMiddleware",
    ]

TEMPLATES: list[dict[str, Any]] = []  # only people read pages; a device gets none
if HAS_PAGES:
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [ROOT / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        },
    ]

# Who may call it, and how.

STAFF_URL = env.str("STAFF_URL", default="")  # https://passcodes.example.org
DOOR_URL = env.str(
    "DOOR_URL", default=""
)  # https://mdm.example.org: cannot change once a device is in
if SERVE == "staff":
    needed("STAFF_URL", "people reach the staff site there: https://passcodes.example.org")
    needed("DOOR_URL", "enrollment links lead there: https://mdm.example.org")
if IS_DOOR:
    needed("DOOR_URL", "devices reach the door there: https://mdm.example.org")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost"])
# Where people sign: an origin of its own, neither parent nor child of the staff site's.
SIGN_URL = env.str("SIGN_URL", default="").rstrip("/")  # https://sign.example.org
DOOR_TLS_AUTHORITY = env.str(
    "DOOR_TLS_AUTHORITY", default="", multiline=True
)  # PEM: the door's TLS hangs on it, and enrolled devices then accept no other
TRUSTED_PROXIES = [  # addresses or networks whose Client-Cert header (RFC 9440) is believed
    network(one) for one in env.list("TRUSTED_PROXIES", default=[])
]
MDM_SIGNATURE_ALLOWS_SHA1 = env.bool("MDM_SIGNATURE_ALLOWS_SHA1", default=DEMO)  # old systems
SCEP_ALLOWS_OLD_CRYPTO = env.bool("SCEP_ALLOWS_OLD_CRYPTO", default=DEMO)  # single DES, SHA-1
NETWORK_USERS = env.str("NETWORK_USERS", default="decline")  # or accept, or digest
if NETWORK_USERS not in {"decline", "accept", "digest"}:
    raise ImproperlyConfigured(
        f"NETWORK_USERS is {NETWORK_USERS!r}; it must be decline, accept or digest."
    )
NETWORK_USERS_REALM = env.str("NETWORK_USERS_REALM", default=ORGANISATION)
NETWORK_USERS_REFUSED_BY_410 = env.bool(
    "NETWORK_USERS_REFUSED_BY_410", default=False
)  # a wrong digest; Apple says both 410 and an empty AuthToken
CSRF_TRUSTED_ORIGINS = [STAFF_URL] if STAFF_URL else []
IS_HTTPS = STAFF_URL.startswith("https://") if SERVE == "staff" else True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = IS_HTTPS and SERVE == "staff"
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_HTTPS
SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_AGE = 60 * 60 * 10  # a working day
CSRF_COOKIE_SECURE = IS_HTTPS
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF, *([SIGN_URL] if SIGN_URL else [])],  # a form may lead on to sign
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    },
}

# How many proxies stand before the staff site: sign-in limits count by the address that they forward.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("PROXIES_BEFORE_STAFF", default=0)

AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "mdm.desk.accounts.Adapter"  # nobody signs up; failed sign-ins are audited
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 0  # a sign-off asks for the password again each time

# Escrow. Who holds which key is drawn in docs/threat-model.md; public keys come from here, never from a row.

VAULT_PUBLIC_KEY = env.str("VAULT_PUBLIC_KEY", default="")
VAULT_VERIFY_KEY = env.str("VAULT_VERIFY_KEY", default="")
VAULT_PRIVATE_KEY = env.str("VAULT_PRIVATE_KEY", default="")  # the vault process only
VAULT_OLD_PRIVATE_KEYS = env.list("VAULT_OLD_PRIVATE_KEYS", default=[])  # until all is resealed
VAULT_ORDER_KEY = env.str("VAULT_ORDER_KEY", default="")  # likewise
VAULT_STATE = env.str("VAULT_STATE", default="")
AUDIT_HEAD_FILE = env.str(
    "AUDIT_HEAD_FILE", default=""
)  # the vault adds a signed head every five minutes; keep it where no database reaches
# The same to a syslog server (udp://host:514, tcp://host:601, unix:///dev/log) and as a POST of JSON.
AUDIT_HEADS_SYSLOG = env.str("AUDIT_HEADS_SYSLOG", default="")
AUDIT_HEADS_WEBHOOK = env.str("AUDIT_HEADS_WEBHOOK", default="")
for setting, address, kinds in (
    ("AUDIT_HEADS_SYSLOG", AUDIT_HEADS_SYSLOG, ("udp://", "tcp://", "unix:///")),
    ("AUDIT_HEADS_WEBHOOK", AUDIT_HEADS_WEBHOOK, ("https://", "http://")),
):
    if address and not address.startswith(kinds):  # it may hold a secret, so it is not quoted
        raise ImproperlyConfigured(f"{setting} must begin with {', '.join(kinds)}.")
# The vault's own mail: smtp://, smtp+tls:// (STARTTLS) or smtp+ssl://, with user and password if need be.
VAULT_MAIL: dict[str, Any] = {}
if SERVE == "vault" and (_mail := env.str("VAULT_MAIL", default="")):
    VAULT_MAIL = env.email_url_config(_mail)
VAULT_MAIL_FROM = env.str("VAULT_MAIL_FROM", default="")
VAULT_MAIL_TO = env.list(
    "VAULT_MAIL_TO", default=[]
)  # the house's own mailboxes, told of everything
VAULT_PINS_AT_ONCE = env.bool("VAULT_PINS_AT_ONCE", default=False)  # the demo alone
DOOR_PUBLIC_KEY = env.str("DOOR_PUBLIC_KEY", default="")
DOOR_PRIVATE_KEY = env.str("DOOR_PRIVATE_KEY", default="")
DOOR_STATE = env.str(
    "DOOR_STATE", default=""
)  # a folder of the door's own, where it notes which orders have served
DOOR_FORMER_KEY = env.str("DOOR_FORMER_KEY", default="")  # until `door_rotate` finds nothing left
WORKER_PUBLIC_KEY = env.str("WORKER_PUBLIC_KEY", default="")
WORKER_PRIVATE_KEY = env.str("WORKER_PRIVATE_KEY", default="")
CA_CERTIFICATE = env.str("CA_CERTIFICATE", default="", multiline=True)
CA_PRIVATE_KEY = env.str("CA_PRIVATE_KEY", default="", multiline=True)

# What each process must hold, and which keys it must never be able to see.
MUST_HOLD = {
    "staff": ("SIGN_URL",),
    "devices": (
        "VAULT_PUBLIC_KEY",
        "VAULT_VERIFY_KEY",
        "DOOR_PRIVATE_KEY",
        "CA_CERTIFICATE",
        "CA_PRIVATE_KEY",
    ),
    "checkin": ("VAULT_PUBLIC_KEY", "CA_CERTIFICATE", "CA_PRIVATE_KEY"),
    "connect": ("VAULT_VERIFY_KEY", "DOOR_PRIVATE_KEY", "CA_CERTIFICATE"),
    "worker": ("WORKER_PRIVATE_KEY",),
    "clock": (),
    "owner": (),
    "setup": (),
    "vault": (
        "VAULT_PRIVATE_KEY",
        "VAULT_ORDER_KEY",
        "VAULT_STATE",
        "DOOR_PUBLIC_KEY",
        "SIGN_URL",
    ),
}
MAY_HOLD = {
    "vault": ("VAULT_OLD_PRIVATE_KEYS",),
    "devices": ("DOOR_FORMER_KEY",),
    "connect": ("DOOR_FORMER_KEY",),
}
PRIVATE = (
    "VAULT_PRIVATE_KEY",
    "VAULT_OLD_PRIVATE_KEYS",
    "VAULT_ORDER_KEY",
    "DOOR_PRIVATE_KEY",
    "DOOR_FORMER_KEY",
    "WORKER_PRIVATE_KEY",
    "CA_PRIVATE_KEY",
)
for name in MUST_HOLD[SERVE]:
    needed(
        name, f"the process SERVE={SERVE} cannot do its work without it; see `manage.py keygen`."
    )
for name in PRIVATE:
    if name not in (*MUST_HOLD[SERVE], *MAY_HOLD.get(SERVE, ())) and globals()[name]:
        raise ImproperlyConfigured(
            f"{name} is visible to SERVE={SERVE}, which must not hold it. Remove it from this environment."
        )

# How long a retired token stays sealed before it is shredded.

TOKENS_KEPT_DAYS = env.int("TOKENS_KEPT_DAYS", default=30)
if TOKENS_KEPT_DAYS < 1:
    raise ImproperlyConfigured("TOKENS_KEPT_DAYS must be 1 or more.")

# Waking devices.

APNS_TRANSPORT = "devices.apns.apple.Apple"
APNS_HOST = env.str("APNS_HOST", default="api.push.apple.com")
APNS_PORT = env.int("APNS_PORT", default=443)
APNS_CA = env.str("APNS_CA", default="")  # a file; empty: the system's authorities

# Mail to people, sent by the worker alone: smtp://, smtp+tls:// (STARTTLS) or smtp+ssl://, with user and
# password if need be. Without it nobody is written to. The vault has mail of its own.

EMAIL_URL = env.str("EMAIL_URL", default="") if SERVE == "worker" else ""
EMAIL: dict[str, Any] = env.email_url_config(EMAIL_URL) if EMAIL_URL else {}
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
if DEMO and EMAIL_URL.startswith("filemail:"):  # the demo has no mail server
    EMAIL_BACKEND, EMAIL_FILE_PATH = EMAIL["EMAIL_BACKEND"], EMAIL["EMAIL_FILE_PATH"]
EMAIL_HOST = EMAIL.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = EMAIL.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = EMAIL.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = EMAIL.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = bool(EMAIL.get("EMAIL_USE_TLS"))
EMAIL_USE_SSL = bool(EMAIL.get("EMAIL_USE_SSL"))
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="passcodes@localhost")
# Notices for a whole team, likewise: slack=https://…, teams=https://…, webhook=https://…
NOTICE_WEBHOOKS: list[tuple[str, str, str]] = []  # name, channel, address
if SERVE == "worker":
    for _channel, _address in map(webhook, env.list("NOTICE_WEBHOOKS", default=[])):
        _same = sum(_channel == _one for _, _one, _ in NOTICE_WEBHOOKS)
        _name = f"{_channel} {_same + 1}" if _same else _channel
        NOTICE_WEBHOOKS.append((_name, _channel, _address))

# Silence. Staff may set another number on the page «Rules of the house».

INACTIVE_AFTER = env.int("INACTIVE_AFTER", default=7)  # days

# The hour. 3,600 s is Apple's; only the demo and the tests scale it.

HOUR = timedelta(seconds=env.int("HOUR", default=3600))

# Devices that can, get a policy as a declaration and report by themselves; False: all get profiles.

DECLARATIVE = env.bool("DECLARATIVE", default=True)

# The clock.

REDIS_URL = env.str("REDIS_URL", default="")
if SERVE in {"worker", "clock"}:
    needed("REDIS_URL", "the clock's ticks travel through Redis: redis://…")
CELERY: dict[str, Any] = {
    "broker_url": REDIS_URL,
    "broker_transport_options": {
        "visibility_timeout": 300,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    },
    "broker_connection_retry_on_startup": True,
    "task_ignore_result": True,
    "task_time_limit": 120,
    "task_soft_time_limit": 100,
    # No limit: ticks expire by themselves, and a slot whose acknowledgement was lost with Redis would
    # never be free again, so that a worker with one slot stayed deaf for ever.
    "worker_prefetch_multiplier": 0,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    # Celery would close the database's session around each task, several times a second; who closes it, and
    # when, stands in `mdm/celery.py`.
    "CELERY_DB_REUSE_MAX": sys.maxsize,
    "timezone": "UTC",
}
CELERY_BEAT_SCHEDULE: dict[str, Any] = {
    "give new audit entries their place in the chain": {
        "task": "devices.tasks.link_the_audit",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
    "send notices that wait": {
        "task": "devices.tasks.send_notices",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
    "remind of what waits, and tell of what burns": {
        "task": "passcodes.tasks.tend_notices",
        "schedule": 15.0,
        "options": {"expires": 15.0},
    },
    "push to devices that are due": {
        "task": "devices.tasks.push_due_devices",
        "schedule": 1.0,
        "options": {"expires": 1.0},  # a late tick is worth nothing
    },
    "renew identities that end soon": {
        "task": "devices.tasks.renew_identities",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "warn as the end of the push certificate comes near": {
        "task": "devices.tasks.warn_of_the_push_certificates_end",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
    "try what the setup page has asked for": {
        "task": "devices.tasks.try_what_was_asked",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
    "ask silent devices for a sign of life": {
        "task": "devices.tasks.probe_silent_devices",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "shut the gate for devices that were silent too long": {
        "task": "passcodes.tasks.shut_the_gate_for_inactive_devices",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "ask devices which profiles and rules are on them": {
        "task": "passcodes.tasks.ask_what_is_there",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "take the marks off devices that were found": {
        "task": "passcodes.tasks.take_marks_off",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
    "end what nobody has signed in time": {
        "task": "passcodes.tasks.expire_acts",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "close countdowns whose hour is over": {
        "task": "passcodes.tasks.close_countdowns",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "ask devices again that are due for a look": {
        "task": "passcodes.tasks.ask_again",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "let rollouts in waves go on, or hold them": {
        "task": "passcodes.tasks.go_on_in_waves",
        "schedule": 15.0,
        "options": {"expires": 15.0},
    },
    "have devices in the groups whose rule they fit": {
        "task": "passcodes.tasks.settle_groups",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "bring policies the way each device takes them": {
        "task": "passcodes.tasks.right_ways",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "end requests and sign-offs that have run out": {
        "task": "passcodes.tasks.expire",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "end codes on lock screens that have run out": {
        "task": "passcodes.tasks.expire_codes",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "ask devices for their token whose certificate was renewed without one": {
        "task": "passcodes.tasks.ask_for_fresh_tokens",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "shred retired tokens whose time is over": {
        "task": "passcodes.tasks.shred_retired_tokens",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "forget the places of lost devices": {
        "task": "passcodes.tasks.forget_places",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "ask cleared devices whether they are protected again": {
        "task": "passcodes.tasks.look_after_clears",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "count the fleet of today": {
        "task": "passcodes.tasks.count_the_fleet",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "say which cleared devices are exposed": {
        "task": "passcodes.tasks.expose",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
}

# Words, times and files.

LANGUAGE_CODE = "en"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "mdm.formats"
STATIC_URL = "/static/"
STATIC_ROOT = None if DEMO else env.str("STATIC_ROOT", default=str(ROOT / "staticfiles"))
STATICFILES_DIRS = [ROOT / "static", ("handbook", ROOT / "docs" / "screenshots")]
WHITENOISE_USE_FINDERS = DEMO
DATA_UPLOAD_MAX_MEMORY_SIZE = (
    10 * 1024 * 1024
)  # bytes; the door reads its own bodies with its own limits
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "mdm.logs.Line",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "filters": {"refusals": {"()": "mdm.logs.Refusals"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django.request": {"filters": ["refusals"]},
        **{  # a tick each second is no news
            name: {"level": "WARNING"}
            for name in ("celery.app.trace", "celery.worker.strategy", "celery.beat")
        },
    },
}
SILENCED_SYSTEM_CHECKS: list[str] = []
