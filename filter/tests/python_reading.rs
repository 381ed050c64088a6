//! Whatever spelling of a request the gate accepts, MLflow's own parsers read the same ids in what
//! is forwarded, on the same route, and the same meaning in what came.
//!
//! `MLGATE_TEST_PYTHON` names an interpreter with MLflow installed; without it this test says so
//! and checks nothing. `MLGATE_TEST_SEED` (a number) asks for other requests than the usual ones.

mod python;

use std::collections::{BTreeMap, BTreeSet};

use mlgate_filter::operation::{BodyNeed, RawHead};
use mlgate_filter::surface::{Ids, Reading, SurfaceSettings, read_head};
use python::{Answer, Python, Question};

use crate::python::spell::{Request, Speller};

const REQUESTS: usize = 4_000;
const SEED: u64 = 20_250_911;

/// What the gate made of a request that it would decide on.
struct Accepted {
    route: &'static str,
    ids: Ids,
    path: String,
    body: Option<Vec<u8>>,
}

fn accepted(request: &Request) -> Option<Accepted> {
    let headers = request.content_type.iter().map(|value| ("content-type", value)).collect();
    let head = RawHead {
        method: request.method.as_bytes(),
        path: &request.target,
        headers: &headers,
        end_of_stream: request.body.is_none(),
    };
    let Ok(Reading::Routed(routed)) = read_head(&SurfaceSettings::default(), head) else {
        return None;
    };
    let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
    let body = request.body.as_deref().filter(|_| whole);
    let operation = routed.clone().read(body).ok()?;
    Some(Accepted {
        route: operation.route,
        ids: routed.ids(body).expect("what gives an operation gives its ids"),
        path: operation.forward.path,
        body: operation.forward.body.or_else(|| request.body.clone()),
    })
}

/// Where the two readings differ.
fn differences(gate: &Accepted, python: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    // A name of two segments is two parameters to the gate and one to MLflow.
    let template = python.template.as_deref().unwrap_or("(none)").replace("{}/{}", "{}");
    let route = python::anonymous(gate.route).replace("{}/{}", "{}");
    if !["", "/api", "/ajax-api"].iter().any(|prefix| template == format!("{prefix}{route}")) {
        found.push(format!("the route is {template}"));
    } else if gate.ids.parameters.join("/") != python.parameters.join("/") {
        found.push(format!("the path's parameters are {:?}", python.parameters));
    }
    if !python.same {
        found.push("what came means something else than what is forwarded".to_owned());
    }
    let ours: BTreeMap<&str, &Vec<String>> =
        gate.ids.by_field.iter().map(|(name, ids)| (*name, ids)).collect();
    for (field, theirs) in &python.values {
        let ours = ours.get(field.as_str()).into_iter().flat_map(|ids| ids.iter());
        // Empty text is no text to protobuf.
        let ours: BTreeSet<&String> = ours.filter(|text| !text.is_empty()).collect();
        let theirs: BTreeSet<&String> = theirs.iter().collect();
        let complete = python.complete.contains(field);
        if !theirs.is_subset(&ours) || (complete && theirs != ours) {
            found.push(format!("{field} is {theirs:?} to MLflow and {ours:?} to the gate"));
        }
    }
    found
}

#[test]
fn mlflow_reads_the_same_ids_in_every_request_that_is_accepted() {
    let Some(mut python) = Python::start() else { return };
    let seed = std::env::var("MLGATE_TEST_SEED").map_or(SEED, |text| text.parse().unwrap());
    let mut speller = Speller::new(seed);
    let (mut compared, mut with_ids, mut routes) = (0, 0, BTreeSet::new());
    let (mut hostile, mut wrong) = (0, Vec::new());
    for _ in 0..REQUESTS {
        let request = speller.request();
        let Some(gate) = accepted(&request) else { continue };
        let answer = python.read(&Question::new(&request, &gate.path, gate.body.as_deref()));
        let differences = differences(&gate, &answer);
        if !differences.is_empty() {
            wrong.push(format!("{request}\n    {}", differences.join("\n    ")));
        }
        compared += 1;
        hostile += usize::from(request.odd);
        with_ids += usize::from(answer.values.values().any(|ids| !ids.is_empty()));
        routes.insert(gate.route);
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    println!(
        "{compared} of {REQUESTS} accepted, {hostile} of them oddly spelt; MLflow read ids in \
         {with_ids}; {} routes",
        routes.len()
    );
    assert!(compared > REQUESTS / 4, "only {compared} requests were accepted");
    assert!(hostile > REQUESTS / 40, "only {hostile} odd spellings were accepted");
    assert!(with_ids > compared / 2, "ids were read in {with_ids} of {compared} requests only");
    assert!(routes.len() > 100, "only {} routes were asked for", routes.len());
}
