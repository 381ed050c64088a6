//! `mlgate explain --request-id`: what the decision logs have on one request.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mlgate_filter::catalogue;
use serde_json::{Value, json};

use super::catalogue::needs;
use super::output::Output;

/// Who has written a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Filter,
    PolicyServer,
}

/// One decision, as either side logs it.
#[derive(Debug)]
struct Entry {
    writer: Writer,
    fields: Value,
}

impl Entry {
    /// A decision about this request. Envoy puts its own words before the filter's JSON.
    fn read(line: &str, id: &str) -> Option<Self> {
        let start = line.find('{')?;
        let value: Value = serde_json::from_str(line.get(start..)?.trim_end()).ok()?;
        let (writer, fields) = if value["log"] == "mlgate.decision" {
            (Writer::Filter, value)
        } else if value["target"] == "mlgate::decision" {
            (Writer::PolicyServer, value["fields"].clone())
        } else {
            return None;
        };
        (fields["request_id"] == id).then_some(Self { writer, fields })
    }

    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }
}

pub(super) fn explain(id: &str, logs: &[PathBuf]) -> anyhow::Result<Output> {
    if id.is_empty() {
        bail!("--request-id: is empty");
    }
    let mut entries = Vec::new();
    for log in logs {
        let flag = || format!("--log {}", log.display());
        for line in lines(log).with_context(flag)? {
            entries.extend(Entry::read(&line.with_context(flag)?, id));
        }
    }
    if entries.is_empty() {
        bail!(
            "no decision about request {id} is in these logs: they have every refusal, but only a \
             sample of what was allowed, and the server's must be JSON (log_format)"
        );
    }
    let text = entries.iter().map(told).collect::<Vec<_>>().join("\n\n");
    let json = entries.iter().map(|entry| {
        let writer = match entry.writer {
            Writer::Filter => "filter",
            Writer::PolicyServer => "policy_server",
        };
        json!({ "writer": writer, "decision": entry.fields })
    });
    Ok(Output::new(text, json.collect()))
}

fn lines(log: &Path) -> anyhow::Result<Box<dyn Iterator<Item = std::io::Result<String>>>> {
    // Envoy's log may have bytes that are no text; such lines are none of ours.
    let decode = |line: std::io::Result<Vec<u8>>| {
        line.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(if log == Path::new("-") {
        Box::new(BufReader::new(stdin()).split(b'\n').map(decode))
    } else {
        Box::new(BufReader::new(File::open(log)?).split(b'\n').map(decode))
    })
}

fn told(entry: &Entry) -> String {
    let (verdict, user, by) = match entry.writer {
        Writer::Filter => (filters_verdict(entry), "user", decided_by(entry.text("source"))),
        Writer::PolicyServer => {
            (entry.text("outcome").to_lowercase(), "principal", "the policy server")
        }
    };
    let user = match entry.text(user) {
        "" => "nobody who is known",
        name => name,
    };
    let (method, route, reason) = (entry.text("method"), entry.text("route"), entry.text("reason"));
    let mut lines = vec![format!("{method} {route} by {user}: {verdict} ({reason})")];
    lines.extend(meaning(reason).map(str::to_owned));
    lines.push(format!("decided by {by} at revision {}", entry.fields["revision"]));
    for (field, what) in [("required", "required"), ("grant", "the grant that decided")] {
        if !entry.text(field).is_empty() {
            lines.push(format!("{what}: {}", entry.text(field)));
        }
    }
    let routes = catalogue::routes().filter(|r| r.path == route && r.method.as_str() == method);
    lines.extend(routes.map(|route| format!("the route needs: {}", needs(route))).take(1));
    lines.join("\n  ")
}

fn filters_verdict(entry: &Entry) -> String {
    let status = &entry.fields["status"];
    match entry.text("decision") {
        "deny" => format!("refused with {status}"),
        "shadow_deny" => format!("let through in shadow mode, else refused with {status}"),
        other => other.to_owned(),
    }
}

fn decided_by(source: &str) -> &'static str {
    match source {
        "worker_cache" | "shared_cache" => "an earlier answer in Envoy's cache",
        "policy_server" => "the policy server's answer",
        _ => "the filter alone",
    }
}

/// What a reason means to whoever has to do something about it.
fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "no_grant" => "nothing is granted there, and default_permission does not reach",
        "insufficient_grant" => "what is granted there is a lower level than is needed",
        "explicit_deny" => "a DENY covers it, which no other grant outweighs",
        "disabled" => "the user is disabled",
        "does_not_hold" => "it needs to be somebody, e.g. its creator or an administrator",
        "unknown_object" => "the id in the request names nothing that exists",
        "not_found" => "the name in the request names nothing that exists",
        "already_exists" => "the id in the request must be new, and is not",
        "credential_scope" => "the token is limited to less than the user may do",
        "route_forbidden" => "nobody may use this route through the gate, or it knows none such",
        "nothing_left" => "none of the objects that the request names may be read",
        "no_credential" => "the request came without a credential",
        "wrong_credential" => "the password or token is wrong, expired or revoked",
        "too_many_failures" => "too many wrong passwords came for this user or from this address",
        "policy_unreachable" | "policy_unavailable" => "the policy server did not answer in time",
        "lookup_failed" => "MLflow's tracking database could not be asked where the id belongs",
        "store_failed" => "the policy store did not answer",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: &str = concat!(
        "[2026-01-01 00:00:00.000][7][info][wasm] wasm log mlgate mlgate: ",
        r#"{"log":"mlgate.decision","decision":"deny","status":403,"reason":"no_grant","#,
        r#""user":"eve","method":"GET","route":"/2.0/mlflow/runs/get","request_id":"r-1","#,
        r#""source":"shared_cache","revision":7}"#
    );
    const SERVERS: &str = concat!(
        r#"{"timestamp":"t","level":"INFO","fields":{"message":"decision","outcome":"DENIED","#,
        r#""reason":"insufficient_grant","principal":"eve","method":"GET","#,
        r#""route":"/2.0/mlflow/runs/get","required":"update on experiment 1","#,
        r#""grant":"READ on experiment 1","request_id":"r-1","revision":7},"#,
        r#""target":"mlgate::decision"}"#
    );

    #[test]
    fn a_line_of_either_side_is_told_in_words() {
        let filters = told(&Entry::read(FILTERS, "r-1").unwrap());
        assert!(filters.contains("eve: refused with 403 (no_grant)"), "{filters}");
        assert!(filters.contains("cache at revision 7"), "{filters}");
        assert!(filters.contains("the route needs: "), "{filters}");
        let servers = told(&Entry::read(SERVERS, "r-1").unwrap());
        assert!(servers.contains("required: update on experiment 1"), "{servers}");
        assert!(servers.contains("decided: READ on experiment 1"), "{servers}");
    }

    #[test]
    fn lines_about_other_requests_and_of_other_kinds_are_left_out() {
        assert!(Entry::read(FILTERS, "r-2").is_none());
        for line in ["", "{", "{}", "no json", r#"{"request_id":"r-1"}"#] {
            assert!(Entry::read(line, "r-1").is_none(), "{line}");
        }
    }
}
