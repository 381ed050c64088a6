//! The ABI's serialisation of header lists: a count, the lengths of each pair, then the bytes,
//! each ended by NUL. Little endian.

use crate::headers::{Headers, Span};

/// `None` where the bytes are not a well-formed list. The list keeps the bytes as they came.
pub fn decode_pairs(bytes: Vec<u8>) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Headers::new());
    }
    let (count, rest) = take_u32(&bytes)?;
    let count = usize::try_from(count).ok()?;
    let (mut lengths, data) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut at = bytes.len().checked_sub(data.len())?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_length, rest) = take_u32(lengths)?;
        let (value_length, rest) = take_u32(rest)?;
        lengths = rest;
        let mut take = |length: u32| {
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            let span = (at, end);
            // Each string is ended by a NUL, which must be there too.
            at = end.checked_add(1)?;
            (at <= bytes.len()).then_some(span)
        };
        spans.push(Span { name: take(name_length)?, value: take(value_length)? });
    }
    Some(Headers::from_buffer(bytes, spans))
}

pub fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let count = u32::try_from(pairs.clone().count()).unwrap_or(u32::MAX);
    let mut out = count.to_le_bytes().to_vec();
    for (name, value) in pairs.clone() {
        out.extend_from_slice(&length(name));
        out.extend_from_slice(&length(value));
    }
    for (name, value) in pairs {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_the_round_trip_byte_for_byte() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/caf\xe9"), (b"x", b""), (b"x", b"a\0b")];
        let decoded = decode_pairs(encode_pairs(pairs.into_iter())).unwrap();
        assert_eq!(decoded.len(), 3);
        assert!(decoded.iter().eq(pairs));
    }

    #[test]
    fn truncated_or_lying_lists_are_refused_and_not_read_past() {
        let good = encode_pairs([(b"name".as_slice(), b"value".as_slice())].into_iter());
        for cut in 1..good.len() {
            assert_eq!(decode_pairs(good[..cut].to_vec()), None, "cut at {cut}");
        }
        assert_eq!(decode_pairs(vec![0xff; 12]), None);
        assert_eq!(decode_pairs(Vec::new()), Some(Headers::new()));
    }
}
