//! The labels by which an object asks a service proxy to leave it alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Another proxy's, whose name is the value.
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Headless, and to be ignored by proxies, slices included.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Whether the object carries one of the labels. Its presence counts, whatever the value, as in
/// kube-proxy's own selector.
pub(in crate::model) fn left_alone(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().is_some_and(|labels| {
        labels.contains_key(SERVICE_PROXY_NAME) || labels.contains_key(HEADLESS)
    })
}
