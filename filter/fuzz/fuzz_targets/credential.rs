//! Authorization headers are credentials or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::authn;

fuzz_target!(|bytes: &[u8]| {
    let _ = authn::read(Some(bytes));
    let _ = authn::basic::read(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = authn::jwt::Unverified::parse(text);
    }
});
