"""Every parser that eats bytes from outside, what it may refuse them with, and what must hold.

A target takes any bytes. Its refusals are what its door makes a 400, a 403 or a sentence of;
anything else that comes out is a find. So is a secret in the text of a refusal, a refusal that
carries another exception along, and an answer that takes its time.
"""

import base64
import json
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from devices import push_certificates, sealing
from devices.models import Command
from devices.rules import cms, digest, profiles
from devices.rules.secret import Secret
from mdm.enrollment.authority import our_issuer
from mdm.wire import (
    client_certificate,
    custody,
    declarations,
    messages,
    plists,
    reports,
    scep,
    signature,
)
from mdm.wire import commands as written
from passcodes import handover, signing
from passcodes.models import Handover
from passcodes.rules import charter, charter_changes, custom_command, statements
from passcodes.rules import declarations as rules
from passcodes.rules.declarations import Kind
from tests.fuzz import nearby, seeds
from tests.fuzz.seeds import BODY, SECRET

LONGEST = 5.0  # seconds of computing


class Find(Exception):
    """Something that no parser may do, though it came as a refusal or as an answer."""


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]]
    near: Callable[[Sequence[bytes], bytes], bytes] | None = None

    def __call__(self, data: bytes) -> object:
        """What it was taken for, or None; any exception is a find."""
        began = time.process_time()
        answer = None
        try:
            answer = self.run(data)
        except self.refusals as refusal:
            _look_at(refusal)
        if time.process_time() - began > LONGEST:
            raise Find("an answer that takes its time")
        return answer


def _look_at(refusal: BaseException) -> None:
    if SECRET in "".join(traceback.format_exception(refusal)):
        raise Find("a refusal that quotes a secret")
    if refusal.__cause__ or (refusal.__context__ and not refusal.__suppress_context__):
        raise Find("a refusal that carries another exception along")


def _messages(data: bytes) -> object:
    message = messages.parse(data)
    if not message.udid or len(message.udid) > plists.LONGEST:
        raise Find("a message from nobody")
    return message


def _reports(data: bytes) -> object:
    report = reports.parse(data)
    for read in (
        reports.security_info,
        reports.device_information,
        reports.profile_list,
        reports.restrictions,
        reports.user_list,
        custody.message_result,
        custody.place,
    ):
        read(report)
    json.dumps(reports.restrictions(report), allow_nan=False)
    json.dumps(report.errors, allow_nan=False)
    json.dumps(custom_command.bounded(report.keys), allow_nan=False)
    return report


def _signature(data: bytes) -> object:
    """As the header's own characters, and as what they stand for."""
    try:
        signature.signer(data.decode("latin-1"), BODY)
    except signature.NotSigned as refusal:
        _look_at(refusal)
    certificate = signature.signer(base64.b64encode(data).decode(), BODY, sha1_allowed=True)
    return certificate.fingerprint(hashes.SHA256())


def _cms(data: bytes) -> object:
    for read in (
        lambda: cms.unwrap(data, sha1_allowed=True),
        lambda: cms.opened(data, sha1_allowed=True),
        lambda: cms.claimed(data),
    ):
        try:
            read()
        except cms.NotVerified as refusal:
            _look_at(refusal)
    return cms.detached_signer(data, BODY, sha1_allowed=True).fingerprint(hashes.SHA256())


def _scep(message: bytes) -> object:
    certificate, key = seeds.authority()
    seen = scep.outside(message)
    try:
        asked = scep.opened(
            message, seen, key=key, certificate=certificate, old_crypto_allowed=True
        )
        issued = certificate  # any will do to answer with
        scep.success(asked, issued, key=key, certificate=certificate)
    except scep.NotGranted as why:
        scep.failure(seen, why, key=key, certificate=certificate)
        raise
    return asked.outside


CLIENT = next(seeds.scep_clients())


def _scep_envelope(sealed: bytes) -> object:
    return _scep(seeds.scep_outside(sealed, CLIENT))


