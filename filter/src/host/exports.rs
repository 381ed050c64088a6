//! The functions that the proxy calls. Each goes straight to the [`Vm`].
//!
//! Those of the ABI that would do nothing are left out: the proxy skips what a module does not
//! export, and entering the VM costs a microsecond. So is `proxy_on_done`: who does not answer it
//! with "wait" is deleted right after.
#![allow(unsafe_code)]

use super::envoy::Envoy;
use super::logger::{follow_log_level, install_logger};
use super::{ContextId, Direction, Flow, Host, Token};
use crate::vm::{GrpcEvent, Vm};
use std::cell::RefCell;

thread_local! {
    static VM: RefCell<Vm<Envoy>> = RefCell::new(Vm::new(Envoy));
    /// Events that came while a callback was running (a call that fails while it is dispatched).
    static LATE: RefCell<Vec<(Token, GrpcEvent)>> = const { RefCell::new(Vec::new()) };
}

/// Runs one callback. If the proxy re-enters the VM, `reentered` is the answer: callers choose
/// the one that lets nothing pass.
fn enter<T>(reentered: T, callback: impl FnOnce(&mut Vm<Envoy>) -> T) -> T {
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => {
            Envoy.begin();
            let result = callback(&mut vm);
            loop {
                let late =
                    LATE.with(|late| late.try_borrow_mut().ok().and_then(|mut late| late.pop()));
                let Some((token, event)) = late else { break };
                vm.on_grpc(token, event);
            }
            result
        }
        Err(_) => reentered,
    })
}

fn grpc(token: u32, event: GrpcEvent) {
    let mut pending = Some((Token(token), event));
    enter((), |vm| {
        if let Some((token, event)) = pending.take() {
            vm.on_grpc(token, event);
        }
    });
    if let Some(late) = pending {
        LATE.with(|queue| {
            if let Ok(mut queue) = queue.try_borrow_mut() {
                queue.push(late);
            }
        });
    }
}

/// `FilterHeadersStatus`: Hold is StopAllIterationAndWatermark, which no Envoy option changes.
const fn headers_status(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => 0,
        Flow::Buffer => 1,
        Flow::Hold => 4,
    }
}

/// `FilterDataStatus`.
const fn data_status(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => 0,
        Flow::Buffer => 1,
        Flow::Hold => 2,
    }
}

/// `FilterTrailersStatus`.
const fn trailers_status(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => 0,
        Flow::Buffer | Flow::Hold => 1,
    }
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // SAFETY: the linker provides the function; the host calls `_initialize` once, first.
    unsafe { __wasm_call_ctors() };
    install_logger();
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Gives the host memory that [`super::envoy`] takes back as a `Vec`.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let memory: Box<[u8]> = vec![0; size].into_boxed_slice();
    Box::into_raw(memory).cast()
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    enter((), |vm| vm.on_create(ContextId(context), ContextId(root)));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> u32 {
    follow_log_level();
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root: u32, _size: usize) -> u32 {
    let Ok(bytes) = Envoy.configuration() else { return 0 };
    match enter(None, |vm| vm.on_configure(ContextId(root), &bytes)) {
        Some(tick_ms) if Envoy.set_tick_period(tick_ms).is_ok() => 1,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(root: u32) {
    enter((), |vm| vm.on_tick(ContextId(root)));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(context: u32, _count: u32, end: u32) -> u32 {
    headers_status(enter(Flow::Hold, |vm| {
        vm.on_headers(ContextId(context), Direction::Request, end != 0)
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(context: u32, size: usize, end: u32) -> u32 {
    data_status(enter(Flow::Hold, |vm| {
        vm.on_body(ContextId(context), Direction::Request, size, end != 0)
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(context: u32, _count: u32) -> u32 {
    trailers_status(enter(Flow::Hold, |vm| vm.on_trailers(ContextId(context), Direction::Request)))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(context: u32, _count: u32, end: u32) -> u32 {
    headers_status(enter(Flow::Hold, |vm| {
        vm.on_headers(ContextId(context), Direction::Response, end != 0)
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(context: u32, size: usize, end: u32) -> u32 {
    data_status(enter(Flow::Hold, |vm| {
        vm.on_body(ContextId(context), Direction::Response, size, end != 0)
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_trailers(context: u32, _count: u32) -> u32 {
    trailers_status(enter(Flow::Hold, |vm| vm.on_trailers(ContextId(context), Direction::Response)))
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_receive(_context: u32, token: u32, _size: usize) {
    grpc(token, GrpcEvent::Message);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_close(_context: u32, token: u32, code: u32) {
    grpc(token, GrpcEvent::Closed(code));
}

/// Without headers the call has failed.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(
    _context: u32,
    token: u32,
    _headers: u32,
    _body_size: usize,
    _trailers: u32,
) {
    enter((), |vm| vm.on_page(Token(token)));
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(context: u32) {
    enter((), |vm| vm.on_delete(ContextId(context)));
}
