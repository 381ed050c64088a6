//! Sending a request on, in its canonical form.

use super::permit::Permit;
use super::{Gate, State, Step, head};
use crate::config::BodyMode;
use crate::host::{Direction, Host, HostError};
use crate::operation::Forward;
use crate::worker::Worker;

impl Gate {
    /// Sends the request on. The only place that does, and it takes a permit.
    pub(super) fn forward<H: Host>(
        &mut self,
        worker: &mut Worker,
        host: &H,
        permit: &Permit,
        forward: &Forward,
        no_body: bool,
    ) -> Step {
        if self.rewrite(worker, host, permit, forward).is_err() {
            let message = "The request could not be changed.";
            return Step::Answer(worker.replies.internal(message, "rewrite"));
        }
        self.response.goes(host);
        self.state = State::Passing { no_body };
        Step::Forward
    }

    fn rewrite<H: Host>(
        &self,
        worker: &Worker,
        host: &H,
        permit: &Permit,
        forward: &Forward,
    ) -> Result<(), HostError> {
        let head = self.head.as_ref().ok_or(HostError::BadArgument)?;
        // With a buffer filter behind, the headers have gone there before the body was read.
        let gone = matches!(worker.config.body_mode, BodyMode::BufferFilter)
            && forward.body.is_some()
            && !head.end_of_stream;
        if !gone {
            head.strip(host, self.credential_header)?;
            if !forward.path.is_empty() && head.path() != Some(forward.path.as_bytes()) {
                host.set_header(Direction::Request, ":path", forward.path.as_bytes())?;
            }
            if let Some(principal) = permit.principal() {
                let user = head::user_value(&principal.username);
                host.set_header(Direction::Request, head::USER_HEADER, user.as_bytes())?;
            }
            if self.response.reads_body() && head.value(b"accept-encoding").is_some() {
                host.remove_header(Direction::Request, b"accept-encoding")?;
            }
        }
        if let Some(body) = &forward.body
            && !head.end_of_stream
        {
            host.set_body(Direction::Request, body)?;
            if !gone {
                // A chunked body too gets its length: MLflow's WSGI routes read a body without
                // one as empty, which is not what was authorized.
                let length = body.len().to_string();
                host.set_header(Direction::Request, "content-length", length.as_bytes())?;
                if head.value(b"transfer-encoding").is_some() {
                    host.remove_header(Direction::Request, b"transfer-encoding")?;
                }
            }
        }
        Ok(())
    }
}
