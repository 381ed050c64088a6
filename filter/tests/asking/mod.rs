//! What the surface makes of a request, for the tests of known holes.

use mlgate_filter::operation::{BodyNeed, Operation, RawHead};
use mlgate_filter::refusal::Refusal;
use mlgate_filter::requirement::{Action, Key, Requirement, ResourceType, Standing};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};

pub const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What the surface makes of a request: refused, or an operation with what it needs.
pub fn send(
    method: &str,
    path: &str,
    headers: &[(&str, &[u8])],
    body: Option<&[u8]>,
) -> Result<Operation, Refusal> {
    let headers = headers.iter().copied().collect();
    let head = RawHead {
        method: method.as_bytes(),
        path: path.as_bytes(),
        headers: &headers,
        end_of_stream: body.is_none(),
    };
    match read_head(&SurfaceSettings::default(), head)? {
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            routed.read(body.filter(|_| whole))
        }
        Reading::Unknown(operation) => Ok(operation),
        other => panic!("{method} {path} is forwarded or answered without a decision: {other:?}"),
    }
}

pub fn get(path: &str) -> Result<Operation, Refusal> {
    send("GET", path, &[], None)
}

pub const JSON: (&str, &[u8]) = ("content-type", b"application/json");

pub fn json(method: &str, path: &str, body: &str) -> Result<Operation, Refusal> {
    send(method, path, &[JSON], Some(body.as_bytes()))
}

pub fn post(path: &str, body: &str) -> Result<Operation, Refusal> {
    json("POST", path, body)
}

/// Nobody but a super admin gets through.
pub fn is_closed(result: &Result<Operation, Refusal>) -> bool {
    match result {
        Err(_) => true,
        Ok(operation) => {
            operation.requirements.contains(&Requirement::Standing(Standing::SuperAdmin))
        }
    }
}

pub fn mentions(
    requirement: &Requirement,
    resource: ResourceType,
    action: Action,
    id: &str,
) -> bool {
    match requirement {
        Requirement::Ladder(rungs) | Requirement::ExplicitLadder(rungs) => {
            rungs.iter().any(|rung| {
                let key = match &rung.key {
                    Key::Id(key) => key == id,
                    Key::OwnerOf(reference) => reference.id == id,
                    Key::Every => id == "*",
                };
                rung.resource == resource && rung.action == action && key
            })
        }
        Requirement::AnyOf(items) | Requirement::AllOf(items) => {
            items.iter().any(|item| mentions(item, resource, action, id))
        }
        _ => false,
    }
}

pub fn needs(operation: &Operation, resource: ResourceType, action: Action, id: &str) -> bool {
    operation.requirements.iter().any(|need| mentions(need, resource, action, id))
}
