"""What people sign, byte for byte."""

import hashlib
import hmac
import json
import struct
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passcodes.rules import statements
from passcodes.rules.statements import NotCanonical, challenge, decode, encode

ASK = (
    rb'{"act":"clear","by":"helpdesk","charter":7,"devices":[{"model":"iPad13,1","name":'
    rb'"Caf\u00e9\u2019s iPad","possession":{"code":"418207","how":"code"},"serial":'
    rb'"F2LXQ1ABCD","token":"11111111111111111111111111111111","udid":'
    rb'"00008101-001C2D3E4F50001E","user":"retail-22"}],"kind":"ask","pulse":'
    rb'"000000000000000000000000000000000000000000000000","reason":"forgotten","request":'
    rb'"22222222222222222222222222222222","until":1795550400,"v":1,"words":"Forgot it."}'
)


def allowed(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text) and not any(
        unicodedata.category(char) in statements.FORBIDDEN and char not in "\u200c\u200d"
        for char in text
    )


texts = st.text(max_size=30).filter(allowed)
numbers = st.integers(0, 2**53 - 1)
keys = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")
members = st.recursive(
    texts | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(keys, members, max_size=5)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def test_the_vector_of_a_statement() -> None:
    assert encode(decode(ASK)) == ASK
    assert decode(ASK)["devices"][0]["name"] == "Café’s iPad"
    assert challenge(ASK).hex() == (
        "d8f5c32fa1c9035dd02ba2e9cd4e7572ee78b050776a04aa21e65a58691de85f"
    )
    assert hashlib.sha256(ASK).hexdigest() == (
        "82a87069fcfebb611d3473978cb063211efcef168a11f17cc133c69d608669f5"
    )


def test_the_vector_of_a_pulse() -> None:
    at = struct.pack(">Q", 1795464000)
    mac = hmac.digest(bytes(32), statements.PULSE + at, "sha256")[:16]
    assert (at + mac).hex() == "000000006b049b4016871aad779885be142bf40d0d7f11cd"


@given(documents.filter(lambda doc: depth(doc) <= 6))
def test_what_is_encoded_is_read_again_as_it_was(doc: dict[str, object]) -> None:
    raw = encode(doc)
    assert raw.isascii()
    assert decode(raw) == doc


@given(documents.filter(lambda doc: depth(doc) <= 6))
def test_any_other_form_of_the_same_document_is_refused(doc: dict[str, object]) -> None:
    raw = encode(doc)
    backwards = dict(sorted(doc.items(), reverse=True))
    others = {
        json.dumps(doc, indent=1, sort_keys=True).encode(),
        json.dumps(backwards, separators=(",", ":")).encode(),
        json.dumps(doc, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(),
        raw + b"\n",
    }
    for other in others - {raw}:
        with pytest.raises(NotCanonical):
            decode(other)


@given(st.binary(max_size=60))
def test_whatever_comes_is_either_canonical_or_refused(raw: bytes) -> None:
    try:
        doc = decode(raw)
    except NotCanonical:
        return
    assert encode(doc) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b'{"a":null}',
        b'{"a":true}',
        b'{"a":false}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-1}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":1,"a":1}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1} ',
        b'{"a":1}\n',
        b'\xef\xbb\xbf{"a":1}',
        b'{"A":1}',
        b'{"":1}',
        b'{"1a":1}',
        b'{"_a":1}',
        b'{"a-b":1}',
        b'{"a\\n":1}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\u00E9"}',
        b'{"a":"\\/"}',
        b'{"a":"\xc3\xa9"}',
        b'{"a":"\xff"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
)
def test_t12_what_is_not_canonical_is_refused(raw: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode(raw)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "\t",
        "\x7f",
        "\x00",
        "\u0085",
        "\u00ad",
        "\u200b",
        "\u202e",
        "\u2066",
        "\u2028",
        "\u2029",
        "\ue000",
        "\ufeff",
        "\ud800",
        "e\u0301",
        "\u212b",
    ],
)
def test_t12_texts_that_could_mislead_are_refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        encode({"name": f"a{text}b"})
    with pytest.raises(NotCanonical):
        decode(json.dumps({"name": f"a{text}b"}, separators=(",", ":")).encode())


@pytest.mark.parametrize("text", ["\u200c", "\u200d", "é", "😀", "\u0378", "/", '"', "\\"])
def test_names_of_all_people_are_taken(text: str) -> None:
    assert decode(encode({"name": text})) == {"name": text}


def test_what_lies_beyond_the_first_plane_is_written_in_two_lower_case_halves() -> None:
    assert encode({"name": "😀"}) == rb'{"name":"\ud83d\ude00"}'


def test_t12_texts_have_a_length() -> None:
    assert encode({"name": "😀" * 200})
    assert encode({"words": "x" * 500})
    for doc in ({"name": "x" * 201}, {"words": "x" * 501}, {"words": ["x" * 201]}):
        with pytest.raises(NotCanonical, match="too long"):
            encode(doc)


def test_t12_documents_have_a_depth() -> None:
    deep: object = "x"
    for _ in range(5):
        deep = [deep]
    assert encode({"a": deep})
    with pytest.raises(NotCanonical, match="too deep"):
        encode({"a": [deep]})
    with pytest.raises(NotCanonical, match="too deep"):
        encode({"a": {"b": deep}})


def test_a_circle_is_too_deep() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(NotCanonical, match="too deep"):
        encode({"a": circle})


def test_t12_documents_have_a_size() -> None:
    doc: dict[str, object] = {"a": ["x" * 200] * 322, "b": ""}
    missing = 65_536 - len(encode(doc))
    raw = encode({**doc, "b": "x" * missing})
    assert len(raw) == 65_536
    assert decode(raw)
    with pytest.raises(NotCanonical, match="too large"):
        encode({**doc, "b": "x" * (missing + 1)})
    with pytest.raises(NotCanonical, match="too large"):
        decode(b" " * 65_537)


@pytest.mark.parametrize("value", [None, True, 1.0, b"x", (1,), {1: 2}, {"A": 1}, -1, 2**53])
def test_what_json_would_bend_is_refused_before_it_is_written(value: object) -> None:
    with pytest.raises(NotCanonical):
        encode({"a": value})


def test_numbers_reach_as_far_as_a_browser_can_count() -> None:
    assert decode(encode({"a": 2**53 - 1})) == {"a": 2**53 - 1}


def test_the_refusal_never_quotes_the_document() -> None:
    with pytest.raises(NotCanonical) as refused:
        decode(b'{"code":"418207",}')
    assert "418207" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_no_domain_is_the_beginning_of_another() -> None:
    domains = [
        value
        for name, value in vars(statements).items()
        if name.isupper() and isinstance(value, bytes)
    ]
    assert len(domains) == len(set(domains)) == 12
    for domain in domains:
        assert domain.startswith(b"passcodes/")
        assert domain.endswith(b"/v1\0")
        assert domain.count(b"\0") == 1


@pytest.mark.parametrize("how", [["code"], {"code": "x"}, [], 1, "nothing"])
def test_a_proof_of_possession_that_is_no_word_is_refused(how: object) -> None:
    """A list cannot be looked up among words: that was a fault of ours, and no refusal."""
    said = decode(ASK)
    said["devices"][0]["possession"] = {"how": how}
    with pytest.raises(statements.NotAStatement, match="nobody's hands"):
        statements.read(encode(said))