def _scep_request(asked: bytes) -> object:
    return _scep_envelope(CLIENT.sealed(asked, seeds.authority()[0]))


def _profiles(data: bytes) -> object:
    facts = profiles.read(data)
    json.dumps(facts.payload_types)
    for text in (facts.identifier, facts.uuid, facts.name, *facts.payload_types):
        if not text.isprintable() or len(text) > profiles.LONGEST_NAME:
            raise Find("a name that no row can keep")
    return facts


def _status(data: bytes) -> object:
    report = declarations.status(data)
    known: dict[str, Any] = {}
    for _ in range(2):
        known = rules.merged(known, report)
        json.dumps(known, allow_nan=False)
        for kind in Kind:
            rules.reported(known, kind, "org.example.policy")
            rules.takes(known, kind, "com.apple.configuration.passcode.settings")
        rules.facts(known, report)
        rules.says_half(report)
        rules.reports_by_itself(known)
    json.dumps(report.errors)
    return report


def _endpoint(data: bytes) -> object:
    return declarations.endpoint(data.decode("latin-1"))


def _digest(data: bytes) -> object:
    answer = digest.read(data.decode("latin-1"))
    digest.is_right(answer, Secret(b"0" * 32), nonce="0123")
    return answer.username


def _client_certificate(data: bytes) -> object:
    try:
        client_certificate.read(data.decode("latin-1"))
    except client_certificate.NotACertificate as refusal:
        _look_at(refusal)
    certificate = client_certificate.read(f":{base64.b64encode(data).decode()}:")
    our_issuer().issued(certificate)
    certificate.fingerprint(hashes.SHA256())
    return hash(certificate)


def _statements(data: bytes) -> object:
    said = statements.decode(data)
    if statements.encode(said) != data:
        raise Find("a document in two forms")
    return statements.read(data)


def _charter(data: bytes) -> object:
    """As a charter, and as a change that two keepers have signed."""
    try:
        found = charter.read(data)
    except charter.NotACharter as refusal:
        _look_at(refusal)
    else:
        if charter.read(found.written()) != found:
            raise Find("a charter that is read back as another")
        found.rule(reason="leaver", serials=["C39"])
    change = statements.decode(data)
    changed = charter_changes.apply(seeds.a_charter(), change, now=1)
    charter_changes.about(change)
    charter_changes.touches(seeds.a_charter(), change)
    if charter.read(changed.written()) != changed:
        raise Find("a change that is read back as another")
    return changed.version


def _push_certificate(data: bytes) -> object:
    for read in (
        lambda: push_certificates._key(data) and None,
        lambda: push_certificates._pkcs12(data, SECRET),
        lambda: push_certificates._pkcs12(data, ""),
    ):
        try:
            if found := read():
                push_certificates._check_key(*found)
                push_certificates.topic_of(found[0])
        except push_certificates.Refused as refusal:
            _look_at(refusal)
    certificate = push_certificates._certificate(data)
    topic = push_certificates.topic_of(certificate)
    push_certificates._digest(certificate.public_key())
    push_certificates._context(certificate)
    return topic


ORDER_KEY = Ed25519PrivateKey.from_private_bytes(sealing.raw(settings.VAULT_ORDER_KEY))
COMMAND = Command(uuid=UUID(int=1), request_type="ClearPasscode")


def _handover(data: bytes) -> object:
    """Signed by the vault, so that what is behind the signature is read as well."""
    order, _, box = data.partition(b"\n")
    for signed in (ORDER_KEY.sign(handover._signed(order, box)), data[:64]):
        row = Handover(command=COMMAND, order=order, box=box, signature=signed)
        try:
            return handover.opened(
                row, COMMAND, certificate_digest="0" * 64, request=UUID(int=2), udid="u"
            )
        except handover.OutOfOrder as refusal:
            _look_at(refusal)
    raise handover.OutOfOrder


