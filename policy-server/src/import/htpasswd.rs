//! Users of an Apache `htpasswd` file.

use std::path::Path;
use std::str::FromStr as _;

use super::{ImportError, Source, SourceUser};
use crate::credentials::PasswordHash;

/// Reads `user:hash` lines; empty lines and comments pass.
///
/// # Errors
/// `File` when the file can not be read.
pub fn read(path: &Path) -> Result<Source, ImportError> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| ImportError::File { place: path.display().to_string(), why })?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Source {
    let mut source = Source::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("line {}", number + 1);
        let Some((username, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty())
        else {
            source.note(place, "is not user:hash");
            continue;
        };
        if let Err(why) = PasswordHash::from_str(hash) {
            source.note(format!("user {username} ({place})"), why.to_string());
            continue;
        }
        if source.users.contains_key(username) {
            source.note(format!("user {username} ({place})"), "comes twice; the first one counts");
            continue;
        }
        let user = SourceUser { password_hash: Some(hash.into()), ..SourceUser::default() };
        source.users.insert(username.to_owned(), user);
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_can_not_be_used_are_reported_without_their_hash() {
        let source = parse(
            "# users\n\
             alice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n\
             \n\
             bob:plaintext-password\n\
             alice:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n\
             nonsense\n",
        );
        assert_eq!(source.users.keys().collect::<Vec<_>>(), ["alice"]);
        let notes: Vec<&str> = source.notes.iter().map(|note| note.what.as_str()).collect();
        assert_eq!(notes, ["user bob (line 4)", "user alice (line 5)", "line 6"]);
        assert!(!format!("{:?}", source.notes).contains("plaintext"));
    }
}
