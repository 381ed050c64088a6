//! Further pages that the gate asks MLflow for.

use super::{Answered, Page, Worker};
use crate::gate::PAGE_TIMEOUT_MS;
use crate::host::{ContextId, Headers, Host, HostError, Token};
use crate::metrics::Count;
use crate::operation::Forward;

impl Worker {
    /// Sends a request like the one that the effective stream has sent, whose headers are `sent`,
    /// to the same cluster.
    pub fn fetch<H: Host>(
        &mut self,
        host: &H,
        waiter: ContextId,
        sent: &Headers,
        request: &Forward,
    ) -> Result<(), HostError> {
        // What the last call to the policy server left may be the root, which has no upstream.
        host.set_effective(waiter)?;
        let named = [&["xds", "cluster_name"][..], &["cluster_name"]];
        let cluster =
            named.iter().find_map(|path| host.property(path)).ok_or(HostError::NotFound)?;
        let headers = page_head(sent, request);
        let body = request.body.as_deref().unwrap_or_default();
        // By the root, like the calls to the policy server: its answer finds whoever asked.
        host.set_effective(self.root)?;
        let called = host.http_call(&cluster, &headers, body, PAGE_TIMEOUT_MS);
        host.set_effective(waiter)?;
        let token = called?;
        self.pages.insert(token, waiter);
        self.metrics.count(host, Count::PagesFetched);
        Ok(())
    }

    pub fn awaits_page(&self, token: Token) -> bool {
        self.pages.contains_key(&token)
    }

    /// Takes a further page; gives the request that waits for it.
    pub fn land_page<H: Host>(&mut self, host: &H, token: Token) -> Option<(Answered, ContextId)> {
        let waiter = self.pages.remove(&token)?;
        let answered = match host.http_answer(self.config.body_limit_bytes) {
            Ok((status, body)) => Answered::Page(Page { status, body }),
            Err(_) => Answered::Failed,
        };
        Some((answered, waiter))
    }
}

/// The head that was sent, with the page's path and without what belongs to the connection or to
/// the first body.
fn page_head(sent: &Headers, request: &Forward) -> Headers {
    const OWN: &[&[u8]] =
        &[b":path", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te"];
    let query = request.path.split_once('?').map(|(_, query)| query);
    let mut headers = Headers::new();
    for (name, value) in sent.iter() {
        if name == b":path" {
            // Envoy may have rewritten the path on the way: only the query is ours.
            let path = value.split(|&byte| byte == b'?').next().unwrap_or_default();
            let mut target = path.to_vec();
            if let Some(query) = query {
                target.push(b'?');
                target.extend_from_slice(query.as_bytes());
            }
            headers.push(name, &target);
        } else if !OWN.contains(&name) {
            headers.push(name, value);
        }
    }
    if let Some(body) = &request.body {
        headers.push(b"content-length", body.len().to_string().as_bytes());
    }
    headers
}
