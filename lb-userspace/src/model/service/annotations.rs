//! The annotations by which a Service asks lb for what Kubernetes has no field for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::invalid::{Findings, Rule};

/// `"false"`: sockets that connect to the Service are left alone, and their packets are translated.
const SOCKET_LB: &str = "lb.dev/socket-lb";

/// Whether only the Service's packets are translated.
pub(super) fn packets_only(metadata: &ObjectMeta, findings: &mut Findings) -> bool {
    let annotations = metadata.annotations.as_ref();
    let value = annotations.and_then(|annotations| annotations.get(SOCKET_LB)).map(String::as_str);
    let read = match value {
        None | Some("true") => Ok(false),
        Some("false") => Ok(true),
        Some(other) => {
            Err(Rule::Unsupported { value: other.to_owned(), supported: &["false", "true"] })
        }
    };
    findings.check(format!("metadata.annotations[{SOCKET_LB}]"), read).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Service;

    #[test]
    fn a_service_may_keep_its_sockets_to_packets_and_nothing_else_by_this() {
        let read = |annotations: serde_json::Value| {
            let metadata = serde_json::json!({ "name": "web", "annotations": annotations });
            let object =
                serde_json::json!({ "metadata": metadata, "spec": { "ports": [{ "port": 80 }] } });
            let service = Service::try_from(&serde_json::from_value(object).unwrap());
            service
                .map(|service| service.traffic.packets_only)
                .map_err(|refused| refused.0.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(read(serde_json::json!({})), Ok(false));
        assert_eq!(read(serde_json::json!({ SOCKET_LB: "true" })), Ok(false));
        assert_eq!(read(serde_json::json!({ SOCKET_LB: "false" })), Ok(true));
        let refused = read(serde_json::json!({ SOCKET_LB: "no" })).unwrap_err();
        assert!(
            refused[0].starts_with("metadata.annotations[lb.dev/socket-lb]: Unsupported value")
        );
    }
}