def _handovers() -> Iterable[bytes]:
    order = {
        "command": COMMAND.uuid.hex,
        "identity": "0" * 64,
        "request": UUID(int=2).hex,
        "type": "ClearPasscode",
        "udid": "u",
        "until": 2**40,
        "v": 1,
    }
    raw = statements.encode(order)
    key = sealing.public_key(settings.DOOR_PUBLIC_KEY)
    context = statements.HANDOVER + raw
    yield raw + b"\n" + sealing.seal(Secret(SECRET.encode()), to=key, context=context)


def _passkey(data: bytes) -> object:
    """An assertion or a registration, whose parts stand in JSON; or a credential that is kept."""
    try:
        signing.parsed(data)
    except signing.NotSigned as refusal:
        _look_at(refusal)
    try:
        sent = json.loads(data)
    except (ValueError, RecursionError):
        raise signing.NotSigned from None
    if not isinstance(sent, dict):
        raise signing.NotSigned
    signing.decoded_id(sent)
    if "ao" in sent:
        return signing.register("helpdesk", seeds.PULSE, sent)
    return signing.verify(
        BODY, sent, credential=seeds.PASSKEY.credential, backup_eligible=False, counter=0
    )


def _arguments(data: bytes) -> object:
    arguments = custom_command.read(data.decode("utf-8", "replace"))
    custom_command.refusal("Settings", arguments, serial="", typed_serial="", ours=())
    custom_command.is_secret(arguments)
    try:
        written.render("u", "Settings", arguments=arguments)
    except (TypeError, ValueError, OverflowError) as refusal:  # what the command channel expects
        if isinstance(refusal, json.JSONDecodeError | UnicodeError | InvalidTag):
            raise
    return custom_command.masked(arguments)


TARGETS: dict[str, Target] = {
    "messages": Target(
        _messages,
        (messages.Malformed,),
        lambda: seeds.in_both_forms(seeds.heard()[0]),
        near=nearby.in_plist,
    ),
    "reports": Target(
        _reports,
        (reports.Malformed,),
        lambda: seeds.in_both_forms(seeds.heard()[1]),
        near=nearby.in_plist,
    ),
    "signature": Target(_signature, (signature.NotSigned,), seeds.signatures),
    "cms": Target(_cms, (cms.NotVerified,), seeds.signatures),
    "scep": Target(_scep, (scep.Malformed, scep.NotGranted), seeds.scep_messages),
    "scep_envelope": Target(_scep_envelope, (scep.NotGranted,), seeds.scep_envelopes),
    "scep_request": Target(
        _scep_request, (scep.NotGranted,), seeds.signing_requests, near=nearby.in_bytes
    ),
    "profiles": Target(_profiles, (profiles.Refused,), seeds.profiles, near=nearby.in_plist),
    "status": Target(
        _status, (declarations.Malformed,), lambda: [seeds.STATUS], near=nearby.in_json
    ),
    "endpoint": Target(_endpoint, (declarations.Malformed,), lambda: [b"declaration/asset/a"]),
    "digest": Target(_digest, (digest.NotADigest,), lambda: [seeds.DIGEST.encode()]),
    "client_certificate": Target(
        _client_certificate,
        (client_certificate.NotACertificate,),
        seeds.certificates,
        near=nearby.in_bytes,
    ),
    "statements": Target(
        _statements, (statements.NotCanonical,), seeds.people_say, near=nearby.in_json
    ),
    "charter": Target(
        _charter,
        (charter.NotACharter, statements.NotCanonical),
        seeds.charters,
        near=nearby.in_json,
    ),
    "push_certificate": Target(
        _push_certificate, (push_certificates.Refused,), seeds.push_files, near=nearby.in_bytes
    ),
    "handover": Target(_handover, (handover.OutOfOrder,), _handovers),
    "passkey": Target(_passkey, (signing.NotSigned,), seeds.passkeys_say, near=nearby.in_json),
    "arguments": Target(
        _arguments, (custom_command.Refused,), seeds.arguments, near=nearby.in_json
    ),
}
