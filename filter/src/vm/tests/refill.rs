//! Pages that are filled by asking MLflow for more: what is asked, and what happens when that fails.

use super::response::OK_JSON;
use super::*;
use crate::response::MAX_FETCHES;
use base64::Engine;

/// Rows of these ids, and a token when there is more.
fn page(ids: &[u64], next: Option<u64>) -> String {
    let rows: Vec<_> =
        ids.iter().map(|id| serde_json::json!({"experiment_id": id.to_string()})).collect();
    let mut page = serde_json::json!({"experiments": rows});
    if let Some(offset) = next {
        page["next_page_token"] = token(offset).into();
    }
    page.to_string()
}

fn token(offset: u64) -> String {
    base64::prelude::BASE64_STANDARD.encode(format!("{{\"offset\": {offset}}}"))
}

impl World {
    /// A search of ten rows whose first page has come: ids 1 and 2, and there is more.
    fn short_of_rows(cluster: Option<&str>) -> (Self, ContextId) {
        let mut world = Self::new();
        if let Some(cluster) = cluster {
            let property = ("xds.cluster_name".to_owned(), cluster.as_bytes().to_vec());
            world.host.0.properties.borrow_mut().extend([property]);
        }
        let request = world.searched();
        world.upstream(request, OK_JSON, &page(&[1, 2], Some(2)));
        (world, request)
    }

    /// The policy server says which of the rows that it was asked about may be read.
    fn visible(&mut self, allowed: &[u64]) {
        let (token, _): (_, pb::VisibleRequest) = self.last_call();
        let allowed = allowed.iter().map(u64::to_string).collect();
        let answers = vec![pb::Answer { allowed }];
        self.answer(token, &pb::VisibleResponse { answers, revision: 7 });
    }

    fn fetches(&self) -> usize {
        self.host.0.http_calls.borrow().len()
    }

    /// MLflow answers the last request for a page; `None` when there is no answer.
    fn land(&mut self, answer: Option<(u16, String)>) {
        let token = Token(self.fetches() as u32);
        *self.host.0.http_answer.borrow_mut() =
            answer.map(|(status, body)| (status, body.into_bytes()));
        self.host.0.effective.set(ROOT.0);
        self.vm.on_page(token);
    }

    /// The client has this, and it is whole.
    fn assert_sent(&self, request: ContextId, body: &str) {
        assert!(self.resumed(request, Response), "{:?}", self.reply_to(request));
        assert_eq!(self.response_body(), body);
        let length = self.host.response_header("content-length");
        assert_eq!(length, Some(body.len().to_string()));
    }
}

#[test]
fn a_short_page_is_filled_from_where_the_last_one_ended() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[2]);
    assert!(!world.resumed(request, Response));
    {
        let calls = world.host.0.http_calls.borrow();
        let (cluster, headers, body) = calls.last().unwrap();
        assert_eq!((cluster.as_str(), body.len()), ("mlflow", 0));
        let of = |name: &str| {
            let found = headers.iter().find(|(other, _)| *other == name.as_bytes());
            found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
        };
        let path = of(":path").unwrap();
        assert!(path.starts_with("/api/2.0/mlflow/experiments/search?"), "{path}");
        assert!(path.contains("max_results=100") && path.contains("page_token=eyJ"), "{path}");
        assert_eq!(of("x-mlgate-user").as_deref(), Some("alice"));
        assert_eq!((of("authorization"), of("accept-encoding")), (None, None));
    }
    world.land(Some((200, page(&[3, 4], None))));
    world.visible(&[4]);
    let rows = r#"[{"experiment_id":"2"},{"experiment_id":"4"}]"#;
    world.assert_sent(request, &format!(r#"{{"experiments":{rows},"next_page_token":null}}"#));
}

/// What the client gets when no further page can be had: the rows that are there, and a token.
fn short_page(rows: &[u64]) -> String {
    page(rows, Some(2))
}

#[test]
fn without_a_further_page_the_client_gets_a_short_one_and_a_token() {
    let nowhere = || World::short_of_rows(None);
    let refused = || {
        let (world, request) = World::short_of_rows(Some("mlflow"));
        world.host.0.refuses_calls.set(true);
        (world, request)
    };
    for (mut world, request) in [nowhere(), refused()] {
        world.visible(&[2]);
        assert_eq!(world.fetches(), 0);
        world.assert_sent(request, &short_page(&[2]));
    }
}

#[test]
fn a_further_page_that_fails_leaves_a_short_one() {
    let error = r#"{"error_code":"INTERNAL_ERROR"}"#.to_owned();
    for answer in [Some((500, error)), Some((302, String::new())), None] {
        let (mut world, request) = World::short_of_rows(Some("mlflow"));
        world.visible(&[2]);
        world.land(answer);
        world.assert_sent(request, &short_page(&[2]));
    }
}

#[test]
fn a_further_page_that_never_comes_leaves_a_short_one() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[2]);
    world.host.advance(u64::from(crate::gate::PAGE_TIMEOUT_MS) + 1000);
    world.tick();
    world.assert_sent(request, &short_page(&[2]));
    // Nobody waits for it any more.
    world.land(Some((200, page(&[3], None))));
    assert_eq!(world.response_body(), short_page(&[2]));
}

