"""Writes the seeds of the fuzz targets `otlp`, `credential` and `forwarded`.

    python filter/fuzz/seeds.py

The exports are made with opentelemetry-proto, which MLflow brings along. A name says what the filter
must make of its seed: `good-` is read, `bad-` is refused; `filter/tests/fuzz_seeds.rs` holds it to that.
"""

import base64
import gzip
import json
import zlib
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CORPUS = Path(__file__).with_name("corpus")
IDS = [bytes(range(start, start + 16)) for start in (0, 0x70, 0xF0)]


def attribute(owner, key, **value):
    added = owner.attributes.add(key=key)
    for kind, content in value.items():
        setattr(added.value, kind, content)
    return added


def export():
    """What an SDK sends: two resources, three traces, and a bit of all that spans can hold."""
    request = ExportTraceServiceRequest()
    for service in ("worker", "web"):
        resource = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.27.0")
        attribute(resource.resource, "service.name", string_value=service)
        scope = resource.scope_spans.add()
        scope.scope.name, scope.scope.version = "mlflow", "3.17.2"
        for number, trace in enumerate(IDS):
            span = scope.spans.add(
                trace_id=trace, span_id=bytes([number + 1] * 8), name=f"step {number}", kind=1,
                start_time_unix_nano=1_763_000_000_000_000_000, end_time_unix_nano=1_763_000_001_000_000_000,
                trace_state="a=b", flags=0x101, dropped_events_count=300,
            )  # fmt: skip
            attribute(span, "ok", bool_value=True)
            attribute(span, "tokens", int_value=-1)
            attribute(span, "score", double_value=0.5)
            attribute(span, "raw", bytes_value=b"\xff\x00")
            attribute(span, "many").value.array_value.values.add(string_value="ü")
            attribute(span, "deep").value.kvlist_value.values.add(key="k").value.string_value = "v"
            span.events.add(name="exception", time_unix_nano=1)
            # A link names a trace that is read and not written.
            span.links.add(trace_id=bytes(16), span_id=bytes(8))
            span.status.code, span.status.message = 2, "it failed"
    return request


def as_json(request):
    """OTLP's JSON, which has hexadecimal where protobuf's own has base64."""

    def hexadecimal(value):
        match value:
            case dict():
                ids = ("traceId", "spanId", "parentSpanId")
                return {
                    key: base64.b64decode(item).hex() if key in ids else hexadecimal(item)
                    for key, item in value.items()
                }
            case list():
                return [hexadecimal(item) for item in value]
        return value

    return hexadecimal(MessageToDict(request, use_integers_for_enums=True))


def one_span(**fields):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(**fields)
    return request.SerializeToString()


def field(number, content):
    """A field of bytes, by hand, for what no serializer writes."""
    return bytes([number << 3 | 2, len(content)]) + content


