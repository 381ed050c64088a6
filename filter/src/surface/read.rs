//! From a head to what it is: outside, public, administration, a route of MLflow's, or unknown.

use crate::catalogue::{self, Input, Route};
use crate::operation::{BodyNeed, Forward, Operation, RawHead, ResponseWork};
use crate::refusal::Refusal;
use crate::requirement::{Requirement, Standing};

use super::headers::{self, RequestHeaders};
use super::inputs::{Inputs, refuse_double_spellings};
use super::json;
use super::method::Method;
use super::path::{self, MAX_TARGET, split_target};
use super::query::Query;
use super::{SurfaceSettings, scope};

/// What a request is, as far as its head tells.
#[derive(Debug, Clone)]
pub enum Reading {
    /// Another host or path prefix: pass it on untouched.
    OutOfScope,
    /// Needs no credential; forward without one.
    Public(Passage),
    /// A CORS preflight: forward without a credential, MLflow's CORS rules answer it.
    Preflight(Passage),
    /// MLflow's user, role and permission API: answered by the policy server, never forwarded.
    Administer(Administration),
    /// A route of the catalogue.
    Routed(Routed),
    /// No such route: 403, unless the setting for admins lets this operation be decided. It needs
    /// a super admin and its body streams through unread.
    Unknown(Operation),
}

/// A request that is forwarded without a decision. It has no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    pub route: &'static str,
    pub forward: Forward,
}

/// A call of MLflow's administration API.
#[derive(Debug, Clone)]
pub struct Administration {
    pub method: Method,
    /// Canonical, without prefixes and query, e.g. `/api/3.0/mlflow/roles/list`.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// The essence, lower case; empty where there is no body.
    pub content_type: String,
    pub workspace: Option<String>,
    route: &'static Route,
    body_need: BodyNeed,
}

