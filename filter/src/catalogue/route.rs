//! What the catalogue knows of one route.

use crate::operation::{Effect, EffectId, GraphRows, Place, ResponseWork, ScopedField, WhenEmpty};
use crate::refusal::Refusal;
use crate::requirement::{
    MAX_CONDITIONS, ReferenceKind, Requirement, ResourceType, Scope, Standing, conditions,
};
use crate::surface::inputs::{Field, Inputs, camel_case};
use crate::surface::method::Method;

use super::need::Need;

/// Under which prefixes MLflow mounts a route. The static prefix may stand before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// `/api` and `/ajax-api`.
    Both,
    Api,
    Ajax,
    /// At the root, e.g. `/graphql`.
    Root,
}

impl Mount {
    pub const fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["/api", "/ajax-api"],
            Self::Api => &["/api"],
            Self::Ajax => &["/ajax-api"],
            Self::Root => &[""],
        }
    }
}

/// What is read of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// There is none.
    Nothing,
    /// A JSON object.
    Json,
    /// Other bytes, read whole.
    Bytes,
    /// Not looked at: it streams through.
    Streamed,
}

/// Something computed from all that was read of a request.
pub type Rule<T> = fn(&Inputs) -> Result<T, Refusal>;

/// Ids that are cut down instead of refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeSpec {
    pub field: Field,
    pub resource: ResourceType,
    pub vetoes: &'static [ResourceType],
    pub when_empty: WhenEmpty,
}

/// A search that takes the ids to search among: only rows the caller may read are found then, in
/// full pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectSpec {
    /// As a condition in its filter, put before the caller's. The attribute's name is that of
    /// MLflow's filter grammar.
    Filter { resource: ResourceType, attribute: &'static str },
    /// As a repeated key of its query. What the caller lists there is cut down; one empty value is
    /// a list of none.
    Listed { resource: ResourceType, field: Field, when_empty: WhenEmpty },
}

/// Where a catalogue line takes an effect's id from.
#[derive(Debug, Clone, Copy)]
pub enum EffectSpec {
    /// The caller manages what the response names; the field is what the client calls it.
    CreatedInResponse(ResourceType, &'static [&'static str], Field),
    /// The caller manages what the request names.
    Created(ResourceType, Field),
    Deleted(ResourceType, Field),
    Renamed(ResourceType, Field, Field),
    Owned(ReferenceKind, &'static [&'static str]),
    /// Computed, e.g. a scorer's key.
    By(Rule<Vec<Effect>>),
}

/// One route. Built by the functions below, so that a line of the catalogue reads as a sentence.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: Method,
    pub mount: Mount,
    /// After the mount, in `matchit`'s syntax: `{name}`, `{*rest}`.
    pub path: &'static str,
    pub needs: &'static [Need],
    pub input: Input,
    /// Query keys that may repeat on this route only.
    pub repeated: &'static [&'static str],
    pub scopes: &'static [ScopeSpec],
    pub select: Option<SelectSpec>,
    /// Types of the response's rows whose readable ids are to be told with the decision, so that
    /// nothing more must be asked when the rows come.
    pub told: &'static [ResourceType],
    /// Scopes that only the rewriting of the response uses; they come before all others.
    pub judged_by: Option<Rule<Vec<Scope>>>,
    pub response: ResponseWork,
    /// Instead of `response`, where it depends on what was asked.
    pub responding: Option<Rule<ResponseWork>>,
    /// Where a GraphQL answer has rows to judge.
    pub graphed: Option<Rule<Vec<GraphRows>>>,
    pub effects: &'static [EffectSpec],
    pub may_be_public: bool,
    /// Why it is as it is, where that is not plain.
    pub note: &'static str,
}

const fn line(
    method: Method,
    mount: Mount,
    path: &'static str,
    input: Input,
    needs: &'static [Need],
) -> Route {
    Route {
        method,
        mount,
        path,
        needs,
        input,
        repeated: &[],
        scopes: &[],
        select: None,
        told: &[],
        judged_by: None,
        response: ResponseWork::None,
        responding: None,
        graphed: None,
        effects: &[],
        may_be_public: false,
        note: "",
    }
}