def otlp():
    real = export()
    binary, text = real.SerializeToString(), as_json(real)
    span = field(1, IDS[0])
    nested = lambda spans: field(1, field(2, field(2, spans)))  # noqa: E731
    yield "good-proto-real", binary
    yield "good-proto-no-spans", ExportTraceServiceRequest().SerializeToString()
    yield "good-proto-one", one_span(trace_id=IDS[0])
    yield "good-proto-id-twice", nested(span + field(1, IDS[1]))
    yield "good-proto-unknown-fields", field(15, b"later") + nested(b"\x98\x06\x01" + span)
    yield "good-proto-group", nested(span + b"\xa3\x06\x08\x01\xa4\x06")
    yield "good-proto-long-varint", field(1, field(2, b"\x12\x92\x80\x00" + span))
    yield "bad-proto-short-id", one_span(trace_id=IDS[0][:8])
    yield "bad-proto-long-id", one_span(trace_id=IDS[0] + b"\0")
    yield "bad-proto-no-id", one_span(name="nobody's")
    yield "bad-proto-cut", binary[: len(binary) // 2]
    yield "bad-proto-id-as-a-number", nested(b"\x08\x01")
    yield "bad-proto-open-group", nested(span + b"\xa3\x06")
    yield "bad-proto-length-beyond", b"\x0a\xff\xff\xff\xff\x0f\x12"
    yield "good-json-real", json.dumps(text).encode()
    yield "good-json-upper-case", json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": IDS[1].hex().upper()}]}]}]}
    ).encode()
    for name, spans in {
        "snake-case-id": [{"trace_id": IDS[0].hex()}],
        "both-spellings": [{"traceId": IDS[0].hex(), "trace_id": IDS[1].hex()}],
        "base64-id": [{"traceId": base64.b64encode(IDS[0]).decode()}],
        "short-id": [{"traceId": "01"}],
        "number-id": [{"traceId": 1}],
        "spans-that-are-none": [1],
    }.items():
        document = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
        yield f"bad-json-{name}", json.dumps(document).encode()
    yield "bad-json-snake-case", json.dumps({"resource_spans": []}).encode()
    yield "bad-json-key-twice", b'{"resourceSpans":[],"resourceSpans":[{}]}'
    yield "bad-json-utf-16", json.dumps(text).encode("utf-16")
    yield "bad-json-bom", b"\xef\xbb\xbf" + json.dumps(text).encode()
    # Of a coding; they are no exports before they are inflated.
    yield "coded-gzip", gzip.compress(binary, mtime=0)
    yield "coded-gzip-two-members", gzip.compress(binary, mtime=0) + gzip.compress(b"x", mtime=0)
    yield "coded-gzip-cut", gzip.compress(binary, mtime=0)[:-6]
    yield "coded-gzip-bomb", gzip.compress(bytes(1 << 18), mtime=0)
    yield "coded-zlib", zlib.compress(binary)
    yield "coded-bare-deflate", zlib.compress(binary)[2:-4]


def encoded(document):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def token(header, claims, signature=b"s" * 64):
    return b".".join((encoded(header), encoded(claims), encoded(signature)))


def basic(plain, scheme=b"Basic "):
    return scheme + base64.b64encode(plain)


CLAIMS = {
    "iss": "https://idp.example", "aud": ["mlflow", "x"], "sub": "ana", "exp": 4_000_000_000,
    "nbf": 1_700_000_000, "iat": 1_700_000_000, "groups": ["a", "b"], "email": "ana@idp.example",
}  # fmt: skip


