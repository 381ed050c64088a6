//! Headers that select a resource or a person: at most one of each, in one spelling.

use crate::headers::wsgi;
use crate::operation::RawHead;
use crate::refusal::Refusal;

use super::id::Form;

/// Two of these, or one with a comma, are read differently by Flask (joined) and FastAPI (first).
const SINGLE: &[&str] = &[
    "authorization",
    "x-mlflow-authorization",
    "x-mlflow-workspace",
    "x-mlflow-experiment-id",
    "x-mlflow-run-id",
    "content-type",
    "content-encoding",
    "content-length",
    "host",
    "origin",
];

/// Names that WSGI would fold onto one that matters, e.g. `X_Forwarded_For`.
const GUARDED: &[&str] = &[
    "authorization",
    "host",
    "origin",
    "cookie",
    "forwarded",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "access-control-request-method",
];
const GUARDED_PREFIXES: &[&str] = &["x-mlflow-", "x-mlgate-", "x-forwarded-", "x-envoy-"];

/// What the surface reads from headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeaders {
    pub workspace: Option<String>,
    pub experiment_id: Option<String>,
    pub run_id: Option<String>,
    /// The essence, as it was written; `None` where there is no header.
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// A CORS preflight: `Origin` and `Access-Control-Request-Method` are both there.
    pub preflight: bool,
    /// `Content-Length` is 0.
    pub empty_body: bool,
}

/// Reads the headers, or refuses those that could be read twice.
pub fn read(head: &RawHead<'_>) -> Result<RequestHeaders, Refusal> {
    check_names(head)?;
    if find(head, "upgrade").is_some() || find(head, ":protocol").is_some() {
        return Err(Refusal::Unsupported { why: "upgrades are not proxied" });
    }
    let content_type = text(head, "content-type")?.map(essence).transpose()?;
    Ok(RequestHeaders {
        workspace: selector(head, "x-mlflow-workspace", is_workspace, "must be a workspace name")?,
        experiment_id: selector(
            head,
            "x-mlflow-experiment-id",
            |id| Form::Experiment.accepts(id),
            Form::Experiment.describe(),
        )?,
        run_id: selector(
            head,
            "x-mlflow-run-id",
            |id| Form::Run.accepts(id),
            Form::Run.describe(),
        )?,
        content_type,
        content_encoding: text(head, "content-encoding")?.map(str::to_owned),
        preflight: find(head, "origin").is_some()
            && find(head, "access-control-request-method").is_some(),
        empty_body: find(head, "content-length") == Some(b"0"),
    })
}

/// The host that was asked for, in lower case, without port and trailing dot.
pub fn host(head: &RawHead<'_>) -> Option<String> {
    let authority = find(head, ":authority").or_else(|| find(head, "host"))?;
    let authority = std::str::from_utf8(authority).ok()?.to_ascii_lowercase();
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(&authority),
    };
    Some(name.trim_end_matches('.').to_owned())
}

fn find<'a>(head: &RawHead<'a>, name: &str) -> Option<&'a [u8]> {
    head.headers.get(name.as_bytes())
}

fn text<'a>(head: &RawHead<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    find(head, name)
        .map(|value| {
            std::str::from_utf8(value)
                .map_err(|_| Refusal::ambiguous(name, "is not UTF-8"))
                .map(str::trim)
        })
        .transpose()
}

fn selector(
    head: &RawHead<'_>,
    name: &'static str,
    accepts: impl Fn(&str) -> bool,
    why: &'static str,
) -> Result<Option<String>, Refusal> {
    match find(head, name) {
        None => Ok(None),
        Some(value) => match std::str::from_utf8(value) {
            Ok(value) if accepts(value) => Ok(Some(value.to_owned())),
            _ => Err(Refusal::invalid(name, why)),
        },
    }
}

