//! What is answered: status, headers and body, as kube-proxy has them. Times are RFC 3339, which kube-proxy's
//! are not.

use std::time::SystemTime;

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

use super::pulse::Condition;
use crate::model::ServiceName;

/// By how much a balancer that weighs nodes should weigh this one.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `/healthz`: should it get traffic?
    Healthy,
    /// `/livez`: does the control program work? Whether the node is to be removed doesn't matter.
    Live,
}

impl Question {
    /// The question that a path asks.
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Healthy),
            "/livez" => Some(Self::Live),
            _ => None,
        }
    }
}

/// How many endpoints a Service has here.
pub fn of_service(
    name: &ServiceName,
    local_endpoints: usize,
    condition: Condition,
) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        service: Named<'a>,
        local_endpoints: usize,
        service_proxy_healthy: bool,
    }
    #[derive(Serialize)]
    struct Named<'a> {
        namespace: &'a str,
        name: &'a str,
    }
    let ServiceName { namespace, name } = name;
    let service_proxy_healthy = condition.healthy;
    let body = Body { service: Named { namespace, name }, local_endpoints, service_proxy_healthy };
    let mut response = json(condition.healthy && local_endpoints > 0, &body);
    response.headers_mut().insert(WEIGHT, HeaderValue::from(local_endpoints));
    response
}

/// How the node is.
pub fn of_node(
    question: Question,
    leaving: bool,
    condition: Condition,
    now: SystemTime,
) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        last_updated: String,
        current_time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        node_eligible: Option<bool>,
    }
    let node_eligible = (question == Question::Healthy).then_some(!leaving);
    let time = |time| humantime::format_rfc3339_nanos(time).to_string();
    let body = Body {
        last_updated: time(now.checked_sub(condition.stale).unwrap_or(now)),
        current_time: time(now),
        node_eligible,
    };
    json(condition.healthy && node_eligible != Some(false), &body)
}

/// There is nothing of this name.
pub fn nothing() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("ask /healthz or /livez\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn json(well: bool, body: &impl Serialize) -> Response<Full<Bytes>> {
    // Maps with keys of text, texts and numbers: these can always be written.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
