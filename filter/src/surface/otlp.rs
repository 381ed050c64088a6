//! The trace ids in an OTLP export, in protobuf or JSON.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::refusal::Refusal;

use super::headers::RequestHeaders;
use super::json::{self, Object, Value};

/// More traces in one export are refused: as many spans are in a batch of OpenTelemetry's exporters.
pub const MAX_TRACES: usize = 512;
const BODY: &str = "body";

/// The fields of `ExportTraceServiceRequest` that lead to spans (opentelemetry-proto 1.x):
/// `resource_spans`, `scope_spans`, `spans`.
const TO_SPANS: &[u32] = &[1, 2, 2];
/// `Span.trace_id`
const TRACE_ID: u32 = 1;
/// `Span.attributes`, and the key of one
const ATTRIBUTES: u32 = 9;
const KEY: u32 = 1;
/// What attributes that become tags of the trace start with.
const TAG: &str = "mlflow.traceTag.";
/// The tags that MLflow reads a trace's files by, with its own credentials.
const LOCATIONS: [&str; 2] = ["mlflow.artifactLocation", ARCHIVE];
pub const ARCHIVE: &str = "mlflow.trace.archiveLocation";

/// Whether the tag says where a trace's files are. Databases may ignore case and blanks.
pub fn is_location(tag: &str) -> bool {
    LOCATIONS.iter().any(|location| tag.trim().eq_ignore_ascii_case(location))
}

/// No exporter sends these, and MLflow drops them from 3.18 on.
fn check_attribute(key: &str) -> Result<(), Refusal> {
    match key.strip_prefix(TAG) {
        Some(tag) if is_location(tag) => {
            Err(Refusal::invalid("attributes", "must not say where a trace's files are"))
        }
        _ => Ok(()),
    }
}

/// Every trace that the export writes to, by MLflow's id. `body` is without its content coding.
pub fn trace_ids(headers: &RequestHeaders, body: &[u8]) -> Result<Vec<String>, Refusal> {
    let ids = match headers.content_type.as_deref() {
        Some("application/x-protobuf") => from_protobuf(body)?,
        Some("application/json") => from_json(body)?,
        _ => {
            let why = "must be application/x-protobuf or application/json";
            return Err(Refusal::invalid("content-type", why));
        }
    };
    Ok(ids.into_iter().collect())
}

type Ids = std::collections::BTreeSet<String>;

fn from_protobuf(body: &[u8]) -> Result<Ids, Refusal> {
    let mut ids = Ids::new();
    collect(body, TO_SPANS, &mut ids)?;
    Ok(ids)
}

/// Walks over the bytes instead of decoding them: two bytes can make a message of many.
fn collect(mut message: &[u8], path: &[u32], ids: &mut Ids) -> Result<(), Refusal> {
    let Some((&wanted, path)) = path.split_first() else {
        ids.insert(mlflow_id(trace_id(message)?)?);
        check_attributes(message)?;
        return bounded(ids);
    };
    while let Some((tag, inner)) = field(&mut message, wanted)? {
        if tag == wanted {
            collect(inner, path, ids)?;
        }
    }
    Ok(())
}