fn check_names(head: &RawHead<'_>) -> Result<(), Refusal> {
    for (index, (name, value)) in head.headers.iter().enumerate() {
        if name.contains(&b'_') && is_guarded(name) {
            return Err(Refusal::ambiguous("headers", "a name has '_' where '-' is meant"));
        }
        let single = SINGLE.iter().find(|single| name.eq_ignore_ascii_case(single.as_bytes()));
        let Some(single) = single else { continue };
        let again = head
            .headers
            .iter()
            .skip(index.saturating_add(1))
            .any(|(other, _)| other.eq_ignore_ascii_case(name));
        // `Basic` and `Bearer` credentials, ids and media types of MLflow's clients have no comma.
        if again || value.contains(&b',') {
            return Err(Refusal::ambiguous(*single, "may be sent only once"));
        }
    }
    Ok(())
}

fn is_guarded(name: &[u8]) -> bool {
    let folded: Vec<u8> = name.iter().map(|byte| wsgi(*byte)).collect();
    GUARDED.iter().any(|guarded| guarded.as_bytes() == folded)
        || GUARDED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix.as_bytes()))
}

/// The media type; a `charset` other than UTF-8 is refused, since Python would follow the bytes.
fn essence(value: &str) -> Result<String, Refusal> {
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let charset = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !charset.eq_ignore_ascii_case("utf-8") {
            return Err(Refusal::ambiguous("content-type", "has a charset other than utf-8"));
        }
    }
    Ok(essence.to_owned())
}

/// MLflow's `WorkspaceNameValidator`: 2 to 63 of `[a-z0-9-]`, no hyphen at either end.
fn is_workspace(name: &str) -> bool {
    (2..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &[u8])]) -> Result<RequestHeaders, Refusal> {
        let headers = pairs.iter().copied().collect();
        read(&RawHead { method: b"GET", path: b"/", headers: &headers, end_of_stream: true })
    }

    #[test]
    fn a_selecting_header_may_come_once() {
        for name in SINGLE {
            let value: &[u8] = if name.contains("experiment") { b"1" } else { b"0" };
            assert!(
                matches!(check(&[(name, value), (name, value)]), Err(Refusal::Ambiguous { .. })),
                "{name}"
            );
        }
        assert!(check(&[("x-mlflow-experiment-id", b"1,2")]).is_err());
        assert!(check(&[("authorization", b"Basic YQ==,Basic Yg==")]).is_err());
    }

    #[test]
    fn a_name_that_wsgi_folds_onto_ours_is_refused() {
        for name in [
            "x_mlflow_experiment_id",
            "x-mlflow_workspace",
            "X_Forwarded_For",
            "x_mlgate_user",
            "content_length",
            "content_type",
        ] {
            assert!(check(&[(name, b"1")]).is_err(), "{name}");
        }
        assert!(check(&[("x_request_tag", b"1")]).is_ok());
    }

    #[test]
    fn ids_in_headers_have_one_spelling() {
        assert_eq!(
            check(&[("x-mlflow-experiment-id", b"12")]).unwrap().experiment_id.as_deref(),
            Some("12")
        );
        for value in [&b"01"[..], b" 1", b"", b"+1", b"\xff"] {
            assert!(check(&[("x-mlflow-experiment-id", value)]).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_workspace_is_named_as_mlflow_names_them() {
        assert!(check(&[("x-mlflow-workspace", b"team-a")]).is_ok());
        for value in [&b"Team"[..], b"team a", b"-a", b"a", b"", b"team-a "] {
            assert!(check(&[("x-mlflow-workspace", value)]).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_charset_other_than_utf_8_is_refused() {
        for value in [&b"application/json"[..], b"application/json; charset=UTF-8"] {
            let read = check(&[("content-type", value)]).unwrap();
            assert_eq!(read.content_type.as_deref(), Some("application/json"));
        }
        assert!(check(&[("content-type", b"application/json; charset=utf-16")]).is_err());
        assert!(check(&[("content-type", b"application/json;charset=\"utf-7\"")]).is_err());
    }

    #[test]
    fn upgrades_are_unsupported() {
        assert!(matches!(check(&[("upgrade", b"websocket")]), Err(Refusal::Unsupported { .. })));
    }

    #[test]
    fn bytes_that_are_not_utf_8_do_no_harm_elsewhere() {
        assert!(check(&[("x-anything", b"\xff\xfe"), ("user-agent", b"\xff")]).is_ok());
    }
}
