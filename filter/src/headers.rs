//! A header list as the proxy shows it.

/// Names and values in their order, pseudo-headers included.
///
/// All bytes lie in one buffer: a list of ten headers costs two allocations, not twenty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a name starts, where it ends, and the same of its value. In bounds of the buffer, else
/// the header reads as empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub name: (usize, usize),
    pub value: (usize, usize),
}

impl Headers {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a buffer that already holds the names and values.
    pub fn from_buffer(bytes: Vec<u8>, spans: Vec<Span>) -> Self {
        Self { bytes, spans }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let part = |(start, end): (usize, usize)| self.bytes.get(start..end).unwrap_or_default();
        self.spans.iter().map(move |span| (part(span.name), part(span.value)))
    }

    /// The first value of a header, whose name may be in any case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let mut append = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            (start, self.bytes.len())
        };
        let span = Span { name: append(name), value: append(value) };
        self.spans.push(span);
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.push(name.as_ref(), value.as_ref());
        }
        headers
    }
}

impl std::fmt::Debug for Headers {
    /// Names only: values hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// A byte of a header's name as a WSGI server reads it: `X_Y` and `x-y` are one header there.
pub const fn wsgi(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_its_bytes() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/caf\xe9"), (b"x", b""), (b"X", b"a\0b")];
        let headers: Headers = pairs.into_iter().collect();
        assert!(headers.iter().eq(pairs));
        assert_eq!(headers.get(b"x"), Some(b"".as_slice()));
    }

    #[test]
    fn a_span_out_of_bounds_reads_as_nothing() {
        let span = Span { name: (0, 9), value: (3, 1) };
        let headers = Headers::from_buffer(b"abc".to_vec(), vec![span]);
        assert!(headers.iter().eq([(b"".as_slice(), b"".as_slice())]));
    }

    #[test]
    fn what_is_printed_shows_no_value() {
        let headers: Headers = [("authorization", "Basic secret")].into_iter().collect();
        assert_eq!(format!("{headers:?}"), "[\"authorization\"]");
    }
}
