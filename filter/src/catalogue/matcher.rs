//! Finding the route of a path: one tree per method.

use std::sync::LazyLock;

use crate::surface::method::Method;

use super::{Route, routes};

/// A route and its path parameters.
#[derive(Debug, Clone)]
pub struct Found {
    pub route: &'static Route,
    pub params: Vec<(&'static str, String)>,
}

struct Trees {
    by_method: Vec<(Method, matchit::Router<&'static Route>)>,
    problems: Vec<String>,
}

static TREES: LazyLock<Trees> = LazyLock::new(|| {
    let mut trees = Trees { by_method: Vec::new(), problems: Vec::new() };
    for route in routes() {
        for prefix in route.mount.prefixes() {
            trees.insert(route, &format!("{prefix}{}", route.path));
        }
    }
    trees
});

impl Trees {
    /// A line that cannot be inserted is a route that does not exist: denied. A test finds it.
    fn insert(&mut self, route: &'static Route, template: &str) {
        let at = match self.by_method.iter().position(|(method, _)| *method == route.method) {
            Some(at) => at,
            None => {
                self.by_method.push((route.method, matchit::Router::new()));
                self.by_method.len().saturating_sub(1)
            }
        };
        if let Some((_, tree)) = self.by_method.get_mut(at)
            && let Err(problem) = tree.insert(template, route)
        {
            self.problems.push(format!("{} {template}: {problem}", route.method.as_str()));
        }
    }
}

/// The route of a decoded path without the gate's and MLflow's configured prefixes.
pub fn find(method: Method, path: &str) -> Option<Found> {
    let (_, tree) = TREES.by_method.iter().find(|(known, _)| *known == method)?;
    let matched = tree.at(path).ok()?;
    let route: &'static Route = matched.value;
    let params = matched
        .params
        .iter()
        .filter_map(|(name, value)| Some((parameter(route, name)?, value.to_owned())))
        .collect();
    Some(Found { route, params })
}

/// The template's own text of a parameter's name.
fn parameter(route: &'static Route, name: &str) -> Option<&'static str> {
    route.path.split(['{', '}', '*', '/']).find(|part| *part == name)
}

/// Lines that contradict each other; empty in a sound catalogue.
pub fn problems() -> &'static [String] {
    &TREES.problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lines_of_the_catalogue_contradict_each_other() {
        assert_eq!(problems(), Vec::<String>::new());
    }

    /// Only what another site's page must not send is held back from it.
    #[test]
    fn what_is_asked_by_get_changes_nothing() {
        use crate::catalogue::routes;
        let got: Vec<_> = routes().filter(|route| route.method == Method::Get).collect();
        assert!(got.len() > 50);
        for route in got {
            assert!(route.effects.is_empty(), "{}", route.path);
        }
    }

    #[test]
    fn both_prefixes_lead_to_the_same_line() {
        for path in ["/api/2.0/mlflow/runs/get", "/ajax-api/2.0/mlflow/runs/get"] {
            assert_eq!(find(Method::Get, path).unwrap().route.path, "/2.0/mlflow/runs/get");
        }
    }

    #[test]
    fn another_method_trailing_slash_or_case_is_no_route() {
        assert!(find(Method::Post, "/api/2.0/mlflow/runs/get").is_none());
        assert!(find(Method::Get, "/api/2.0/mlflow/runs/get/").is_none());
        assert!(find(Method::Get, "/API/2.0/mlflow/runs/get").is_none());
        assert!(find(Method::Get, "/2.0/mlflow/runs/get").is_none());
        assert!(find(Method::Head, "/").is_none());
    }
}
