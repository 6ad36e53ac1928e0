"""Is this CMS signature a true one, and whose is it?

Only the signature is judged here: that these bytes were signed with the key of the certificate
that comes along. Whether that certificate is worth anything is asked elsewhere. DER and BER are
read, signed attributes may be there or not (RFC 5652, 5.4).
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from devices.rules import ber

LARGEST_RSA_KEY = 8192  # bits; checking a larger one would cost a stranger nothing and us a lot

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - read only where the caller allows it
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
RSA_SIGNATURES = {"rsassa_pkcs1v15": None} | {f"{name}_rsa": name for name in HASHES}
ECDSA_SIGNATURES = {f"{name}_ecdsa": name for name in HASHES}
SET_OF = b"\x31"  # DER's tag


class NotVerified(Exception):
    """No signature that we can believe. Never quotes what was signed."""


def detached_signer(
    signature: bytes, body: bytes, *, sha1_allowed: bool = False
) -> x509.Certificate:
    """The certificate whose key signed exactly this body, or NotVerified."""
    with _nothing_but_not_verified():
        signed = _signed_data(signature)
        content = signed["encap_content_info"]["content"].native
        if content is not None and content != body:
            raise NotVerified("the signature brings another content along")
        return _signer(signed, body, sha1_allowed=sha1_allowed)


def unwrap(signed: bytes, *, sha1_allowed: bool = False) -> bytes:
    """The content of a signed message whose signature holds, or NotVerified."""
    with _nothing_but_not_verified():
        message = _signed_data(signed)
        content = message["encap_content_info"]["content"].native
        if not isinstance(content, bytes):
            raise NotVerified("the signature has no content with it")
        _signer(message, content, sha1_allowed=sha1_allowed)
        return content


@dataclass(frozen=True, slots=True)
class Signed:
    """A message whose signature holds: its content, who signed it, and what he signed with it."""

    content: bytes = field(repr=False)
    signer: x509.Certificate
    attributes: Mapping[str, Any]  # dotted number → its one value


def opened(signed: bytes, *, sha1_allowed: bool = False) -> Signed:
    """A signed message with its signed attributes, or NotVerified."""
    with _nothing_but_not_verified():
        message = _signed_data(signed)
        content = message["encap_content_info"]["content"].native
        if not isinstance(content, bytes):
            raise NotVerified("the signature has no content with it")
        signer = _signer(message, content, sha1_allowed=sha1_allowed)
        return Signed(content, signer, _single_values(message))


def claimed(signed: bytes) -> tuple[Mapping[str, Any], str]:
    """The attributes and the digest's name that a message claims. Nothing is verified."""
    with _nothing_but_not_verified():
        message = _signed_data(signed)
        algorithm = message["signer_infos"][0]["digest_algorithm"]["algorithm"].native
        return _single_values(message), str(algorithm)


def _single_values(signed: Any) -> Mapping[str, Any]:
    attributes = signed["signer_infos"][0]["signed_attrs"]
    found = {one["type"].dotted: one["values"] for one in attributes if len(one["values"]) == 1}
    return {number: values[0].native for number, values in found.items()}


@contextmanager
def _nothing_but_not_verified() -> Iterator[None]:
    try:
        yield
    except NotVerified:
        raise
    except Exception:  # noqa: BLE001 - asn1crypto keeps no list of what it raises on strange bytes
        raise NotVerified("not a CMS signature") from None


def _signed_data(encoded: bytes) -> Any:
    ber.check(encoded)
    message = cms.ContentInfo.load(encoded, strict=True)
    if message["content_type"].native != "signed_data":
        raise NotVerified("a CMS message, but not a signed one")
    return message["content"]


def _signer(signed: Any, content: bytes, *, sha1_allowed: bool) -> x509.Certificate:
    if len(signed["signer_infos"]) != 1:
        raise NotVerified("not exactly one signature")
    signer = signed["signer_infos"][0]
    digest = signer["digest_algorithm"]["algorithm"].native
    if digest not in HASHES or (digest == "sha1" and not sha1_allowed):
        raise NotVerified("a digest that we do not accept")
    certificate = _certificate(signed["certificates"], signer["sid"])
    if len(signer["signed_attrs"]) == 0:
        if content.startswith(
            SET_OF
        ):  # the attributes of another signature, passed off as content
            raise NotVerified("a content that could be another signature's attributes")
        forms: Iterable[bytes] = (content,)
    else:
        _check_attributes(signed, signer["signed_attrs"], _digest(digest, content))
        forms = _encodings(signer["signed_attrs"])
    algorithm = signer["signature_algorithm"]["algorithm"].native
    signature = signer["signature"].native
    if not any(_holds(certificate, algorithm, digest, signature, form) for form in forms):
        raise NotVerified("the signature does not fit")
    return certificate


def _certificate(certificates: Any, wanted: Any) -> x509.Certificate:
    """The one that the signature names, by issuer and number or by the key's identifier."""
    for choice in certificates:
        if choice.name != "certificate":
            continue
        candidate = choice.chosen
        if wanted.name == "issuer_and_serial_number":
            found = candidate.serial_number == wanted.chosen[
                "serial_number"
            ].native and _is_same_name(candidate.issuer, wanted.chosen["issuer"])
        else:
            found = candidate.key_identifier == wanted.chosen.native
        if found:
            return x509.load_der_x509_certificate(candidate.dump())
    raise NotVerified("the signer's certificate is not with it")


def _is_same_name(one: Any, other: Any) -> bool:
    """Byte for byte, or else by the rules for comparing names, which take their time."""
    return bool(one.dump() == other.dump() or one == other)


def _check_attributes(signed: Any, attributes: Any, digest: bytes) -> None:
    """NotVerified unless the attributes speak of this content."""
    found: dict[str, list[Any]] = {}
    for attribute in attributes:
        found.setdefault(attribute["type"].native, []).extend(attribute["values"])
    types = [value.native for value in found.get("content_type", ())]
    if types != [signed["encap_content_info"]["content_type"].native]:
        raise NotVerified("the signed attributes name another kind of content")
    digests = [value.native for value in found.get("message_digest", ())]
    if len(digests) != 1 or not hmac.compare_digest(digests[0], digest):
        raise NotVerified("the content is not the one that was signed")


def _encodings(attributes: Any) -> Iterator[bytes]:
    """The attributes as a SET, in each form that may have been signed.

    RFC 5652 wants the DER form signed. Some signers sign what they sent, which nearly always is DER
    already, so that is tried first; they are the same attributes.
    """
    yield SET_OF + attributes.dump()[1:]
    yield attributes.untag().dump(force=True)


def _digest(name: str, content: bytes) -> bytes:
    digest = hashes.Hash(HASHES[name])
    digest.update(content)
    return digest.finalize()


def _holds(
    certificate: x509.Certificate, algorithm: str, digest: str, signature: bytes, data: bytes
) -> bool:
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm in RSA_SIGNATURES:
            if RSA_SIGNATURES[algorithm] not in {None, digest} or key.key_size > LARGEST_RSA_KEY:
                return False
            key.verify(signature, data, padding.PKCS1v15(), HASHES[digest])
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in ECDSA_SIGNATURES:
            if ECDSA_SIGNATURES[algorithm] != digest:
                return False
            key.verify(signature, data, ec.ECDSA(HASHES[digest]))
            return True
    except InvalidSignature:
        return False
    return False