fn check_attributes(mut span: &[u8]) -> Result<(), Refusal> {
    while let Some((_, mut attribute)) = field(&mut span, ATTRIBUTES)? {
        while let Some((_, key)) = field(&mut attribute, KEY)? {
            // MLflow refuses an export with a key that is not UTF-8.
            check_attribute(std::str::from_utf8(key).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// The last one, as protobuf has it of a field that comes twice.
fn trace_id(mut span: &[u8]) -> Result<&[u8], Refusal> {
    let mut id: &[u8] = &[];
    while let Some((tag, bytes)) = field(&mut span, TRACE_ID)? {
        if tag == TRACE_ID {
            id = bytes;
        }
    }
    Ok(id)
}

/// The next field of a message, with the bytes of the one that is wanted.
fn field<'a>(message: &mut &'a [u8], wanted: u32) -> Result<Option<(u32, &'a [u8])>, Refusal> {
    let malformed = || Refusal::invalid(BODY, "is no OTLP export in protobuf");
    if message.is_empty() {
        return Ok(None);
    }
    let (tag, wire_type) = decode_key(message).map_err(|_| malformed())?;
    if tag != wanted {
        skip_field(wire_type, tag, message, DecodeContext::default()).map_err(|_| malformed())?;
        return Ok(Some((tag, &[])));
    }
    if wire_type != WireType::LengthDelimited {
        return Err(malformed());
    }
    let length = decode_varint(message).ok().and_then(|length| usize::try_from(length).ok());
    let (inner, rest) =
        length.and_then(|length| message.split_at_checked(length)).ok_or_else(malformed)?;
    *message = rest;
    Ok(Some((tag, inner)))
}

fn bounded(ids: &Ids) -> Result<(), Refusal> {
    if ids.len() > MAX_TRACES {
        return Err(Refusal::invalid(BODY, "has too many traces"));
    }
    Ok(())
}

/// MLflow reads the bytes as one number, so that leading zeros could be left out.
fn mlflow_id(bytes: &[u8]) -> Result<String, Refusal> {
    if bytes.len() != 16 {
        return Err(Refusal::ambiguous("traceId", "must have 16 bytes"));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("tr-{hex}"))
}

fn from_json(body: &[u8]) -> Result<Ids, Refusal> {
    let export = json::read_object(body)?;
    let mut ids = Ids::new();
    for resource in list(&export, "resourceSpans", "resource_spans")? {
        for scope in list(resource, "scopeSpans", "scope_spans")? {
            for span in list(scope, "spans", "")? {
                ids.insert(json_id(span)?);
                bounded(&ids)?;
                for attribute in list(span, "attributes", "")? {
                    check_attribute(attribute.get("key").and_then(Value::as_str).unwrap_or(""))?;
                }
            }
        }
    }
    Ok(ids)
}

/// MLflow turns hexadecimal ids into bytes only under OTLP's own spelling of the fields.
fn list<'a>(
    object: &'a Object,
    name: &'static str,
    other: &str,
) -> Result<Vec<&'a Object>, Refusal> {
    if object.get(other).is_some() {
        return Err(Refusal::ambiguous(name, "is spelt in snake_case"));
    }
    match object.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_object().ok_or_else(|| Refusal::invalid(name, "must hold objects")))
            .collect(),
        Some(_) => Err(Refusal::invalid(name, "must be a list")),
    }
}

