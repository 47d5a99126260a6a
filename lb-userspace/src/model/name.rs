//! Names of objects and the rules for names. Which object may have which name is settled where the
//! object is read.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::invalid::{Findings, Rule};

/// The namespace of an object that names none, as in Kubernetes.
const DEFAULT_NAMESPACE: &str = "default";

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
    '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const RFC_1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const RFC_1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
    validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// The name of a Service: its namespace and an RFC 1035 label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// The name of an `EndpointSlice`: its namespace and an RFC 1123 subdomain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// The name of a Pod: its namespace and an RFC 1123 subdomain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// The kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` `EndpointSlice`.
    EndpointSlice,
    /// `v1` Endpoints.
    Endpoints,
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
}

/// An object as messages name it, even if its name is no valid one: `Service default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// The namespace; `default` when the object has none.
    pub namespace: String,
    /// The name; empty when the object has none.
    pub name: String,
}

impl ServiceName {
    /// A name from its parts, taken as valid.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(super) fn of(metadata: &ObjectMeta, findings: &mut Findings) -> Self {
        let namespace = namespace(metadata, findings);
        let name = name(metadata, findings, dns_1035_label);
        Self { namespace, name }
    }
}

impl SliceName {
    /// A name from its parts, taken as valid.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(super) fn of(metadata: &ObjectMeta, findings: &mut Findings) -> Self {
        let namespace = namespace(metadata, findings);
        let name = name(metadata, findings, dns_1123_subdomain);
        Self { namespace, name }
    }
}

impl PodName {
    pub(super) fn of(metadata: &ObjectMeta, findings: &mut Findings) -> Self {
        let namespace = namespace(metadata, findings);
        let name = name(metadata, findings, dns_1123_subdomain);
        Self { namespace, name }
    }
}

/// The name of a Node, which is in no namespace.
pub(super) fn of_node(metadata: &ObjectMeta, findings: &mut Findings) -> String {
    name(metadata, findings, dns_1123_subdomain)
}

impl ObjectRef {
    /// A reference from its parts.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// A reference by what the object says of itself, right or wrong; an absent namespace is
    /// `default`.
    pub fn of(kind: Kind, namespace: Option<&str>, name: Option<&str>) -> Self {
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Self::new(kind, namespace.unwrap_or(DEFAULT_NAMESPACE), name.unwrap_or_default())
    }
}

impl From<&ServiceName> for ObjectRef {
    fn from(name: &ServiceName) -> Self {
        Self::new(Kind::Service, &name.namespace, &name.name)
    }
}

impl From<&SliceName> for ObjectRef {
    fn from(name: &SliceName) -> Self {
        Self::new(Kind::EndpointSlice, &name.namespace, &name.name)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for SliceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Endpoints => "Endpoints",
            Self::Pod => "Pod",
            Self::Node => "Node",
        })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(no name)" } else { &self.name };
        match self.kind {
            Kind::Node => write!(f, "{} {name}", self.kind),
            _ => write!(f, "{} {}/{name}", self.kind, self.namespace),
        }
    }
}

fn namespace(metadata: &ObjectMeta, findings: &mut Findings) -> String {
    let namespace = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    findings.check("metadata.namespace", dns_1123_label(namespace));
    namespace.to_owned()
}

fn name(
    metadata: &ObjectMeta,
    findings: &mut Findings,
    valid: fn(&str) -> Result<(), Rule>,
) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        findings.add("metadata.name", Rule::Required { hint: "give the object a name" });
    } else {
        findings.check("metadata.name", valid(name));
    }
    name.to_owned()
}

/// RFC 1035: what the name of a Service must be.
pub(super) fn dns_1035_label(name: &str) -> Result<(), Rule> {
    no_longer_than(name, 63, "must be no more than 63 characters")?;
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts_well && is_label(name) { Ok(()) } else { Err(Rule::invalid_text(name, DNS_1035)) }
}

/// RFC 1123: what namespaces and port names must be.
pub(super) fn dns_1123_label(name: &str) -> Result<(), Rule> {
    no_longer_than(name, 63, "must be no more than 63 characters")?;
    if is_label(name) { Ok(()) } else { Err(Rule::invalid_text(name, RFC_1123_LABEL)) }
}

/// RFC 1123 with dots: what most names of objects must be.
pub(super) fn dns_1123_subdomain(name: &str) -> Result<(), Rule> {
    no_longer_than(name, 253, "must be no more than 253 characters")?;
    if name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(Rule::invalid_text(name, RFC_1123_SUBDOMAIN))
    }
}

/// A name that may have a domain in front of it, as those of labels and of load balancers' classes do.
pub(super) fn qualified(text: &str) -> Result<(), Rule> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        dns_1123_subdomain(prefix)?;
    }
    no_longer_than(name, 63, "name part must be no more than 63 characters")?;
    if is_name_part(name) { Ok(()) } else { Err(Rule::invalid_text(text, QUALIFIED)) }
}

/// What the value of a label must be.
pub(super) fn label_value(text: &str) -> Result<(), Rule> {
    no_longer_than(text, 63, "must be no more than 63 characters")?;
    if text.is_empty() || is_name_part(text) {
        Ok(())
    } else {
        Err(Rule::invalid_text(text, LABEL_VALUE))
    }
}

fn is_name_part(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let outer = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().copied().all(inner)
}

fn no_longer_than(name: &str, limit: usize, must: &'static str) -> Result<(), Rule> {
    if name.len() > limit { Err(Rule::invalid_text(name, must)) } else { Ok(()) }
}

fn is_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_are_rfc_1035_labels() {
        for good in ["a", "web", "web-2", &"a".repeat(63)] {
            assert_eq!(dns_1035_label(good), Ok(()), "{good}");
        }
        for bad in ["", "2web", "-web", "web-", "Web", "we.b", "wéb", &"a".repeat(64)] {
            assert!(dns_1035_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn port_names_may_begin_with_a_digit_but_not_with_a_dash() {
        for good in ["1a", "http", "80"] {
            assert_eq!(dns_1123_label(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b"] {
            assert!(dns_1123_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slice_names_may_hold_dots() {
        assert_eq!(dns_1123_subdomain("web.v2-abc"), Ok(()));
        for bad in ["web..v2", ".web", "web.", "we_b", &"a".repeat(254)] {
            assert!(dns_1123_subdomain(bad).is_err(), "{bad}");
        }
    }
}
