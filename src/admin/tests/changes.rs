//! Requests for parts of lists, and for changes.

use http_body_util::Full;

use super::*;
use crate::admin::body::LARGEST;

// === impl Bed ===

impl Bed {
    /// The answer to a change: its status, and the detail of it or of its problem.
    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let body = Full::new(Bytes::from(body.to_owned()));
        let request = Request::post("/").body(body).unwrap();
        match self.transport.fetch(path, request).await {
            Ok((_, body)) => {
                let answer: Value = serde_json::from_slice(&body).unwrap();
                (200, answer["detail"].as_str().unwrap().to_owned())
            }
            Err(HttpError::Status { code, message }) => {
                let problem: Value = serde_json::from_str(&message).unwrap();
                (code, problem["detail"].as_str().unwrap().to_owned())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The launches of the containers that a query is answered with, and where it leads to.
    async fn launches(&self, query: &str) -> (Vec<u64>, Option<String>) {
        let path = format!("/api/v1/containers{query}");
        let (head, body): (_, Vec<Value>) = self.transport.get_with_headers(&path).await.unwrap();
        let next = head.get("link").map(|link| link.to_str().unwrap().to_owned());
        (body.iter().map(|it| it["launch"].as_u64().unwrap()).collect(), next)
    }
}

#[tokio::test]
async fn of_a_list_a_part_is_told() {
    let bed = Bed::new();
    assert_eq!(bed.launches("").await, (vec![1, 2, 3], None));
    assert_eq!(bed.launches("?daemon=local").await, (vec![2], None));
    assert_eq!(bed.launches("?state=starting&service=echo").await, (vec![3], None));
    assert_eq!(bed.launches("?service=absent").await, (vec![], None));
    let (first, next) = bed.launches("?limit=2&service=echo").await;
    assert_eq!(first, [1, 2]);
    let next = next.unwrap();
    let query = next.strip_prefix("</api/v1/containers").unwrap();
    let query = query.strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(bed.launches(query).await, (vec![3], None));
    assert_eq!(bed.json("/api/v1/containers/2").await["daemon"], "local");
    for wrong in ["?limit=0", "?limit=x", "?colour=red"] {
        let path = format!("/api/v1/containers{wrong}");
        assert_eq!(bed.problem("GET", &path).await.0, 400, "{wrong}");
    }
    let daemon = bed.json("/api/v1/daemons/local").await;
    let left = daemon["deadline_seconds"].as_f64().unwrap();
    assert!((50.0..=60.0).contains(&left), "{left}");
}

#[tokio::test]
async fn orders_are_carried_out_as_they_are_given() {
    let bed = Bed::new();
    let service = "/api/v1/services/echo";
    let (code, said) = bed.post(&format!("{service}/scale"), r#"{"warm": 3}"#).await;
    assert_eq!(code, 200);
    assert!(said.contains("warm: Some(3), max: None"), "{said}");
    let drain = r#"{"state": "drain", "deadline_seconds": 1.5}"#;
    let (_, said) = bed.post("/api/v1/daemons/local/state", drain).await;
    assert!(said.contains("state: Drain, deadline: Some(1.5s)"), "{said}");
    let (_, said) = bed.post(&format!("{service}/rollback"), "").await;
    assert!(said.contains("RollBack"), "{said}");
    for flag in ["dry_run", "dry_run=true"] {
        let (_, said) = bed.post(&format!("/api/v1/reload?{flag}"), "").await;
        assert!(said.contains("dry_run: true"), "{said}");
    }
    assert_eq!(bed.post("/api/v1/reload?dry_run=false", "").await, (422, "line 3".into()));
    assert_eq!(bed.post("/api/v1/reload", "").await, (422, "line 3".into()));
    assert_eq!(bed.post(&format!("{service}/roll"), "").await, (409, "rolling already".into()));
    assert_eq!(bed.post("/api/v1/containers/7/retire", "").await, (404, "no 7".into()));
    assert_eq!(bed.post("/api/v1/drain", "").await, (200, "Drain".into()));
    let told = bed.json("/api/v1/events").await;
    let told: Vec<_> = told.as_array().unwrap().iter().map(|told| &told["detail"]).collect();
    assert!(told[0].as_str().unwrap().starts_with("scale of echo: Scale"), "{told:?}");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_not_carried_out() {
    let bed = Bed::new();
    let state = "/api/v1/services/echo/state";
    for (path, body) in [
        ("/api/v1/services/echo/scale", ""),
        ("/api/v1/services/echo/scale", r#"{"warm": -1}"#),
        ("/api/v1/services/echo/scale", r#"{"worm": 1}"#),
        (state, ""),
        (state, "{"),
        (state, r#"{"state": "up"}"#),
        (state, r#"{"state": "ready", "deadline_seconds": 1}"#),
        (state, r#"{"state": "drain", "deadline_seconds": -1}"#),
        (state, r#"{"state": "drain", "deadline_seconds": 1e300}"#),
        ("/api/v1/reload?dry_run=perhaps", ""),
    ] {
        assert_eq!(bed.post(path, body).await.0, 400, "{path} {body}");
    }
    assert_eq!(bed.post("/api/v1/containers/c0ffee/retire", "").await.0, 404);
    assert_eq!(bed.post(state, &" ".repeat(LARGEST + 1)).await.0, 413);
    assert_eq!(bed.problem("GET", state).await.0, 405);
}