def credential():
    yield "good-basic", basic(b"alice:correct horse")
    yield "good-basic-colons", basic(b"alice:a:b::")
    yield "good-basic-utf-8", basic("zoë:pässwörd".encode())
    yield "good-basic-lower-case", basic(b"alice:pw", b"basic ")
    yield "good-basic-shouted", basic(b"alice:pw", b"BASIC ")
    for name, plain in {
        "no-colon": b"alice", "no-user": b":pw", "no-password": b"alice:", "nothing": b"",
        "latin-1": "zoë:pw".encode("latin-1"), "nul": b"a\0b:pw", "newline": b"alice:pw\n",
        "padded-user": b" alice:pw", "overlong-utf-8": b"\xc0\xa1:pw", "long-user": b"a" * 256 + b":pw",
    }.items():  # fmt: skip
        yield f"bad-basic-{name}", basic(plain)
    yield "bad-basic-unpadded", b"Basic YWxpY2U6cHc"
    yield "bad-basic-url-alphabet", b"Basic YWI_Oj4-Pg=="
    yield "bad-basic-bits-left-over", b"Basic YWxpY2U6cHd="
    yield "bad-basic-two", basic(b"a:b") + b", " + basic(b"c:d")
    yield "bad-basic-trailing", basic(b"a:b") + b" x"
    yield "bad-other-scheme", b"Digest username=alice"
    yield "bad-empty", b""
    yield "bad-bytes", b"Bearer \xff\xfe"
    yield "good-bearer-opaque", b"Bearer mlgate_pat_0123456789abcdef"
    for algorithm in ("RS256", "PS512", "ES256", "EdDSA", "HS256"):
        header = {"alg": algorithm, "kid": "k1", "typ": "JWT"}
        yield f"good-bearer-jwt-{algorithm.lower()}", b"Bearer " + token(header, CLAIMS)
        yield f"jwt-{algorithm.lower()}", token(header, CLAIMS)
    header = {"alg": "ES256", "kid": "k1"}
    for name, odd in {
        "none": {"alg": "none"}, "no-alg": {"kid": "k1"}, "jku": header | {"jku": "http://127.0.0.1:1"},
        "jwk": header | {"jwk": {"kty": "oct", "k": "AA"}}, "crit": header | {"crit": ["exp"], "exp": 1},
        "b64": header | {"b64": False, "crit": ["b64"]}, "kid-path": header | {"kid": "../../dev/null"},
        "kid-number": header | {"kid": 7}, "typ": header | {"typ": "at+jwt"},
    }.items():  # fmt: skip
        yield f"jwt-header-{name}", token(odd, CLAIMS)
    for name, change in {
        "exp-float": {"exp": 4e9}, "exp-text": {"exp": "4000000000"}, "exp-huge": {"exp": 2**64},
        "exp-negative": {"exp": -1}, "aud-text": {"aud": "mlflow"}, "aud-object": {"aud": {}},
        "sub-null": {"sub": None}, "groups-text": {"groups": "a,b"}, "groups-deep": {"groups": [["a"]]},
        "overage": {"_claim_names": {"groups": "src1"}, "groups": None},
    }.items():  # fmt: skip
        yield f"jwt-claims-{name}", token(header, CLAIMS | change)
    twice = json.dumps(CLAIMS)[:-1] + ',"sub":"root"}'
    yield "jwt-claims-twice", token(header, twice.encode())
    yield "jwt-claims-utf-16", token(header, json.dumps(CLAIMS).encode("utf-16"))
    yield "jwt-claims-deep", token(header, b'{"x":' + b"[" * 200 + b"]" * 200 + b"}")
    yield "jwt-claims-escaped", token(header, b'{"s\\u0075b":"ana","exp":4000000000}')
    yield "jwt-padded", token(header, CLAIMS) + b"=="
    yield "jwt-no-signature", token(header, CLAIMS, b"")
    yield "jwt-five-parts", token(header, CLAIMS) + b".x.y"


OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"


def block(*headers):
    """A line for each header, as the target and the test read them."""
    encode = lambda text: text if isinstance(text, bytes) else text.encode()  # noqa: E731
    return b"\n".join(encode(name) + b": " + encode(value) for name, value in headers)


def principal(*claims, provider="aad", **others):
    listed = [{"typ": kind, "val": value} for kind, value in claims]
    document = {"auth_typ": provider, "claims": listed, "name_typ": "name", "role_typ": "roles"}
    return json.dumps(document | others)


def easy_auth(document, *headers):
    text = document if isinstance(document, bytes) else document.encode()
    return block((PRINCIPAL, base64.b64encode(text)), *headers)


