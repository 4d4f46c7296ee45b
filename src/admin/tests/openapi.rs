//! The description matches the paths.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use tower_service::Service;

use super::*;
use crate::admin::access::Caller;
use crate::admin::openapi::OWN;

fn described() -> Value {
    serde_json::from_str(&routes::openapi_json()).unwrap()
}

/// Each path with its methods.
fn paths(document: &Value) -> Vec<(String, BTreeSet<String>)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    paths.map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// The methods that a path takes, as its answer lists them.
async fn allowed(app: &mut Router, path: &str) -> BTreeSet<String> {
    let path = path.replace(['{', '}'], "");
    let mut request =
        Request::builder().method(Method::TRACE).uri(&path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Caller::Socket { uid: None, pid: None });
    let answer = app.call(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    let allowed = answer.headers()["allow"].to_str().unwrap().to_ascii_lowercase();
    allowed.split(',').filter(|method| *method != "head").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_is_answered_by_the_methods_that_are_described() {
    let (document, mut app) = (described(), bare_app());
    let paths = paths(&document);
    assert!(paths.len() > 20, "{}", paths.len());
    for (path, methods) in paths {
        assert_eq!(allowed(&mut app, &path).await, methods, "{path}");
    }
}

#[test]
fn no_path_is_answered_that_is_not_described() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    for file in fs::read_dir(dir).unwrap().flatten().filter(|file| file.path().is_file()) {
        let text = fs::read_to_string(file.path()).unwrap();
        for (_, rest) in text.match_indices(".route(").map(|(at, _)| text.split_at(at)) {
            let path = rest.split('"').nth(1).unwrap_or_default();
            // Pages are for people, and no part of the interface.
            assert!(!path.starts_with("/api/"), "{path}: add it with `.routes(routes!(…))`");
        }
    }
}

#[test]
fn every_operation_says_what_it_is_and_how_it_fails() {
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, methods) in paths(&document) {
        for method in methods {
            let operation = &document["paths"][&path][&method];
            let said = format!("{method} {path}: {operation:#}");
            assert!(operation["summary"].as_str().is_some_and(|it| it.ends_with('.')), "{said}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{said}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{said}");
            for status in ["401", "403", "500"] {
                let content = &responses[status]["content"]["application/problem+json"];
                assert!(content["schema"].is_object(), "{said}");
            }
            let segments = path.matches('{').count();
            let parameters = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|parameter| parameter["in"] == "path").count());
            assert_eq!(segments, parameters, "{said}");
        }
    }
    for (id, _) in OWN {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let (text, document) = (routes::openapi_json(), described());
    for (at, _) in text.match_indices("\"$ref\": \"#") {
        let place = text[at..].split('"').nth(3).unwrap().trim_start_matches('#');
        assert!(document.pointer(place).is_some(), "{place}");
    }
}