#[test]
fn a_further_page_that_cannot_be_judged_shows_nothing_at_all() {
    let rows = r#"{"experiments":[{"experiment_id":"3"}],"experiments":[]}"#;
    for body in ["<html>", "", "[]", r#"{"experiments":{}}"#, r#"{"experiments":["3"]}"#, rows] {
        let (mut world, request) = World::short_of_rows(Some("mlflow"));
        world.visible(&[2]);
        world.land(Some((200, body.to_owned())));
        assert_eq!(world.status_of(request), Some(502), "{body}");
        assert!(!world.resumed(request, Response), "{body}");
    }
}

#[test]
fn a_further_page_that_is_too_large_leaves_a_short_one() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[2]);
    world.land(Some((200, " ".repeat(64 << 20))));
    world.assert_sent(request, &short_page(&[2]));
}

#[test]
fn rows_of_a_further_page_that_nobody_judges_are_not_shown() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[2]);
    world.land(Some((200, page(&[3], None))));
    world.fail(14);
    assert_eq!(world.status_of(request), Some(503));
    assert!(!world.resumed(request, Response));
}

#[test]
fn a_list_of_nothing_but_hidden_rows_ends_at_a_bound_and_can_be_gone_on_with() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[]);
    let mut offset = 2;
    for _ in 0..u64::from(MAX_FETCHES) + 10 {
        if world.resumed(request, Response) {
            break;
        }
        let ids: Vec<u64> = (offset..offset + 100).collect();
        offset += 100;
        world.land(Some((200, page(&ids, Some(offset)))));
        world.visible(&[]);
    }
    assert_eq!(world.fetches(), MAX_FETCHES as usize);
    world.assert_sent(request, &page(&[], Some(offset)));
}

#[test]
fn a_token_that_does_not_move_on_ends_the_asking() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[]);
    for _ in 0..MAX_FETCHES + 10 {
        if world.resumed(request, Response) {
            break;
        }
        world.land(Some((200, page(&[3], Some(2)))));
        if !world.resumed(request, Response) {
            world.visible(&[]);
        }
    }
    assert!(world.resumed(request, Response));
    assert!(world.fetches() <= MAX_FETCHES as usize);
}

#[test]
fn a_client_that_left_while_a_page_was_fetched_is_not_answered() {
    let (mut world, request) = World::short_of_rows(Some("mlflow"));
    world.visible(&[2]);
    world.vm.on_delete(request);
    world.land(Some((200, page(&[3], None))));
    assert!(!world.resumed(request, Response));
    assert_eq!(world.calls("Visible"), 1, "nobody asks about its rows");
}