def forwarded():
    ana = (("preferred_username", "ana@corp.example"), (OBJECT_ID, "o1"))
    person = principal(*ana, ("groups", "g2"), ("groups", "g1"), ("roles", "Trainer, and more"))
    also = (
        ("X-MS-CLIENT-PRINCIPAL-NAME", "ana@corp.example"), ("X-MS-CLIENT-PRINCIPAL-ID", "o1"),
        ("X-MS-CLIENT-PRINCIPAL-IDP", "aad"), ("X-MS-TOKEN-AAD-ID-TOKEN", "e30.e30.e30"),
    )  # fmt: skip
    yield "good-easyauth-person", easy_auth(person, *also)
    yield "good-easyauth-robot", easy_auth(principal((OBJECT_ID, "o2"), ("roles", "Trainer")))
    yield "good-easyauth-lower-case", easy_auth(person).replace(b"X-MS-CLIENT", b"x-ms-client")
    yield "good-easyauth-escaped", easy_auth(person.replace("typ", "\\u0074yp"))
    # The same for mutations, which do not get through base64.
    yield "seed-json-person", block((PRINCIPAL, person), *also)
    yield "seed-json-foreign", block((PRINCIPAL, principal(("preferred_username", "corp:ana"))))
    yield "seed-json-overage", block((PRINCIPAL, principal(*ana, ("_claim_names", '{"groups":"s"}'))))
    for name, document in {
        "other-provider": principal(*ana, provider="google"),
        "no-provider": json.dumps({"claims": []}),
        "nobody": principal(("email", "ana@corp.example")),
        "two-names": principal(*ana, ("preferred_username", "root")),
        "foreign-prefix": principal(("preferred_username", "corp:ana")),
        "padded-name": principal(("preferred_username", " ana")),
        "control": principal(("preferred_username", "ana\n")),
        "overage": principal(*ana, ("_claim_names", '{"groups":"s"}')),
        "overage-odd": principal(*ana, ("_claim_names", "groups")),
        "hasgroups": principal(*ana, ("hasgroups", "true")),
        "number": json.dumps({"auth_typ": "aad", "claims": [{"typ": "preferred_username", "val": 1}]}),
        "claims-object": json.dumps({"auth_typ": "aad", "claims": {"preferred_username": "ana"}}),
        "key-twice": person[:-1] + ',"claims":[{"typ":"preferred_username","val":"root"}]}',
        "utf-16": person.encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + person.encode(),
        "deep": '{"auth_typ":"aad","claims":' + "[" * 200 + "]" * 200 + "}",
        "cut": person[:-2],
        "empty": "",
    }.items():
        yield f"bad-easyauth-{name}", easy_auth(document)
    yield "bad-easyauth-twice", easy_auth(person) + b"\n" + easy_auth(person)
    yield "bad-easyauth-twin", easy_auth(person, ("X_MS_CLIENT_PRINCIPAL_NAME", "root"))
    yield "bad-easyauth-name-alone", block(*also)
    yield "bad-easyauth-idp-differs", easy_auth(person, ("X-MS-CLIENT-PRINCIPAL-IDP", "google"))
    yield "bad-easyauth-url-alphabet", block((PRINCIPAL, base64.urlsafe_b64encode(b'{"a":"\xff\xfe?>"}')))
    yield "bad-easyauth-unpadded", easy_auth(person + " ").rstrip(b"=")[:-1]
    for kind, prefix in {"authrequest": "X-Auth-Request-", "forwarded": "X-Forwarded-"}.items():
        user, preferred = prefix + "User", prefix + "Preferred-Username"
        groups, email = prefix + "Groups", prefix + "Email"
        yield f"good-{kind}-user", block((user, "u1"), (email, "u1@corp.example"))
        yield f"good-{kind}-groups", block((user, "u1"), (preferred, "ana"), (groups, "a, b,,c"))
        yield f"good-{kind}-utf-8", block((user, "zoë"), ("X-Forwarded-For", "192.0.2.1, 10.0.0.1"))
        yield f"bad-{kind}-two-names", block((user, "u1,root"))
        yield f"bad-{kind}-twice", block((user, "u1"), (user.lower(), "u1"))
        yield f"bad-{kind}-twin", block((user, "u1"), (user.replace("-", "_"), "u1"))
        yield f"bad-{kind}-groups-alone", block((groups, "admins"))
        yield f"bad-{kind}-foreign", block((user, "corp:ana"))
        yield f"bad-{kind}-bytes", block((user, b"\xff\xfe"))
        yield f"bad-{kind}-long", block((user, "u" * 1025))


def main():
    for target, seeds in (("otlp", otlp()), ("credential", credential()), ("forwarded", forwarded())):
        for name, content in seeds:
            (CORPUS / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
