"""The staff site's settings, with the other processes' keys beside them: tests play all processes.

Nothing here is used outside the tests. The keys are made anew at each start.
"""

import atexit
import os
import shutil
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mdm.enrollment.authority import make_authority

os.environ.setdefault("SERVE", "staff")
os.environ.setdefault("SECRET_KEY", os.urandom(32).hex())
os.environ.setdefault("DATABASE_URL", "postgres:///passcodes")
os.environ.setdefault("STAFF_URL", "http://localhost:8000")
os.environ.setdefault("DOOR_URL", "http://localhost:8001")
os.environ.setdefault("SIGN_URL", "http://sign.localhost:8002")
os.environ.setdefault("ALLOWED_HOSTS", "localhost,testserver,127.0.0.1")

from devices.sealing import written
from mdm.settings import *  # noqa: F403
from mdm.settings import INSTALLED_APPS

_passing = Path(mkdtemp(prefix="passcodes-settings-"))
atexit.register(shutil.rmtree, _passing, ignore_errors=True)
for _name in ("vault", "door", "static"):
    (_passing / _name).mkdir(mode=0o700)
_vault, _door, _worker = (X25519PrivateKey.generate() for _ in range(3))
_order = Ed25519PrivateKey.generate()
VAULT_PRIVATE_KEY = written(_vault.private_bytes_raw())
VAULT_PUBLIC_KEY = written(_vault.public_key().public_bytes_raw())
VAULT_ORDER_KEY = written(_order.private_bytes_raw())
VAULT_VERIFY_KEY = written(_order.public_key().public_bytes_raw())
VAULT_STATE = str(_passing / "vault")
DOOR_PRIVATE_KEY = written(_door.private_bytes_raw())
DOOR_STATE = str(_passing / "door")
DOOR_PUBLIC_KEY = written(_door.public_key().public_bytes_raw())
WORKER_PRIVATE_KEY = written(_worker.private_bytes_raw())
WORKER_PUBLIC_KEY = written(_worker.public_key().public_bytes_raw())
CA_CERTIFICATE, CA_PRIVATE_KEY = make_authority("Tests")

INSTALLED_APPS = [*INSTALLED_APPS, "vault"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
HOUR = timedelta(hours=1)
DECLARATIVE = False  # a test that is about declarations says so
_root = Path(__file__).resolve().parent.parent
STATICFILES_DIRS = [_root / "static", ("handbook", _root / "docs" / "screenshots")]
STATIC_ROOT = str(_passing / "static")  # empty: files come from where they are written
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True  # looked for when asked for: each test's client would list them all
