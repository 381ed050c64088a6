//! Database URLs in the spellings that people have at hand: sqlx's, and SQLAlchemy's (MLflow).

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::error::{Result, StoreError};

/// Where a database is. `Display` never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    Postgres(Url),
}

impl DatabaseUrl {
    /// Reads `sqlite:PATH`, `sqlite://PATH` (so `sqlite:///abs` is absolute) and
    /// `postgres[ql][+driver]://…`.
    ///
    /// # Errors
    /// `Invalid` naming `field` for any other scheme, an empty path, or `:memory:`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("sqlite", path)) => Self::sqlite(field, path.strip_prefix("//").unwrap_or(path)),
            _ => Self::postgres(field, text),
        }
    }

    /// Reads a URL as SQLAlchemy does: `sqlite:///relative`, `sqlite:////absolute`, and
    /// `postgresql[+driver]://…`.
    ///
    /// # Errors
    /// As for [`DatabaseUrl::parse`].
    pub fn parse_sqlalchemy(field: &'static str, text: &str) -> Result<Self> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        if scheme != "sqlite" && !scheme.starts_with("sqlite+") {
            return Self::postgres(field, text);
        }
        match text[scheme.len()..].strip_prefix(":///") {
            Some(path) => Self::sqlite(field, path),
            None => Err(StoreError::invalid(
                field,
                "expected sqlite:///relative/path.db or sqlite:////absolute/path.db",
            )),
        }
    }

    fn sqlite(field: &'static str, path: &str) -> Result<Self> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path.is_empty() || path == ":memory:" {
            return Err(StoreError::invalid(
                field,
                "expected sqlite:PATH of a file; a database in memory would be gone at the next \
                 start",
            ));
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    fn postgres(field: &'static str, text: &str) -> Result<Self> {
        // The text may hold a password, so errors never repeat it.
        let expected = "expected sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE";
        let invalid = || StoreError::invalid(field, expected);
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        let dialect = scheme.split_once('+').map_or(scheme, |(dialect, _)| dialect);
        if !matches!(dialect, "postgres" | "postgresql") {
            return Err(invalid());
        }
        let url = Url::parse(&format!("postgres://{rest}"))
            .map_err(|why| StoreError::invalid(field, format!("{expected}: {why}")))?;
        Ok(Self::Postgres(url))
    }

    /// In the spelling of sqlx's drivers. Holds the password.
    pub(crate) fn for_sqlx(&self, mode: SqliteMode) -> Result<String> {
        match self {
            Self::Postgres(url) => Ok(url.to_string()),
            Self::Sqlite(path) => {
                let path = std::path::absolute(path)
                    .map_err(|why| StoreError::invalid("store", why.to_string()))?;
                let file = Url::from_file_path(&path).map_err(|()| {
                    StoreError::invalid("store", format!("{}: not a path", path.display()))
                })?;
                Ok(format!("sqlite://{}?mode={}", file.path(), mode.as_str()))
            }
        }
    }

    pub fn sqlite_path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// How a SQLite file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqliteMode {
    ReadOnly,
    ReadWriteCreate,
}

impl SqliteMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWriteCreate => "rwc",
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let mut shown = url.clone();
                if shown.password().is_some() {
                    // Fails only for URLs without a host, which then have no password either.
                    let _ = shown.set_password(Some("***"));
                }
                // Other secrets can hide in the query, e.g. sslpassword.
                shown.set_query(None);
                f.write_str(shown.as_str())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(path: &str) -> DatabaseUrl {
        DatabaseUrl::Sqlite(PathBuf::from(path))
    }

    #[test]
    fn our_own_spelling_is_absolute_with_three_slashes() {
        let parse = |text| DatabaseUrl::parse("store", text).unwrap();
        assert_eq!(parse("sqlite:///var/lib/mlgate.db"), sqlite("/var/lib/mlgate.db"));
        assert_eq!(parse("sqlite:mlgate.db"), sqlite("mlgate.db"));
        assert_eq!(parse("sqlite://mlgate.db?mode=rwc"), sqlite("mlgate.db"));
    }

    #[test]
    fn sqlalchemy_spelling_is_absolute_with_four_slashes() {
        let parse = |text| DatabaseUrl::parse_sqlalchemy("from", text).unwrap();
        assert_eq!(parse("sqlite:///basic_auth.db"), sqlite("basic_auth.db"));
        assert_eq!(parse("sqlite:////var/lib/basic_auth.db"), sqlite("/var/lib/basic_auth.db"));
        assert!(DatabaseUrl::parse_sqlalchemy("from", "sqlite://host/x").is_err());
    }

    #[test]
    fn postgres_is_read_with_any_driver_and_shown_without_its_password() {
        for text in [
            "postgres://mlgate:s3cret@db:5432/policy",
            "postgresql://mlgate:s3cret@db:5432/policy",
            "postgresql+psycopg2://mlgate:s3cret@db:5432/policy?sslpassword=s3cret",
        ] {
            let url = DatabaseUrl::parse("store", text).unwrap();
            assert!(url.for_sqlx(SqliteMode::ReadOnly).unwrap().contains("s3cret"));
            assert_eq!(url.to_string(), "postgres://mlgate:***@db:5432/policy");
        }
    }

    #[test]
    fn an_unusable_url_is_refused_without_repeating_it() {
        for text in ["mysql://u:s3cret@h/d", "s3cret", "sqlite:", "sqlite::memory:"] {
            let error = DatabaseUrl::parse("store", text).unwrap_err().to_string();
            assert!(error.starts_with("store: "), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn odd_characters_in_a_path_survive() {
        let url = sqlite("/tmp/a b%41?#.db").for_sqlx(SqliteMode::ReadOnly).unwrap();
        assert_eq!(url, "sqlite:///tmp/a%20b%2541%3F%23.db?mode=ro");
    }
}
