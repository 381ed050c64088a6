//! Content codings of bodies that are read but not rewritten: OTLP exports.
//!
//! MLflow inflates with Python's `gzip` and `zlib`, without a limit, and tries a body that is no
//! zlib stream again as bare deflate. What is accepted here inflates to the same bytes there.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

use crate::refusal::Refusal;

const BODY: &str = "body";

/// The body as its handler sees it. A body that inflates to more than `limit` bytes is too large,
/// however small it came.
pub fn decode<'a>(
    coding: Option<&str>,
    body: &'a [u8],
    limit: usize,
) -> Result<Cow<'a, [u8]>, Refusal> {
    let Some(coding) = coding else { return Ok(Cow::Borrowed(body)) };
    match coding.to_ascii_lowercase().as_str() {
        "gzip" => inflate(body, limit, GzDecoder::new).map(Cow::Owned),
        "deflate" => {
            let inflated = inflate(body, limit, ZlibDecoder::new)?;
            // Should Python's zlib be the stricter one, it would go on to read bare deflate.
            match inflate(body, limit, DeflateDecoder::new) {
                Err(Refusal::Invalid { .. }) => Ok(Cow::Owned(inflated)),
                _ => Err(Refusal::ambiguous(BODY, "is deflate with and without a zlib header")),
            }
        }
        _ => Err(Refusal::invalid("content-encoding", "must be gzip, deflate or absent")),
    }
}

/// One stream that is the whole of `body`: Python ignores what follows zlib's and goes on after
/// gzip's.
fn inflate<'a, D: Read + Rest>(
    body: &'a [u8],
    limit: usize,
    decoder: impl Fn(&'a [u8]) -> D,
) -> Result<Vec<u8>, Refusal> {
    let mut decoder = decoder(body);
    let mut inflated = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .by_ref()
        .take(most)
        .read_to_end(&mut inflated)
        .map_err(|_| Refusal::invalid(BODY, "is not in its content-encoding"))?;
    if inflated.len() > limit {
        return Err(Refusal::TooLarge { limit });
    }
    if decoder.rest() != 0 {
        return Err(Refusal::ambiguous(BODY, "goes on after its compressed stream"));
    }
    Ok(inflated)
}

/// How many bytes the stream did not use.
trait Rest {
    fn rest(&self) -> usize;
}

impl Rest for GzDecoder<&[u8]> {
    fn rest(&self) -> usize {
        self.get_ref().len()
    }
}

impl Rest for ZlibDecoder<&[u8]> {
    fn rest(&self) -> usize {
        self.get_ref().len()
    }
}

impl Rest for DeflateDecoder<&[u8]> {
    fn rest(&self) -> usize {
        self.get_ref().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    const SPANS: &[u8] = b"the spans of an export, the spans of an export";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_exporters_send_is_read() {
        assert_eq!(*decode(None, SPANS, 64).unwrap(), *SPANS);
        assert_eq!(*decode(Some("gzip"), &gzip(SPANS), 64).unwrap(), *SPANS);
        assert_eq!(*decode(Some("GZIP"), &gzip(SPANS), 64).unwrap(), *SPANS);
        assert_eq!(*decode(Some("deflate"), &zlib(SPANS), 64).unwrap(), *SPANS);
    }

    #[test]
    fn a_small_body_that_inflates_beyond_the_limit_is_too_large() {
        let bomb = vec![0; 1 << 20];
        for (coding, body) in [("gzip", gzip(&bomb)), ("deflate", zlib(&bomb))] {
            assert!(body.len() < 2048);
            let refusal = decode(Some(coding), &body, 4096).unwrap_err();
            assert_eq!(refusal, Refusal::TooLarge { limit: 4096 }, "{coding}");
            assert!(decode(Some(coding), &body, 1 << 20).is_ok(), "{coding}");
        }
    }

    #[test]
    fn bytes_after_the_stream_are_refused() {
        for (coding, mut body) in [("gzip", gzip(SPANS)), ("deflate", zlib(SPANS))] {
            let again = body.clone();
            body.extend(again);
            assert!(decode(Some(coding), &body, 4096).is_err(), "{coding}");
        }
    }

    #[test]
    fn a_damaged_or_mislabelled_stream_is_refused() {
        for (coding, body) in [("gzip", gzip(SPANS)), ("deflate", zlib(SPANS))] {
            let cut = body.split_last().unwrap().1;
            assert!(decode(Some(coding), cut, 4096).is_err(), "{coding}");
            let mut damaged = body.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert!(decode(Some(coding), &damaged, 4096).is_err(), "{coding}");
            assert!(decode(Some(coding), b"", 4096).is_err(), "{coding}");
        }
        assert!(decode(Some("gzip"), &zlib(SPANS), 4096).is_err());
        assert!(decode(Some("deflate"), &gzip(SPANS), 4096).is_err());
    }

    #[test]
    fn bare_deflate_and_other_codings_are_refused() {
        assert!(decode(Some("deflate"), &bare(SPANS), 4096).is_err());
        for coding in ["zstd", "br", "identity", "gzip, gzip", "x-gzip", ""] {
            assert!(decode(Some(coding), &gzip(SPANS), 4096).is_err(), "{coding}");
        }
    }
}
