//! Questions on a stream are decided like calls.

use std::time::Duration;

use mlgate_policy_server::contract::{self as pb, Action, Outcome};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::on_both_stores;
use crate::support::*;

struct Conversation {
    questions: mpsc::Sender<pb::DecideRequest>,
    answers: Streaming<pb::DecideResponse>,
}

impl Conversation {
    async fn with(server: &Fixture) -> Self {
        let (questions, sent) = mpsc::channel(16);
        let answers = server.client.clone().decide(ReceiverStream::new(sent)).await.unwrap();
        let mut conversation = Self { questions, answers: answers.into_inner() };
        assert_eq!(conversation.next().await, pb::DecideResponse::default(), "the greeting");
        conversation
    }

    async fn ask(&self, id: u32, who: &str, timeout_ms: u32) {
        let request = request(basic(who, PASSWORD), vec![experiment("1", Action::Update)]);
        let question = pb::DecideRequest { id, request: Some(request), timeout_ms };
        self.questions.send(question).await.unwrap();
    }

    async fn next(&mut self) -> pb::DecideResponse {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.answers.next()).await;
        answer.expect("an answer").expect("an open stream").unwrap()
    }
}

on_both_stores! {
async fn every_question_is_answered_under_its_own_id(place: On) {
    let server = fixture(place, &[]).await;
    let mut conversation = Conversation::with(&server).await;
    for (id, who) in [(7, "owner"), (8, "reader"), (9, "stranger"), (10, "root")] {
        conversation.ask(id, who, 60_000).await;
    }
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let answer = conversation.next().await;
        assert_eq!(answer.code, 0);
        outcomes.push((answer.id, answer.response.unwrap().outcome()));
    }
    outcomes.sort_unstable_by_key(|(id, _)| *id);
    let (yes, no) = (Outcome::Allowed, Outcome::Denied);
    assert_eq!(outcomes, [(7, yes), (8, no), (9, no), (10, yes)]);
}
}

#[tokio::test]
async fn what_cannot_be_asked_in_a_call_fails_alone() {
    let server = fixture(On::Sqlite, &[]).await;
    let mut conversation = Conversation::with(&server).await;
    let unspecified = vec![pb::Requirement::default()];
    let request = request(basic("owner", PASSWORD), unspecified);
    let question = pb::DecideRequest { id: 1, request: Some(request), timeout_ms: 60_000 };
    conversation.questions.send(question).await.unwrap();
    let refused = conversation.next().await;
    assert_eq!((refused.id, refused.response), (1, None));
    assert_eq!(Code::from(refused.code as i32), Code::InvalidArgument);
    conversation.ask(2, "owner", 60_000).await;
    assert_eq!(conversation.next().await.response.unwrap().outcome(), Outcome::Allowed);
}

#[tokio::test]
async fn a_question_whose_time_is_over_is_not_decided() {
    let server = fixture(On::Sqlite, &[]).await;
    let mut conversation = Conversation::with(&server).await;
    // Its password was never checked, which takes much longer.
    conversation.ask(1, "owner", 1).await;
    let late = conversation.next().await;
    assert_eq!((late.id, late.response), (1, None));
    assert_eq!(Code::from(late.code as i32), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_server_that_drains_ends_the_stream() {
    let mut server = fixture(On::Sqlite, &[]).await;
    let mut conversation = Conversation::with(&server).await;
    server.stop.take().unwrap().send(()).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), conversation.answers.next()).await;
    assert!(end.expect("an end").is_none());
}