pub const fn get(mount: Mount, path: &'static str, needs: &'static [Need]) -> Route {
    line(Method::Get, mount, path, Input::Nothing, needs)
}

pub const fn post(mount: Mount, path: &'static str, needs: &'static [Need]) -> Route {
    line(Method::Post, mount, path, Input::Json, needs)
}

pub const fn put(mount: Mount, path: &'static str, needs: &'static [Need]) -> Route {
    line(Method::Put, mount, path, Input::Json, needs)
}

pub const fn patch(mount: Mount, path: &'static str, needs: &'static [Need]) -> Route {
    line(Method::Patch, mount, path, Input::Json, needs)
}

pub const fn delete(mount: Mount, path: &'static str, needs: &'static [Need]) -> Route {
    line(Method::Delete, mount, path, Input::Json, needs)
}

impl Route {
    pub const fn streamed(mut self) -> Self {
        self.input = Input::Streamed;
        self
    }

    pub const fn bytes(mut self) -> Self {
        self.input = Input::Bytes;
        self
    }

    pub const fn repeated(mut self, keys: &'static [&'static str]) -> Self {
        self.repeated = keys;
        self
    }

    pub const fn scoped(mut self, scopes: &'static [ScopeSpec]) -> Self {
        self.scopes = scopes;
        self
    }

    pub const fn selecting(mut self, select: SelectSpec) -> Self {
        self.select = Some(select);
        self
    }

    pub const fn telling(mut self, told: &'static [ResourceType]) -> Self {
        self.told = told;
        self
    }

    pub const fn response(mut self, work: ResponseWork) -> Self {
        self.response = work;
        self
    }

    pub const fn responding(mut self, rule: Rule<ResponseWork>) -> Self {
        self.responding = Some(rule);
        self
    }

    pub const fn graphed(mut self, rule: Rule<Vec<GraphRows>>) -> Self {
        self.graphed = Some(rule);
        self
    }

    pub const fn judged_by(mut self, rule: Rule<Vec<Scope>>) -> Self {
        self.judged_by = Some(rule);
        self
    }

    pub const fn then(mut self, effects: &'static [EffectSpec]) -> Self {
        self.effects = effects;
        self
    }

    /// May be listed in `public_routes`.
    pub const fn open(mut self) -> Self {
        self.may_be_public = true;
        self
    }

    pub const fn note(mut self, note: &'static str) -> Self {
        // For people: the module does without.
        if !cfg!(target_arch = "wasm32") {
            self.note = note;
        }
        self
    }

    pub fn is_administration(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::Administration))
    }

    pub fn repeated_keys(&self) -> &'static [&'static str] {
        self.repeated
    }

    /// Whether a query key is one of the fields this route takes ids from.
    pub fn names_a_field(&self, key: &str) -> bool {
        let snake_or_camel = |name: &str| key == name || key == camel_case(name);
        self.needs
            .iter()
            .flat_map(|need| need.fields())
            .map(|field| field.name.split(['.', '[']).next().unwrap_or(field.name))
            .any(|name| snake_or_camel(name) || (name == "run_id" && snake_or_camel("run_uuid")))
    }

    /// What this request needs, given all that was read of it.
    pub fn demand(&self, inputs: &Inputs) -> Result<Demand, Refusal> {
        let mut demand = Demand { response: self.response, ..Demand::default() };
        for need in self.needs {
            demand.requirements.extend(need.requirements(inputs)?);
        }
        if conditions(&demand.requirements) > MAX_CONDITIONS {
            return Err(Refusal::invalid("the request", "names more than is decided at once"));
        }
        if let Some(rule) = self.responding {
            demand.response = rule(inputs)?;
        }
        if let Some(rule) = self.graphed {
            demand.graph = rule(inputs)?;
            if !demand.graph.is_empty() {
                demand.response = ResponseWork::Graph;
            }
        }
        if let Some(rule) = self.judged_by {
            demand.scopes = rule(inputs)?;
        }
        for scope in self.scopes {
            demand.add_scope(scope, inputs)?;
        }
        if let Some(select) = self.select {
            demand.add_select(select, inputs)?;
        }
        demand.scopes.extend(self.told.iter().map(|&resource| every(resource)));
        for effect in self.effects {
            demand.effects.extend(effect.effects(inputs)?);
        }
        Ok(demand)
    }
}

