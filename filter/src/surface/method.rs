//! The methods that MLflow has routes for, and no other spelling of them.

use crate::refusal::Refusal;

/// Upper case only: Flask would run `get` as GET, the gate's table would not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

impl Method {
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Ok(match bytes {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => return Err(Refusal::Unsupported { why: "CONNECT is not proxied" }),
            _ => {
                return Err(Refusal::invalid(
                    "method",
                    "is none that MLflow serves, or not in capitals",
                ));
            }
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_lower_case_is_refused() {
        for method in [&b"get"[..], b"Get", b"pOST", b"", b"GET ", b"TRACE", b"\xff"] {
            assert!(Method::read(method).is_err(), "{method:?}");
        }
    }

    #[test]
    fn connect_is_unsupported() {
        assert!(matches!(Method::read(b"CONNECT"), Err(Refusal::Unsupported { .. })));
    }
}
