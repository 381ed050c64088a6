//! Ports, and questions over HTTP.

use anyhow::{Context, Result, anyhow};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Distinct free loopback ports. Another process may take one before it is used; the demo then
/// fails to start, naming the service.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Resolves `--listen` and makes sure that it is free; port 0 becomes a free one.
pub fn listen_address(text: &str) -> Result<SocketAddr> {
    let address = text
        .to_socket_addrs()
        .map_err(|error| anyhow!("--listen {text}: expected HOST:PORT ({error})"))?
        .next()
        .ok_or_else(|| anyhow!("--listen {text}: no such address"))?;
    let listener =
        TcpListener::bind(address).map_err(|error| anyhow!("--listen {text}: {error}"))?;
    Ok(listener.local_addr()?)
}

pub fn accepts(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

/// The status of a GET; `None` when nobody answers.
pub fn get_status(url: &str, authorization: Option<&str>) -> Option<u16> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let mut request = agent.get(url);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    request.call().ok().map(|response| response.status().as_u16())
}
