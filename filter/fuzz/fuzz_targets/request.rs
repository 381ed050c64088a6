//! Whole requests: no panic, and what would be forwarded is read in the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::operation::{BodyNeed, Operation, RawHead};
use mlgate_filter::surface::{Reading, SurfaceSettings, read_head};

type Input<'a> = (u8, &'a [u8], Vec<(&'a [u8], &'a [u8])>, Option<&'a [u8]>);
use mlgate_filter::headers::Headers;

const METHODS: [&[u8]; 8] =
    [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"get"];

fn operation(
    method: &[u8],
    path: &[u8],
    headers: &Headers,
    body: Option<&[u8]>,
) -> Option<Operation> {
    let head = RawHead { method, path, headers, end_of_stream: body.is_none() };
    match read_head(&SurfaceSettings::default(), head).ok()? {
        Reading::Routed(routed) => {
            let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
            routed.read(body.filter(|_| whole)).ok()
        }
        Reading::Unknown(operation) => Some(operation),
        Reading::Administer(call) => {
            let _ = call.read(body);
            None
        }
        _ => None,
    }
}

fuzz_target!(|input: Input<'_>| {
    let method = METHODS[usize::from(input.0) % METHODS.len()];
    let mut headers: Headers = input.2.iter().take(8).copied().collect();
    headers.push(b"content-type", b"application/json");
    let Some(first) = operation(method, input.1, &headers, input.3) else { return };
    let body = first.forward.body.clone().or_else(|| input.3.map(<[u8]>::to_vec));
    let again = operation(method, first.forward.path.as_bytes(), &headers, body.as_deref())
        .expect("what is forwarded is accepted");
    assert_eq!(again, first);
});
