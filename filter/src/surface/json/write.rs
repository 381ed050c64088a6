//! JSON as it is forwarded: keys in their order, numbers to the digit.

use super::{Object, Value};

impl Object {
    pub fn to_bytes(&self) -> Vec<u8> {
        self.written(Spacing::None)
    }

    /// In the form of Python's `json.dumps`, which is what MLflow's client sends.
    pub fn to_python_bytes(&self) -> Vec<u8> {
        self.written(Spacing::Python)
    }

    fn written(&self, spacing: Spacing) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        write_object(self, spacing, &mut out);
        out
    }
}

#[derive(Clone, Copy)]
pub(super) enum Spacing {
    None,
    Python,
}

impl Spacing {
    const fn comma(self) -> &'static [u8] {
        match self {
            Self::None => b",",
            Self::Python => b", ",
        }
    }

    const fn colon(self) -> &'static [u8] {
        match self {
            Self::None => b":",
            Self::Python => b": ",
        }
    }
}

fn write_object(object: &Object, spacing: Spacing, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (key, value)) in object.0.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(spacing.comma());
        }
        write_string(key, out);
        out.extend_from_slice(spacing.colon());
        write_value(value, spacing, out);
    }
    out.push(b'}');
}

pub(super) fn write_value(value: &Value, spacing: Spacing, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(text) => out.extend_from_slice(text.as_bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(spacing.comma());
                }
                write_value(item, spacing, out);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, spacing, out),
    }
}

/// What JSON cannot have in a string as it is.
pub(super) const fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(is_special) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}
