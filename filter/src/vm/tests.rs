//! Requests driven through the VM as the proxy drives them, with a mock for a proxy.

use super::*;
use crate::contract as pb;
use crate::host::Direction::{Request, Response};
use crate::mock::Mock;
use prost::Message;

mod cross_site;
mod familiar;
mod forwarded;
mod guessing;
mod keys;
mod lane;
mod pace;
mod refill;
mod request;
mod response;

const ROOT: ContextId = ContextId(1);
const RUN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// `alice:pw`.
const BASIC: (&str, &str) = ("authorization", "Basic YWxpY2U6cHc=");

struct World {
    host: Mock,
    vm: Vm<Mock>,
    next: u32,
}

impl World {
    fn new() -> Self {
        Self::with("{}")
    }

    /// With these settings besides the cluster.
    fn with(settings: &str) -> Self {
        let host = Mock::new();
        let mut vm = Vm::new(host.clone());
        vm.on_create(ROOT, ContextId(0));
        let mut config: serde_json::Value = serde_json::from_str(settings).unwrap();
        config["policy"] = serde_json::json!({"cluster": "policy"});
        assert!(vm.on_configure(ROOT, config.to_string().as_bytes()).is_some());
        Self { host, vm, next: 2 }
    }

    fn context(&mut self) -> ContextId {
        let context = ContextId(self.next);
        self.next += 1;
        self.vm.on_create(context, ROOT);
        context
    }

    /// Starts a request; gives its context and what the headers callback said.
    fn start(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        end: bool,
    ) -> (ContextId, Flow) {
        let context = self.context();
        let mut all = vec![(":method", method), (":path", path), (":authority", "h")];
        all.extend_from_slice(headers);
        self.host.set_request(&all);
        self.host.0.effective.set(context.0);
        let flow = self.vm.on_headers(context, Request, end);
        (context, flow)
    }

    fn get(&mut self, path: &str) -> (ContextId, Flow) {
        self.start("GET", path, &[BASIC], true)
    }

    /// A POST whose headers have come, and its body in the buffer.
    fn post(&mut self, path: &str, body: &str) -> (ContextId, Flow) {
        *self.host.0.request_body.borrow_mut() = body.as_bytes().to_vec();
        let length = body.len().to_string();
        let json = ("content-type", "application/json");
        self.start("POST", path, &[BASIC, json, ("content-length", &length)], false)
    }

    fn body(&mut self, context: ContextId, of: Direction, end: bool) -> Flow {
        let buffer = match of {
            Request => &self.host.0.request_body,
            Response => &self.host.0.response_body,
        };
        let size = buffer.borrow().len();
        self.host.0.effective.set(context.0);
        self.vm.on_body(context, of, size, end)
    }

    fn calls(&self, method: &str) -> usize {
        self.host.0.calls.borrow().iter().filter(|(_, name, _)| name == method).count()
    }

    fn last_call<M: Message + Default>(&self) -> (Token, M) {
        let calls = self.host.0.calls.borrow();
        let (token, _, message) = calls.last().unwrap();
        (*token, M::decode(message.as_slice()).unwrap())
    }

    fn last_token(&self) -> Token {
        self.host.0.calls.borrow().last().unwrap().0
    }

    /// The policy server answers a call.
    fn answer(&mut self, token: Token, message: &impl Message) {
        *self.host.0.received.borrow_mut() = message.encode_to_vec();
        self.host.0.effective.set(ROOT.0);
        self.vm.on_grpc(token, GrpcEvent::Message);
    }

    fn allow(&mut self) {
        let token = self.last_token();
        self.answer(token, &decision(pb::Outcome::Allowed));
    }

    fn fail(&mut self, code: u32) {
        let token = self.last_token();
        self.host.0.effective.set(ROOT.0);
        self.vm.on_grpc(token, GrpcEvent::Closed(code));
    }

    fn tick(&mut self) {
        self.host.0.effective.set(ROOT.0);
        self.vm.on_tick(ROOT);
    }

    fn resumed(&self, context: ContextId, of: Direction) -> bool {
        self.host.0.resumed.borrow().contains(&(context, of))
    }

    fn reply_to(&self, context: ContextId) -> Option<(u16, String)> {
        let replies = self.host.0.replies.borrow();
        let (_, reply) = replies.iter().find(|(to, _)| *to == context)?;
        Some((reply.status, String::from_utf8(reply.body.clone()).unwrap()))
    }

    fn status_of(&self, context: ContextId) -> Option<u16> {
        self.reply_to(context).map(|(status, _)| status)
    }
}

fn decision(outcome: pb::Outcome) -> pb::AuthorizeResponse {
    pb::AuthorizeResponse {
        outcome: outcome.into(),
        principal: Some(pb::Principal {
            username: "alice".to_owned(),
            super_admin: false,
            scopes: Vec::new(),
        }),
        ttl_ms: 60_000,
        revision: 7,
        reason: "test".to_owned(),
        ..pb::AuthorizeResponse::default()
    }
}

const GET_EXPERIMENT: &str = "/api/2.0/mlflow/experiments/get?experiment_id=1";
const LOG_METRIC: &str = "/api/2.0/mlflow/runs/log-metric";

fn metric() -> String {
    format!(r#"{{"run_id":"{RUN}","key":"k","value":1.0,"timestamp":1}}"#)
}
