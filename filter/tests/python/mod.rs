//! A conversation with `tests/conformance/read_requests.py`.

pub mod spell;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlgate_filter::catalogue;
use serde::{Deserialize, Serialize};

use spell::Request;

#[derive(Serialize)]
pub struct Question {
    method: &'static str,
    path: String,
    content_type: Option<String>,
    body: Option<String>,
    fields: Vec<&'static str>,
    original_path: String,
    original_body: Option<String>,
}

impl Question {
    /// About `request`, which the gate would forward as `path` and `body`.
    pub fn new(request: &Request, path: &str, body: Option<&[u8]>) -> Self {
        Self {
            method: request.method,
            path: path.to_owned(),
            content_type: request.content_type.clone(),
            body: body.map(|bytes| STANDARD.encode(bytes)),
            fields: fields(request.route),
            // Each byte as the character of its number, as in Python's latin-1.
            original_path: request.target.iter().map(|&byte| char::from(byte)).collect(),
            original_body: request.body.as_ref().map(|bytes| STANDARD.encode(bytes)),
        }
    }
}

/// The fields that a line of the catalogue names.
pub fn fields(route: &catalogue::Route) -> Vec<&'static str> {
    let needed = route.needs.iter().flat_map(|need| need.fields()).map(|field| field.name);
    let mut names: Vec<_> = needed.chain(route.scopes.iter().map(|s| s.field.name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[derive(Deserialize)]
pub struct Answer {
    pub template: Option<String>,
    pub parameters: Vec<String>,
    pub values: BTreeMap<String, Vec<String>>,
    pub complete: Vec<String>,
    pub same: bool,
}

/// A template with every parameter spelt `{}`.
pub fn anonymous(template: &str) -> String {
    let mut out = String::new();
    for part in template.split_inclusive('}') {
        out.push_str(part.split_once('{').map_or(part, |(before, _)| before));
        if part.ends_with('}') {
            out.push_str("{}");
        }
    }
    out
}

pub struct Python {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    pub fn start() -> Option<Self> {
        let Some(interpreter) = std::env::var_os("MLGATE_TEST_PYTHON") else {
            eprintln!("skipped: MLGATE_TEST_PYTHON names no interpreter with MLflow");
            return None;
        };
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/read_requests.py");
        let mut child = Command::new(interpreter)
            .arg(script)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let questions = child.stdin.take().expect("an open pipe");
        let answers = BufReader::new(child.stdout.take().expect("an open pipe"));
        let mut python = Self { child, questions, answers };
        assert!(python.line().contains("ready"));
        Some(python)
    }

    pub fn read(&mut self, question: &Question) -> Answer {
        let text = serde_json::to_string(question).expect("a question is JSON");
        writeln!(self.questions, "{text}").expect("the reader takes questions");
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} to {text}"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the reader answers");
        line
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
