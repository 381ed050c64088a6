//! Every route that MLflow serves, and what each needs.
//!
//! One line per route in the family files below; [`find`] matches, [`Route::demand`] turns the ids
//! that were read into requirements. To add a route see `filter/README.md`.

mod families;
pub mod field;
mod matcher;
pub mod need;
mod oracle;
mod route;
pub mod rows;

pub use self::matcher::{Found, find, problems};
pub use self::route::{Demand, EffectSpec, Input, Mount, Route, ScopeSpec, SelectSpec};

/// All routes, family by family.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    families::ALL.iter().flat_map(|family| family.iter())
}

/// Whether a template may be in `public_routes`: it is a GET that needs nothing but a login.
pub fn may_be_public(template: &str) -> bool {
    use crate::surface::method::Method;
    let mut found = routes().filter(|route| route.path == template).peekable();
    found.peek().is_some() && found.all(|route| route.method == Method::Get && route.may_be_public)
}
