//! What a release is made of, as a CycloneDX document: the crates that are linked into it, from
//! Cargo's own resolution. Build tools and tests are not part of it.

use crate::compile::cargo;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for the crates of the workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// Absent for what is linked; else `dev` or `build`.
    kind: Option<String>,
}

/// The document for these crates of the workspace, each as built for its target.
pub fn of(parts: &[(&str, &str)]) -> Result<String> {
    let mut found = Found::default();
    for &(name, target) in parts {
        found.add(name, &metadata(target)?)?;
    }
    Ok(serde_json::to_string_pretty(&found.document())?)
}

fn metadata(target: &str) -> Result<Metadata> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target])
        .output()
        .context("cannot ask cargo for its metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[derive(Default)]
struct Found {
    /// Of crates from elsewhere, by their package URL.
    components: BTreeMap<String, Value>,
    /// Of the release itself.
    parts: Vec<Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

impl Found {
    fn add(&mut self, root: &str, metadata: &Metadata) -> Result<()> {
        let packages: BTreeMap<&str, &Package> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let is_root = |package: &&Package| package.name == root && package.source.is_none();
        let root = metadata.packages.iter().find(is_root).context("no such crate here")?;
        self.parts.push(component(root, "application"));
        let mut waiting = vec![root.id.as_str()];
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let (package, node) = (packages[id], nodes[id]);
            let linked = node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind.is_none()));
            let linked: Vec<&str> = linked.map(|dependency| dependency.pkg.as_str()).collect();
            let edges = self.dependencies.entry(url(package)).or_default();
            edges.extend(linked.iter().map(|id| url(packages[id])));
            if package.id != root.id {
                self.components.insert(url(package), component(package, "library"));
            }
            waiting.extend(linked);
        }
        Ok(())
    }

    fn document(self) -> Value {
        let edges = self.dependencies.into_iter();
        let depends = edges.map(|(of, on)| json!({ "ref": of, "dependsOn": on }));
        json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": "mlgate",
                    "name": "mlgate",
                    "version": env!("CARGO_PKG_VERSION"),
                    "components": self.parts,
                },
            },
            "components": self.components.into_values().collect::<Vec<_>>(),
            "dependencies": depends.collect::<Vec<_>>(),
        })
    }
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": url(package),
        "name": package.name,
        "version": package.version,
        "purl": url(package),
    });
    if let Some(license) = &package.license {
        // SPDX writes OR where old manifests have a slash.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    component
}

fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let text = of(&[
            ("mlgate-filter", "wasm32-wasip1"),
            ("mlgate-policy-server", "x86_64-unknown-linux-gnu"),
        ]);
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    fn names(document: &Value) -> BTreeSet<String> {
        let components = document["components"].as_array().unwrap().iter();
        components.map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_linked_is_listed_and_what_only_builds_or_tests_is_not() {
        let names = names(&document());
        for linked in ["serde_json", "prost", "tokio", "libsqlite3-sys", "matchit", "ring"] {
            assert!(names.contains(linked), "{linked}");
        }
        for other in ["protox", "proptest", "tempfile", "cc", "proxy-wasm"] {
            assert!(!names.contains(other), "{other}");
        }
    }

    #[test]
    fn every_reference_names_a_component() {
        let document = document();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let parts = document["metadata"]["component"]["components"].as_array().unwrap();
        for component in document["components"].as_array().unwrap().iter().chain(parts) {
            known.insert(component["bom-ref"].as_str().unwrap());
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        }
        for dependency in document["dependencies"].as_array().unwrap() {
            assert!(known.contains(dependency["ref"].as_str().unwrap()));
            for on in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(on.as_str().unwrap()), "{on}");
            }
        }
    }
}