/// What a request needs and causes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    pub requirements: Vec<Requirement>,
    pub scopes: Vec<Scope>,
    pub scoped: Vec<ScopedField>,
    pub response: ResponseWork,
    pub graph: Vec<GraphRows>,
    pub effects: Vec<Effect>,
}

impl Demand {
    fn add_scope(&mut self, spec: &ScopeSpec, inputs: &Inputs) -> Result<(), Refusal> {
        let ids = inputs.all(spec.field)?;
        let name = spec.field.name;
        let (place, spelt) = match &inputs.body {
            Some(body) if body.get(name).is_some() => (Place::Body, name.to_owned()),
            Some(_) => (Place::Body, camel_case(name)),
            None => (Place::Query, name.to_owned()),
        };
        self.scoped.push(ScopedField {
            scope: self.scopes.len(),
            field: spelt,
            place,
            when_empty: spec.when_empty,
        });
        self.scopes.push(Scope {
            resource: spec.resource,
            ids,
            every: false,
            rungs: Vec::new(),
            vetoes: spec.vetoes.to_vec(),
        });
        Ok(())
    }

    fn add_select(&mut self, spec: SelectSpec, inputs: &Inputs) -> Result<(), Refusal> {
        let (field, place, when_empty, scope) = match spec {
            SelectSpec::Filter { resource, attribute } => {
                let by_body = inputs.body.is_some();
                let place = if by_body { Place::FilterInBody } else { Place::FilterInQuery };
                (attribute, place, WhenEmpty::Answer("{}"), every(resource))
            }
            SelectSpec::Listed { resource, field, when_empty } => {
                let (place, scope) = match given(inputs, field)? {
                    Some(ids) => (Place::Query, Scope { ids, every: false, ..every(resource) }),
                    None => (Place::ListInQuery(field.form), every(resource)),
                };
                (field.name, place, when_empty, scope)
            }
        };
        let scoped =
            ScopedField { scope: self.scopes.len(), field: field.to_owned(), place, when_empty };
        self.scoped.push(scoped);
        self.scopes.push(scope);
        Ok(())
    }
}

/// The list that a query has, which may be one of none.
fn given(inputs: &Inputs, field: Field) -> Result<Option<Vec<String>>, Refusal> {
    let values: Vec<_> = inputs.query.all(field.name).collect();
    match values.as_slice() {
        [] => Ok(None),
        [""] => Ok(Some(Vec::new())),
        _ => inputs.all(field).map(Some),
    }
}

fn every(resource: ResourceType) -> Scope {
    Scope { resource, ids: Vec::new(), every: true, rungs: Vec::new(), vetoes: Vec::new() }
}

impl EffectSpec {
    fn effects(&self, inputs: &Inputs) -> Result<Vec<Effect>, Refusal> {
        Ok(vec![match *self {
            Self::CreatedInResponse(resource, path, name) => {
                let name = inputs.optional(name)?.unwrap_or_default();
                Effect::Created { resource, id: EffectId::Response(path), name }
            }
            Self::Created(resource, field) => {
                let name = inputs.one(field)?;
                Effect::Created { resource, id: EffectId::Known(name.clone()), name }
            }
            Self::Deleted(resource, field) => Effect::Deleted { resource, id: inputs.one(field)? },
            Self::Renamed(resource, from, to) => {
                Effect::Renamed { resource, from: inputs.one(from)?, to: inputs.one(to)? }
            }
            Self::Owned(kind, path) => Effect::Owned { kind, id: EffectId::Response(path) },
            Self::By(rule) => return rule(inputs),
        }])
    }
}

/// For lines that only a super admin may use.
pub const ADMIN: &[Need] = &[Need::Standing(Standing::SuperAdmin)];
/// For lines that need a login and nothing else.
pub const ANYONE: &[Need] = &[Need::Standing(Standing::Authenticated)];
