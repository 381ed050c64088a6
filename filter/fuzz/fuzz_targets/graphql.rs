//! Any query and variables are read or refused, within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::graphql;
use mlgate_filter::surface::json::{Object, Value, read_value};

fuzz_target!(|input: (&str, &str)| {
    let variables = read_value(input.1.as_bytes()).unwrap_or(Value::Null);
    let body = Object(vec![
        ("query".to_owned(), Value::String(input.0.to_owned())),
        ("variables".to_owned(), variables),
    ]);
    let _ = graphql::read(&body);
});
