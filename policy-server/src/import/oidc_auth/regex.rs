//! Python's regular expressions, as far as a glob says the same.

use crate::domain::Pattern;

/// What a regular expression matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// Exactly what this pattern matches.
    Pattern(Pattern),
    /// Something else; nobody can say what it has in common with other patterns.
    Unknown,
}

/// Reads a regular expression that Python applies with `re.match`: from the beginning, and up to
/// the end only where `$` or `\Z` says so. Names have no control characters and are not empty,
/// so `.` stands for every character, and `.+` alone for every name.
pub(super) fn shape(regex: &str) -> Shape {
    glob(regex).map_or(Shape::Unknown, Shape::Pattern)
}

fn glob(regex: &str) -> Option<Pattern> {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let mut pieces = vec![String::new()];
    let mut characters = regex.chars().peekable();
    let mut ended = false;
    while let Some(character) = characters.next() {
        if ended {
            return None;
        }
        let literal = match character {
            '$' => {
                ended = true;
                continue;
            }
            '\\' => match characters.next()? {
                'Z' => {
                    ended = true;
                    continue;
                }
                // A letter or digit after a backslash is a class, a group or an anchor.
                escaped if escaped.is_ascii_punctuation() => escaped,
                _ => return None,
            },
            '.' => match characters.next()? {
                '*' => {
                    refuse_quantifier(characters.peek())?;
                    pieces.push(String::new());
                    continue;
                }
                '+' if is_all(regex) => return Some(Pattern::Every),
                _ => return None,
            },
            '^' | '*' | '+' | '?' | '{' | '}' | '[' | ']' | '(' | ')' | '|' => return None,
            plain => plain,
        };
        refuse_quantifier(characters.peek())?;
        pieces.last_mut()?.push(literal);
    }
    if !ended {
        pieces.push(String::new());
    }
    match pieces.as_slice() {
        [text] => Some(Pattern::Exact(text.clone())),
        pieces if pieces.iter().all(String::is_empty) => Some(Pattern::Every),
        // A glob has no way to say a star that is meant.
        pieces if pieces.iter().any(|piece| piece.contains('*')) => None,
        pieces => Some(Pattern::Glob(pieces.join("*"))),
    }
}

/// What follows must not repeat or divide what was read.
fn refuse_quantifier(next: Option<&char>) -> Option<()> {
    match next {
        Some('*' | '+' | '?' | '{' | '|') => None,
        _ => Some(()),
    }
}

fn is_all(regex: &str) -> bool {
    matches!(regex, ".+" | ".+$" | ".+\\Z")
}

impl Shape {
    /// Whether some name may be matched by both.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        let (Self::Pattern(one), Self::Pattern(other)) = (self, other) else { return true };
        match (one, other) {
            (Pattern::Exact(name), pattern) | (pattern, Pattern::Exact(name)) => {
                pattern.matches(name)
            }
            // Globs that begin differently have nothing in common; of others it is not worked out.
            (one, other) => {
                let (one, other) = (beginning(one), beginning(other));
                one.starts_with(other) || other.starts_with(one)
            }
        }
    }
}

fn beginning(pattern: &Pattern) -> &str {
    pattern.as_str().split('*').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Shape {
        Shape::Pattern(Pattern::Glob(text.to_owned()))
    }

    fn exact(text: &str) -> Shape {
        Shape::Pattern(Pattern::Exact(text.to_owned()))
    }

    #[test]
    fn what_a_glob_says_as_well_becomes_one() {
        for (regex, expected) in [
            ("", Shape::Pattern(Pattern::Every)),
            (".*", Shape::Pattern(Pattern::Every)),
            ("^.*$", Shape::Pattern(Pattern::Every)),
            (".+", Shape::Pattern(Pattern::Every)),
            ("fraud", glob("fraud*")),
            ("^fraud-.*", glob("fraud-**")),
            ("^fraud-.*$", glob("fraud-*")),
            (r"team\.a-.*-prod\Z", glob("team.a-*-prod")),
            ("^churn$", exact("churn")),
            (r"^a\*b$", exact("a*b")),
        ] {
            assert_eq!(shape(regex), expected, "{regex}");
        }
    }

    #[test]
    fn whatever_else_a_regular_expression_says_is_not_guessed() {
        for regex in [
            "a.b", "a|b", "(a)", "[ab].*", "a+", "a?b", "a{2}", r"\d+", r"\w", r"a\b", "(?i)a.*",
            "a.+", "a.*?b", r"\*.*", "a^b", "a$b", r"\", ".", "a.",
        ] {
            assert_eq!(shape(regex), Shape::Unknown, "{regex}");
        }
    }

    #[test]
    fn an_overlap_is_denied_only_where_it_is_certain() {
        assert!(!exact("a").may_overlap(&exact("b")));
        assert!(exact("team-a").may_overlap(&glob("team-*")));
        assert!(!exact("b").may_overlap(&glob("a*")));
        assert!(!glob("a*").may_overlap(&glob("b*")));
        assert!(glob("a*x").may_overlap(&glob("a*y")), "not worked out");
        assert!(Shape::Unknown.may_overlap(&exact("a")));
    }
}
