//! Against a store of numbered rows that pages as MLflow's does, and against MLflow's own refill.

use super::*;
use crate::catalogue::rows;
use crate::response::{MAX_FETCHES, token};
use crate::surface::json;
use proptest::prelude::*;

/// What MLflow's store answers for experiments `0..total`.
fn page(total: u64, start: u64, size: u64) -> String {
    let end = total.min(start.saturating_add(size));
    let rows: Vec<String> =
        (start..end).map(|id| format!(r#"{{"experiment_id":"{id}"}}"#)).collect();
    let next = if end < total {
        format!(r#","next_page_token":"{}""#, token::at(end))
    } else {
        String::new()
    };
    format!(r#"{{"experiments":[{}]{next}}}"#, rows.join(","))
}

fn request(start: Option<u64>, size: u64) -> Forward {
    let token = start.map(|at| format!(r#","page_token":"{}""#, token::at(at))).unwrap_or_default();
    Forward {
        path: "/api/2.0/mlflow/experiments/search".into(),
        body: Some(format!(r#"{{"max_results":{size}{token}}}"#).into_bytes()),
        scoped: Vec::new(),
    }
}

fn field(object: &json::Object, name: &str) -> Option<String> {
    match object.get(name)? {
        json::Value::String(text) | json::Value::Number(text) => Some(text.clone()),
        json::Value::Null => None,
        other => panic!("{other:?}"),
    }
}

/// The store behind a request.
fn store(total: u64, request: &Forward) -> String {
    let body = json::read_object(request.body.as_deref().unwrap()).unwrap();
    let start = field(&body, "page_token").map_or(0, |token| token::offset(&token).unwrap());
    page(total, start, field(&body, "max_results").unwrap().parse().unwrap())
}

struct Got {
    ids: Vec<u64>,
    token: Option<String>,
    fetches: u32,
}

fn search(total: u64, start: Option<u64>, size: u64, readable: &dyn Fn(u64) -> bool) -> Got {
    let operation = operation(rows::EXPERIMENTS, request(start, size));
    let mut rewriting = Rewriting::plan(&operation, &decision(&[])).unwrap();
    let allow = |_: &pb::Question, id: &str| readable(id.parse().unwrap());
    let mut fetches = 0;
    let first = store(total, &operation.forward);
    let mut next = rewriting.body(&operation.forward, first.as_bytes()).unwrap();
    let done = loop {
        next = match next {
            Next::Ask(questions) => rewriting.answered(&answer(&questions, &allow)).unwrap(),
            Next::Fetch(request) => {
                fetches += 1;
                rewriting.body(&operation.forward, store(total, &request).as_bytes()).unwrap()
            }
            Next::Done(body) => break json::read_object(&body).unwrap(),
        }
    };
    let rows = done.get("experiments").and_then(json::Value::as_array).unwrap_or_default();
    let id = |row: &json::Value| field(row.as_object().unwrap(), "experiment_id").unwrap();
    Got {
        ids: rows.iter().map(|row| id(row).parse().unwrap()).collect(),
        token: field(&done, "next_page_token"),
        fetches,
    }
}

/// All pages, as a client follows them.
fn all(total: u64, size: u64, readable: &dyn Fn(u64) -> bool) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut start = None;
    loop {
        let got = search(total, start, size, readable);
        pages.push(got.ids);
        match got.token {
            Some(token) => start = Some(token::offset(&token).unwrap()),
            None => return pages,
        }
    }
}

/// `filter_search_experiments` of MLflow 3.17.2, line by line.
fn mlflow(total: u64, size: u64, readable: &dyn Fn(u64) -> bool) -> Vec<Vec<u64>> {
    let fetch = |start: u64| -> (Vec<u64>, Option<u64>) {
        let end = total.min(start + size);
        ((start..end).collect(), (end < total).then_some(end))
    };
    let mut pages = Vec::new();
    let mut start = Some(0);
    while let Some(from) = start {
        let (rows, mut token) = fetch(from);
        let mut kept: Vec<u64> = rows.into_iter().filter(|&id| readable(id)).collect();
        while (kept.len() as u64) < size {
            let Some(from) = token else { break };
            let (rows, _) = fetch(from);
            let taken: Vec<u64> =
                rows.into_iter().take((size - kept.len() as u64) as usize).collect();
            if taken.is_empty() {
                token = None;
                break;
            }
            token = Some(from + taken.len() as u64);
            kept.extend(taken.into_iter().filter(|&id| readable(id)));
        }
        pages.push(kept);
        start = token;
    }
    pages
}

#[test]
fn seven_of_five_hundred_are_found_in_full_pages_of_1_10_and_100() {
    let readable = |id: u64| id % 71 == 3;
    let expected: Vec<u64> = (0..500).filter(|&id| readable(id)).collect();
    assert_eq!(expected.len(), 7);
    for size in [1, 10, 100] {
        let pages = all(500, size, &readable);
        assert_eq!(pages.concat(), expected, "{size}");
        let (last, full) = pages.split_last().unwrap();
        assert!(full.iter().all(|page| page.len() as u64 == size), "{pages:?}");
        assert!(last.len() as u64 <= size);
    }
}

#[test]
fn a_full_first_page_needs_no_other() {
    let got = search(500, None, 10, &|_| true);
    assert_eq!((got.ids, got.fetches), ((0..10).collect(), 0));
    assert_eq!(got.token, Some(token::at(10)));
}

#[test]
fn the_token_counts_hidden_rows_so_that_mlflow_goes_on_from_there() {
    let got = search(500, None, 2, &|id| id == 5 || id == 50);
    assert_eq!(got.ids, [5, 50]);
    assert_eq!(got.token, Some(token::at(51)));
    let got = search(500, Some(51), 2, &|id| id == 5 || id == 50);
    assert_eq!((got.ids.len(), got.token), (0, None));
}

#[test]
fn fetching_ends_and_the_client_can_go_on() {
    let total = 1_000_000;
    let readable = |id: u64| id == total - 1;
    let got = search(total, None, 10, &readable);
    assert_eq!((got.ids.len(), got.fetches), (0, MAX_FETCHES));
    assert_eq!(got.token, Some(token::at(10 + u64::from(MAX_FETCHES) * 100)));
}

#[test]
fn a_failed_fetch_leaves_a_short_page_with_its_token() {
    let operation = operation(rows::EXPERIMENTS, request(None, 2));
    let mut rewriting = Rewriting::plan(&operation, &decision(&[])).unwrap();
    let first = page(10, 0, 2);
    let Next::Ask(questions) = rewriting.body(&operation.forward, first.as_bytes()).unwrap() else {
        panic!("must ask")
    };
    let next = rewriting.answered(&answer(&questions, &|_, id| id == "1")).unwrap();
    assert!(matches!(next, Next::Fetch(_)));
    let expected = format!(
        r#"{{"experiments":[{{"experiment_id":"1"}}],"next_page_token":"{}"}}"#,
        token::at(2)
    );
    assert_eq!(rewriting.cut_short(), Ok(Next::Done(expected.into_bytes())));
}

#[test]
fn a_query_keeps_everything_but_its_page() {
    let path = "/api/2.0/mlflow/registered-models/search?filter=a%20%3D%20%27b%27&max_results=1&order_by=x&order_by=y";
    let operation = operation(rows::REGISTERED_MODELS, get(path));
    let mut rewriting = Rewriting::plan(&operation, &decision(&[])).unwrap();
    let first =
        format!(r#"{{"registered_models":[{{"name":"a"}}],"next_page_token":"{}"}}"#, token::at(1));
    let Next::Ask(questions) = rewriting.body(&operation.forward, first.as_bytes()).unwrap() else {
        panic!("must ask")
    };
    let Ok(Next::Fetch(request)) = rewriting.answered(&answer(&questions, &|_, _| false)) else {
        panic!("must fetch")
    };
    assert_eq!(
        request.path,
        "/api/2.0/mlflow/registered-models/search?filter=a%20%3D%20%27b%27&max_results=100&order_by=x&order_by=y&page_token=eyJvZmZzZXQiOiAxfQ%3D%3D"
    );
}

#[test]
fn a_token_of_another_kind_is_passed_and_the_page_stays_short() {
    let operation = operation(rows::EXPERIMENTS, request(None, 2));
    let mut rewriting = Rewriting::plan(&operation, &decision(&[])).unwrap();
    let body = br#"{"experiments":[{"experiment_id":"1"},{"experiment_id":"2"}],"next_page_token":"opaque"}"#;
    let Next::Ask(questions) = rewriting.body(&operation.forward, body).unwrap() else {
        panic!("must ask")
    };
    let expected = br#"{"experiments":[{"experiment_id":"2"}],"next_page_token":"opaque"}"#;
    assert_eq!(
        rewriting.answered(&answer(&questions, &|_, id| id == "2")),
        Ok(Next::Done(expected.to_vec()))
    );
}

proptest! {
    /// Pages that MLflow leaves empty at the end, because it gives a token where nothing follows,
    /// are not compared.
    #[test]
    fn the_pages_are_those_of_mlflows_own_refill(
        total in 0_u64..120,
        size in 1_u64..15,
        hidden in prop::collection::vec(any::<bool>(), 120),
    ) {
        let readable = |id: u64| !hidden[id as usize];
        let ours: Vec<_> = all(total, size, &readable).into_iter().filter(|p| !p.is_empty()).collect();
        let theirs: Vec<_> = mlflow(total, size, &readable).into_iter().filter(|p| !p.is_empty()).collect();
        prop_assert_eq!(ours, theirs);
    }
}