impl Administration {
    pub fn route(&self) -> &'static str {
        self.route.path
    }

    pub fn body_need(&self) -> BodyNeed {
        self.body_need
    }

    /// The body in canonical form, to be sent to the policy server.
    pub fn read(&self, body: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
        match (self.body_need, body) {
            (BodyNeed::Whole { limit }, Some(bytes)) if bytes.len() > limit => {
                Err(Refusal::TooLarge { limit })
            }
            (BodyNeed::Whole { .. }, Some(bytes)) if !bytes.is_empty() => {
                let object = json::read_object(bytes)?;
                refuse_double_spellings(&object)?;
                Ok(object.to_bytes())
            }
            (_, Some(bytes)) if !bytes.is_empty() => {
                Err(Refusal::ambiguous("body", "must be absent"))
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// A request that matched a route; its body may still have to be read.
#[derive(Debug, Clone)]
pub struct Routed {
    route: &'static Route,
    inputs: Inputs,
    /// Encoded, with all prefixes, without the query.
    path: String,
    body_need: BodyNeed,
}

impl Routed {
    /// The catalogue's template, e.g. `/2.0/mlflow/runs/get`.
    pub fn route(&self) -> &'static str {
        self.route.path
    }

    pub fn workspace(&self) -> Option<&str> {
        self.inputs.headers.workspace.as_deref()
    }

    pub fn body_need(&self) -> BodyNeed {
        self.body_need
    }

    /// Reads what [`Self::body_need`] asked for: `Some` for [`BodyNeed::Whole`], else `None`.
    pub fn read(mut self, body: Option<&[u8]>) -> Result<Operation, Refusal> {
        match self.body_need {
            BodyNeed::Whole { limit } => {
                let bytes = body.unwrap_or_default();
                if bytes.len() > limit {
                    return Err(Refusal::TooLarge { limit });
                }
                self.take_body(bytes)?;
            }
            BodyNeed::Forbidden if body.is_some_and(|bytes| !bytes.is_empty()) => {
                return Err(Refusal::ambiguous("body", "must be absent"));
            }
            BodyNeed::Forbidden | BodyNeed::Unread => {}
        }
        self.operation()
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match self.route.input {
            Input::Bytes => self.inputs.raw_body = bytes.to_vec(),
            Input::Json | Input::Streamed | Input::Nothing => {
                // Without a body MLflow's handlers see an empty message.
                if bytes.is_empty() && self.inputs.headers.content_type.is_none() {
                    return Ok(());
                }
                let object = if bytes.is_empty() {
                    json::Object::default()
                } else {
                    json::read_object(bytes)?
                };
                refuse_double_spellings(&object)?;
                self.refuse_query_ids(&object)?;
                self.inputs.body = (!bytes.is_empty()).then_some(object);
            }
        }
        Ok(())
    }

    /// Handlers of JSON routes ignore the query, validators of some versions do not.
    fn refuse_query_ids(&self, body: &json::Object) -> Result<(), Refusal> {
        for (key, _) in self.inputs.query.pairs() {
            let in_body = body.0.iter().any(|(name, _)| same_field(name, key));
            if in_body || self.route.names_a_field(key) {
                let shown: String = key.chars().take(64).collect();
                return Err(Refusal::ambiguous(shown, "is given beside a JSON body"));
            }
        }
        Ok(())
    }

    fn operation(self) -> Result<Operation, Refusal> {
        let Self { route, inputs, path, .. } = self;
        let demand = route.demand(&inputs)?;
        let forward = Forward {
            path: target(path, &inputs.query),
            body: inputs.body.as_ref().map(json::Object::to_bytes),
            scoped: demand.scoped,
        };
        Ok(Operation {
            route: route.path,
            requirements: demand.requirements,
            scopes: demand.scopes,
            workspace: inputs.headers.workspace,
            forward,
            response: demand.response,
            graph: demand.graph,
            effects: demand.effects,
        })
    }
}

fn same_field(one: &str, other: &str) -> bool {
    use super::inputs::camel_case;
    one == other || camel_case(one) == camel_case(other)
}

fn target(path: String, query: &Query) -> String {
    if query.is_empty() { path } else { format!("{path}?{}", query.canonical()) }
}

/// Reads a request's head.
pub fn read_head(settings: &SurfaceSettings, head: RawHead<'_>) -> Result<Reading, Refusal> {
    if scope::is_outside(settings, &head) {
        return Ok(Reading::OutOfScope);
    }
    let method = Method::read(head.method)?;
    let headers = headers::read(&head)?;
    if head.path.len() > MAX_TARGET {
        return Err(Refusal::invalid("path", "is too long"));
    }
    let (raw_path, raw_query) = split_target(head.path);
    let place = Place::read(settings, raw_path)?;
    let has_body = !head.end_of_stream && !headers.empty_body;

    if method == Method::Options && headers.preflight {
        return passage(method, place, raw_query, has_body).map(Reading::Preflight);
    }
    if method == Method::Head
        && let Some(found) = catalogue::find(Method::Get, &place.inner)
        && settings.public_routes.iter().any(|public| public == found.route.path)
    {
        return passage(method, place, raw_query, has_body).map(Reading::Public);
    }
    match catalogue::find(method, &place.inner) {
        Some(found) => routed(settings, method, headers, place, raw_query, has_body, found),
        None => unknown(method, headers, place, raw_query, has_body),
    }
}

/// A path split into what is kept and what is matched.
struct Place {
    /// Decoded, without the prefixes.
    inner: String,
    /// Encoded, whole.
    outer: String,
}

impl Place {
    fn read(settings: &SurfaceSettings, raw: &[u8]) -> Result<Self, Refusal> {
        let path = path::read_any(raw, &[&settings.path_prefix, &settings.static_prefix])?;
        let whole = path.as_str();
        let rest = strip_prefix(whole, &settings.path_prefix).ok_or_else(|| {
            Refusal::ambiguous("path", "leads into the gate's prefix in another spelling")
        })?;
        // FastAPI's artifact routes stay outside of the static prefix.
        let inner = strip_prefix(rest, &settings.static_prefix).unwrap_or(rest);
        let inner = if inner.is_empty() { "/" } else { inner };
        Ok(Self { inner: inner.to_owned(), outer: path.encoded() })
    }
}

fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn passage(
    method: Method,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
) -> Result<Passage, Refusal> {
    if has_body {
        return Err(Refusal::ambiguous("body", "must be absent"));
    }
    let query = Query::read(raw_query, &[])?;
    let route = catalogue::find(method, &place.inner)
        .or_else(|| catalogue::find(Method::Get, &place.inner))
        .map_or("(unknown)", |found| found.route.path);
    let forward = Forward { path: target(place.outer, &query), body: None, scoped: Vec::new() };
    Ok(Passage { route, forward })
}

fn unknown(
    method: Method,
    headers: RequestHeaders,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
) -> Result<Reading, Refusal> {
    if has_body && matches!(method, Method::Get | Method::Head | Method::Options) {
        return Err(Refusal::ambiguous("body", "must be absent"));
    }
    let query = Query::read(raw_query, &[])?;
    Ok(Reading::Unknown(Operation {
        route: "(unknown)",
        requirements: vec![Requirement::Standing(Standing::SuperAdmin)],
        scopes: Vec::new(),
        workspace: headers.workspace,
        forward: Forward { path: target(place.outer, &query), body: None, scoped: Vec::new() },
        response: ResponseWork::None,
        graph: Vec::new(),
        effects: Vec::new(),
    }))
}

fn routed(
    settings: &SurfaceSettings,
    method: Method,
    headers: RequestHeaders,
    place: Place,
    raw_query: &[u8],
    has_body: bool,
    found: catalogue::Found,
) -> Result<Reading, Refusal> {
    let catalogue::Found { route, params } = found;
    if settings.public_routes.iter().any(|public| public == route.path)
        && catalogue::may_be_public(route.path)
    {
        return passage(method, place, raw_query, has_body).map(Reading::Public);
    }
    let query = Query::read(raw_query, route.repeated_keys())?;
    let body_need = body_need(route, method, &headers, &query, has_body, settings.body_limit)?;
    if route.is_administration() {
        return Ok(Reading::Administer(Administration {
            method,
            path: place.inner,
            query: query.pairs().to_vec(),
            content_type: headers.content_type.unwrap_or_default().to_ascii_lowercase(),
            workspace: headers.workspace,
            route,
            body_need,
        }));
    }
    let inputs = Inputs { method, params, query, body: None, raw_body: Vec::new(), headers };
    Ok(Reading::Routed(Routed { route, inputs, path: place.outer, body_need }))
}

fn body_need(
    route: &Route,
    method: Method,
    headers: &RequestHeaders,
    query: &Query,
    has_body: bool,
    limit: usize,
) -> Result<BodyNeed, Refusal> {
    if matches!(method, Method::Get | Method::Head | Method::Options) {
        // MLflow would execute the body of a GET that has no query.
        return if has_body {
            Err(Refusal::ambiguous("body", "must be absent"))
        } else {
            Ok(BodyNeed::Forbidden)
        };
    }
    match route.input {
        Input::Streamed => Ok(BodyNeed::Unread),
        _ if !has_body => Ok(BodyNeed::Forbidden),
        Input::Nothing => Err(Refusal::ambiguous("body", "must be absent")),
        Input::Bytes => Ok(BodyNeed::Whole { limit }),
        Input::Json => {
            check_json_head(method, headers, query)?;
            Ok(BodyNeed::Whole { limit })
        }
    }
}

fn check_json_head(method: Method, headers: &RequestHeaders, query: &Query) -> Result<(), Refusal> {
    if headers.content_encoding.is_some() {
        return Err(Refusal::ambiguous("content-encoding", "is not read by MLflow"));
    }
    if headers.content_type.as_deref() != Some("application/json") {
        return Err(Refusal::invalid("content-type", "must be application/json"));
    }
    if method == Method::Delete && !query.is_empty() {
        return Err(Refusal::ambiguous("query", "is given beside a JSON body"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    struct Request {
        method: &'static str,
        path: String,
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        body: Option<Vec<u8>>,
    }

    fn get(path: impl Into<String>) -> Request {
        Request { method: "GET", path: path.into(), headers: Vec::new(), body: None }
    }

    fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { method: "POST", path: path.into(), headers: Vec::new(), body: Some(body.into()) }
            .with("content-type", "application/json")
    }

    impl Request {
        fn with(mut self, name: &str, value: &str) -> Self {
            self.headers.push((name.into(), value.into()));
            self
        }

        fn head(&self, settings: &SurfaceSettings) -> Result<Reading, Refusal> {
            read_head(
                settings,
                RawHead {
                    method: self.method.as_bytes(),
                    path: self.path.as_bytes(),
                    headers: &self.headers,
                    end_of_stream: self.body.is_none(),
                },
            )
        }

        fn operation(&self) -> Result<Operation, Refusal> {
            match self.head(&SurfaceSettings::default())? {
                Reading::Routed(routed) => {
                    let whole = matches!(routed.body_need(), BodyNeed::Whole { .. });
                    routed.read(self.body.as_deref().filter(|_| whole))
                }
                other => panic!("not routed: {other:?}"),
            }
        }
    }

    #[test]
    fn the_ui_may_label_a_request_without_body_as_json() {
        let request = get(format!("/ajax-api/2.0/mlflow/runs/get?run_id={RUN}"))
            .with("content-type", "application/json; charset=utf-8");
        assert_eq!(request.operation().unwrap().route, "/2.0/mlflow/runs/get");
    }

    #[test]
    fn the_client_may_send_run_uuid_and_run_id_together() {
        let path = format!("/api/2.0/mlflow/runs/get?run_uuid={RUN}&run_id={RUN}");
        assert_eq!(get(&path).operation().unwrap().forward.path, path);
    }

    #[test]
    fn a_get_with_a_body_is_refused() {
        let mut request = get("/api/2.0/mlflow/experiments/get?experiment_id=1");
        request.body = Some(br#"{"experiment_id":"2"}"#.to_vec());
        assert!(matches!(
            request.head(&SurfaceSettings::default()),
            Err(Refusal::Ambiguous { .. })
        ));
    }

    #[test]
    fn a_get_that_announces_an_empty_body_passes() {
        let mut request =
            get("/api/2.0/mlflow/experiments/get?experiment_id=1").with("content-length", "0");
        request.body = Some(Vec::new());
        assert!(request.operation().is_ok());
    }

    #[test]
    fn ids_in_query_and_body_are_refused() {
        let body = r#"{"experiment_id":"1","new_name":"x"}"#;
        for query in ["experiment_id=0", "experimentId=0", "new_name=y", "experiment%5Fid=0"] {
            let path = format!("/api/2.0/mlflow/experiments/update?{query}");
            assert!(post(&path, body).operation().is_err(), "{query}");
        }
        assert!(post("/api/2.0/mlflow/experiments/update", body).operation().is_ok());
    }

    #[test]
    fn a_body_that_is_not_plain_json_is_refused_at_the_head() {
        let path = "/api/2.0/mlflow/experiments/update";
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-type", "application/vnd.x+json"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-type", "Application/JSON"),
            ("content-type", "application/json; charset=utf-16"),
        ] {
            let mut request = post(path, "{}");
            request.headers = vec![(name.into(), value.into())];
            assert!(request.head(&SurfaceSettings::default()).is_err(), "{value}");
        }
        let gzip = post(path, "{}").with("content-encoding", "gzip");
        assert!(gzip.head(&SurfaceSettings::default()).is_err());
        let mut bare = post(path, "{}");
        bare.headers.clear();
        assert!(bare.head(&SurfaceSettings::default()).is_err());
    }

    #[test]
    fn a_body_over_the_limit_is_too_large() {
        let settings = SurfaceSettings { body_limit: 10, ..SurfaceSettings::default() };
        let request = post("/api/2.0/mlflow/experiments/update", r#"{"experiment_id":"1"}"#);
        let Ok(Reading::Routed(routed)) = request.head(&settings) else { panic!("not routed") };
        assert_eq!(routed.body_need(), BodyNeed::Whole { limit: 10 });
        assert_eq!(
            routed.read(request.body.as_deref()).unwrap_err(),
            Refusal::TooLarge { limit: 10 }
        );
    }

    #[test]
    fn the_id_that_is_authorized_is_the_id_that_is_forwarded() {
        let operation = post(
            "/api/2.0/mlflow/experiments/%75pdate",
            "{ \"experiment\\u005fid\" : \"1\", \"new_name\": \"x\" }",
        )
        .operation()
        .unwrap();
        assert_eq!(operation.forward.path, "/api/2.0/mlflow/experiments/update");
        assert_eq!(
            operation.forward.body.as_deref(),
            Some(&br#"{"experiment_id":"1","new_name":"x"}"#[..])
        );
    }

    #[test]
    fn an_upload_streams_through_unread() {
        let path = format!("/ajax-api/2.0/mlflow/upload-artifact?run_uuid={RUN}&path=a/b.txt");
        let mut request = post(&path, "anything");
        request.headers.clear();
        let Ok(Reading::Routed(routed)) = request.head(&SurfaceSettings::default()) else {
            panic!("not routed")
        };
        assert_eq!(routed.body_need(), BodyNeed::Unread);
        let operation = routed.read(None).unwrap();
        assert_eq!(operation.requirements.len(), 2);
        assert_eq!(operation.forward.body, None);
    }

    #[test]
    fn an_unknown_route_needs_a_super_admin() {
        for request in [
            get("/api/2.0/mlflow/nothing"),
            get("/api/2.0/mlflow/runs/get/"),
            Request { method: "HEAD", ..get("/get-artifact?run_id=x") },
        ] {
            let Ok(Reading::Unknown(operation)) = request.head(&SurfaceSettings::default()) else {
                panic!("{} is known", request.path)
            };
            assert_eq!(operation.requirements, [Requirement::Standing(Standing::SuperAdmin)]);
        }
    }

    #[test]
    fn health_version_and_server_info_are_public_and_nothing_else_is() {
        let settings = SurfaceSettings::default();
        for path in ["/health", "/version", "/api/3.0/mlflow/server-info"] {
            assert!(matches!(get(path).head(&settings), Ok(Reading::Public(_))), "{path}");
        }
        let head = Request { method: "HEAD", ..get("/health") };
        assert!(matches!(head.head(&settings), Ok(Reading::Public(_))));
        for path in ["/healthz", "/health/../get-artifact", "/", "/static-files/x.js"] {
            assert!(!matches!(get(path).head(&settings), Ok(Reading::Public(_))), "{path}");
        }
    }

    #[test]
    fn a_setting_cannot_make_a_guarded_route_public() {
        let settings = SurfaceSettings {
            public_routes: vec!["/2.0/mlflow/experiments/get".into()],
            ..SurfaceSettings::default()
        };
        let request = get("/api/2.0/mlflow/experiments/get?experiment_id=1");
        assert!(matches!(request.head(&settings), Ok(Reading::Routed(_))));
    }

    #[test]
    fn only_a_real_preflight_is_a_preflight() {
        let settings = SurfaceSettings::default();
        let options = || Request { method: "OPTIONS", ..get("/api/2.0/mlflow/runs/search") };
        let preflight = options()
            .with("origin", "https://a.example")
            .with("access-control-request-method", "POST");
        assert!(matches!(preflight.head(&settings), Ok(Reading::Preflight(_))));
        assert!(matches!(options().head(&settings), Ok(Reading::Unknown(_))));
        let mut with_body = preflight;
        with_body.body = Some(b"{}".to_vec());
        assert!(with_body.head(&settings).is_err());
    }

    #[test]
    fn the_static_prefix_and_the_path_prefix_are_matched_and_kept() {
        let settings = SurfaceSettings {
            path_prefix: "/team".into(),
            static_prefix: "/ui".into(),
            ..SurfaceSettings::default()
        };
        let path = "/team/ui/api/2.0/mlflow/experiments/get?experiment_id=1";
        let Ok(Reading::Routed(routed)) = get(path).head(&settings) else { panic!("not routed") };
        assert_eq!(routed.read(None).unwrap().forward.path, path);
        assert!(matches!(get("/other").head(&settings), Ok(Reading::OutOfScope)));
        assert!(get("/%2574eam/ui/health").head(&settings).is_err());
        assert!(matches!(get("/%74eam/ui/health").head(&settings), Ok(Reading::Public(_))));
    }

    #[test]
    fn another_host_is_out_of_scope() {
        let settings =
            SurfaceSettings { hosts: vec!["ml.example".into()], ..SurfaceSettings::default() };
        let at = |host| get("/api/2.0/mlflow/x").with(":authority", host).head(&settings);
        assert!(matches!(at("other.example"), Ok(Reading::OutOfScope)));
        for host in ["ml.example", "ML.example:8443", "ml.example."] {
            assert!(matches!(at(host), Ok(Reading::Unknown(_))), "{host}");
        }
    }

    #[test]
    fn a_search_is_cut_down_to_readable_experiments() {
        let operation =
            post("/api/2.0/mlflow/runs/search", r#"{"experimentIds":["1","2"],"max_results":5}"#)
                .operation()
                .unwrap();
        assert_eq!(operation.scopes[0].ids, ["1", "2"]);
        assert_eq!(operation.forward.scoped[0].field, "experimentIds");
        let bad = post("/api/2.0/mlflow/runs/search", r#"{"experiment_ids":["01"," 1"]}"#);
        assert!(bad.operation().is_err());
    }
}