fn json_id(span: &Object) -> Result<String, Refusal> {
    if span.get("trace_id").is_some() {
        return Err(Refusal::ambiguous("traceId", "is spelt in snake_case"));
    }
    match span.get("traceId") {
        Some(Value::String(hex))
            if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            Ok(format!("tr-{}", hex.to_ascii_lowercase()))
        }
        _ => Err(Refusal::invalid("traceId", "must be 32 hexadecimal digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Export {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ResourceSpans {
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Span {
        #[prost(bytes = "vec", tag = "1")]
        trace_id: Vec<u8>,
        #[prost(message, repeated, tag = "9")]
        attributes: Vec<Attribute>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Attribute {
        #[prost(string, tag = "1")]
        key: String,
    }

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn headers(content_type: &str) -> RequestHeaders {
        RequestHeaders { content_type: Some(content_type.into()), ..RequestHeaders::default() }
    }

    fn export(trace_id: Vec<u8>) -> Vec<u8> {
        tagged(trace_id, &[])
    }

    fn tagged(trace_id: Vec<u8>, keys: &[&str]) -> Vec<u8> {
        let attributes = keys.iter().map(|key| Attribute { key: (*key).to_owned() }).collect();
        let scope_spans = vec![ScopeSpans { spans: vec![Span { trace_id, attributes }] }];
        Export { resource_spans: vec![ResourceSpans { scope_spans }] }.encode_to_vec()
    }

    #[test]
    fn protobuf_and_json_name_the_same_trace() {
        let bytes: Vec<u8> = (0..16).map(|n| (n % 8) * 0x22 + 0x01).collect();
        let ids = trace_ids(&headers("application/x-protobuf"), &export(bytes.clone())).unwrap();
        let hex = ids[0].trim_start_matches("tr-").to_uppercase();
        let body = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{hex}"}}]}}]}}]}}"#
        );
        assert_eq!(trace_ids(&headers("application/json"), body.as_bytes()).unwrap(), ids);
    }

    #[test]
    fn a_trace_id_of_another_length_is_refused() {
        for length in [0, 8, 15, 17, 32] {
            let body = export(vec![1; length]);
            assert!(trace_ids(&headers("application/x-protobuf"), &body).is_err(), "{length}");
        }
    }

    #[test]
    fn snake_case_json_is_refused() {
        for body in [
            format!(
                r#"{{"resource_spans":[{{"scope_spans":[{{"spans":[{{"trace_id":"{HEX}"}}]}}]}}]}}"#
            ),
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"trace_id":"{HEX}"}}]}}]}}]}}"#
            ),
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}"#.to_owned(),
            r#"{"resourceSpans":{}}"#.to_owned(),
        ] {
            assert!(trace_ids(&headers("application/json"), body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_readable_is_refused() {
        assert!(trace_ids(&headers("text/plain"), b"").is_err());
        assert!(trace_ids(&headers("application/x-protobuf"), b"\xff\xff").is_err());
    }

    #[test]
    fn the_last_of_two_trace_ids_of_a_span_counts() {
        let twice = |first: &[u8], last: &[u8]| {
            let id =
                |bytes: &[u8]| Span { trace_id: bytes.to_vec(), ..Span::default() }.encode_to_vec();
            let span = [id(first), id(last)].concat();
            let wrap = |tag: u8, bytes: &[u8]| {
                [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
            };
            wrap(1, &wrap(2, &wrap(2, &span)))
        };
        let headers = headers("application/x-protobuf");
        let ids = trace_ids(&headers, &twice(&[1; 16], &[2; 16])).unwrap();
        assert_eq!(ids, [format!("tr-{}", "02".repeat(16))]);
        assert_eq!(ids, trace_ids(&headers, &twice(&[1; 8], &[2; 16])).unwrap());
        assert!(trace_ids(&headers, &twice(&[1; 16], &[2; 8])).is_err());
    }

    #[test]
    fn no_span_says_where_the_files_of_its_trace_are() {
        for key in ["mlflow.artifactLocation", "MLFLOW.artifactlocation ", ARCHIVE] {
            let key = format!("mlflow.traceTag.{key}");
            let bytes = tagged(vec![1; 16], &["mlflow.traceTag.mine", &key]);
            assert!(trace_ids(&headers("application/x-protobuf"), &bytes).is_err(), "{key}");
            let body = format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{HEX}",
                "attributes":[{{"key":"x"}},{{"key":"{key}","value":{{"stringValue":"/"}}}}]}}]}}]}}]}}"#
            );
            assert!(trace_ids(&headers("application/json"), body.as_bytes()).is_err(), "{key}");
        }
        let bytes = tagged(vec![1; 16], &["mlflow.traceTag.mine", "mlflow.artifactLocation"]);
        assert!(trace_ids(&headers("application/x-protobuf"), &bytes).is_ok());
    }

    #[test]
    fn more_traces_than_an_exporter_sends_are_refused() {
        let spans = (0..=u16::try_from(MAX_TRACES).unwrap())
            .map(|n| Span {
                trace_id: [&[0; 14][..], &n.to_be_bytes()].concat(),
                ..Span::default()
            })
            .collect();
        let export = Export {
            resource_spans: vec![ResourceSpans { scope_spans: vec![ScopeSpans { spans }] }],
        };
        let headers = headers("application/x-protobuf");
        assert!(trace_ids(&headers, &export.encode_to_vec()).is_err());
    }
}
