//! A path that is accepted has one canonical form, which reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::path;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = path::read(bytes) {
        let again = path::read(read.encoded().as_bytes()).expect("the canonical form is accepted");
        assert_eq!(again, read);
        assert!(!read.as_str().contains(['%', '\\', ';', '#', '?']));
    }
});
