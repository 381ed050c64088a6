//! Requests that the gate answers itself, before any decision about grants.

/// Why a request is answered by the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: MLflow and the gate, or two versions of MLflow, could read it differently.
    Ambiguous { field: String, why: &'static str },
    /// 400: a required id is absent or not in MLflow's form.
    Invalid { field: String, why: &'static str },
    /// 403: denied whoever asks, with the catalogue's reason.
    Forbidden { why: &'static str },
    /// 413.
    TooLarge { limit: usize },
    /// 501: CONNECT and upgrades.
    Unsupported { why: &'static str },
}

// Kept out of their many callers: Envoy compiles every byte of the module.
impl Refusal {
    #[cold]
    #[inline(never)]
    pub fn ambiguous(field: impl Into<String>, why: &'static str) -> Self {
        Self::Ambiguous { field: field.into(), why }
    }

    #[cold]
    #[inline(never)]
    pub fn invalid(field: impl Into<String>, why: &'static str) -> Self {
        Self::Invalid { field: field.into(), why }
    }
}
