//! Decisions for many requests of one proxy, on one stream.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::contract::Peer;
use super::rpc::Desk;
use super::serve::drained;
use crate::contract as pb;

/// Questions that are decided at the same time; further ones wait in the connection.
const MAX_OPEN: usize = 1024;

/// The longest that a question may ask to be waited for.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

pub type DecisionStream = Pin<Box<dyn Stream<Item = Result<pb::DecideResponse, Status>> + Send>>;

/// Answers questions as they can be answered, until the proxy goes or the server drains.
pub fn decisions(
    desk: Arc<Desk>,
    peer: Peer,
    questions: Streaming<pb::DecideRequest>,
    draining: watch::Receiver<bool>,
) -> DecisionStream {
    let answers = questions
        .take_while(|question| std::future::ready(question.is_ok()))
        .filter_map(|question| std::future::ready(question.ok()))
        .map(move |question| answer(Arc::clone(&desk), peer, question))
        .buffer_unordered(MAX_OPEN);
    // The proxy asks nothing before it has heard that somebody is there.
    let greeting = stream::once(std::future::ready(pb::DecideResponse::default()));
    Box::pin(greeting.chain(answers).map(Ok).take_until(drained(draining)))
}

async fn answer(desk: Arc<Desk>, peer: Peer, question: pb::DecideRequest) -> pb::DecideResponse {
    let request = question.request.unwrap_or_default();
    let patience = Duration::from_millis(question.timeout_ms.into()).min(MAX_PATIENCE);
    let answer = match timeout(patience, desk.authorize(peer, &request)).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("the question's time is over")),
    };
    let (response, code) = match answer {
        Ok(response) => (Some(response), 0),
        Err(status) => (None, status.code() as u32),
    };
    pb::DecideResponse { id: question.id, response, code }
}
