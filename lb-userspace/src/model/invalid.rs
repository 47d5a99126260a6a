//! What can be wrong with a field, in the API server's words
//! (`k8s.io/apimachinery/pkg/util/validation/field`). Which rule applies where is not known here.

use std::{fmt, net::IpAddr};

use super::{Family, IpRange, NodePortRange, ServiceName};

/// A field of an object, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field, as in `spec.ports[0].nodePort`.
    pub field: String,
    /// The rule.
    pub rule: Rule,
}

/// A rule that a field breaks. Texts in `value` are as they are shown, quoted if they are strings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The field is not there.
    #[error("Required value: {hint}")]
    Required {
        /// What to write.
        hint: &'static str,
    },
    /// The value is none that the field may have.
    #[error("Invalid value: {value}: {must}")]
    Invalid {
        /// The value.
        value: String,
        /// What it must be.
        must: &'static str,
    },
    /// The value is not one of the few that there are.
    #[error("Unsupported value: \"{value}\": supported values: {}", Quoted(supported))]
    Unsupported {
        /// The value, unquoted.
        value: String,
        /// The ones that there are.
        supported: &'static [&'static str],
    },
    /// The value stands twice in the object.
    #[error("Duplicate value: {value}")]
    Duplicate {
        /// The value.
        value: String,
    },
    /// The field may not be there.
    #[error("Forbidden: {why}")]
    Forbidden {
        /// What stands against it.
        why: &'static str,
    },
    /// A node port outside of the range that is kept for them.
    #[error(
        "Invalid value: {port}: provided port is not in the valid range. \
         The range of valid ports is {range}"
    )]
    NodePortRange {
        /// The port.
        port: u16,
        /// The range.
        range: NodePortRange,
    },
    /// A cluster IP outside of the range that is kept for them.
    #[error(
        "Invalid value: \"{address}\": failed to allocate IP {address}: the provided IP ({address}) is \
         not in the valid range. The range of valid IPs is {range}; write one of these, or give \
         another --service-cidr"
    )]
    ClusterIpRange {
        /// The cluster IP.
        address: IpAddr,
        /// The range.
        range: IpRange,
    },
    /// A cluster IP is to be chosen, and there is no range.
    #[error(
        "Required value: there is no range of {family} cluster IPs to choose from; give one with \
         --service-cidr, or write a free address, for example `clusterIP: 10.96.0.10`, or `clusterIP: \
         None` for none"
    )]
    NeedsClusterIp {
        /// The family.
        family: Family,
    },
    /// A family is asked for that there is no range of.
    #[error(
        "Invalid value: \"{family}\": not configured on this cluster; give --service-cidr a range of it"
    )]
    NotConfigured {
        /// The family.
        family: Family,
    },
    /// Two families are asked for, and there is one.
    #[error(
        "Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services; \
         give --service-cidr a range of each family"
    )]
    NotDualStack,
    /// Everything that could be chosen is taken.
    #[error("Internal error: failed to allocate a {what}: range is full; make {option} larger")]
    RangeFull {
        /// What was to be chosen.
        what: &'static str,
        /// The option that says from what.
        option: &'static str,
    },
    /// A cluster IP that another Service has.
    #[error(
        "Invalid value: \"{address}\": provided IP is already allocated, to Service {holder}; \
         choose another one"
    )]
    ClusterIpTaken {
        /// The cluster IP.
        address: IpAddr,
        /// Who has it.
        holder: ServiceName,
    },
    /// A node port that another Service has.
    #[error(
        "Invalid value: {port}: provided port is already allocated, to Service {holder}; choose \
         another one"
    )]
    NodePortTaken {
        /// The node port.
        port: u16,
        /// Who has it.
        holder: ServiceName,
    },
    /// An address and port at which another Service is reached already.
    #[error(
        "Invalid value: \"{address}\": Service {holder} is reached at {frontend} already; that one \
         stays, and this one is not served there. Choose another address or port"
    )]
    FrontendTaken {
        /// The address.
        address: IpAddr,
        /// Address, port and protocol.
        frontend: String,
        /// Who has it.
        holder: ServiceName,
    },
    /// An endpoint that is no endpoint but a Service's own address.
    #[error(
        "Invalid value: \"{address}\": may not be a cluster IP, and this is the one of Service \
         {holder}; write the addresses of its backends instead"
    )]
    EndpointIsClusterIp {
        /// The address.
        address: IpAddr,
        /// Whose cluster IP it is.
        holder: ServiceName,
    },
}

/// Everything that is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub Vec<Invalid>);

/// Collects what is wrong, so that an operator sees all of it at once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Invalid>);

impl Invalid {
    /// A broken rule at a field.
    pub fn new(field: impl Into<String>, rule: Rule) -> Self {
        Self { field: field.into(), rule }
    }
}

impl Rule {
    pub(super) fn invalid_text(value: &str, must: &'static str) -> Self {
        Self::Invalid { value: format!("{value:?}"), must }
    }

    pub(super) fn invalid_number(value: i32, must: &'static str) -> Self {
        Self::Invalid { value: value.to_string(), must }
    }
}

impl Findings {
    pub(super) fn add(&mut self, field: impl Into<String>, rule: Rule) {
        self.0.push(Invalid::new(field, rule));
    }

    /// Notes the rule that a value broke, and lets a good value through.
    pub(super) fn check<T>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, Rule>,
    ) -> Option<T> {
        value.map_err(|rule| self.add(field, rule)).ok()
    }

    /// The value, if nothing was found wrong.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Refused> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_refused()) }
    }

    /// The refusal, once something was found wrong.
    pub(super) fn into_refused(self) -> Refused {
        Refused(self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, invalid) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{invalid}")?;
        }
        Ok(())
    }
}

struct Quoted<'a>(&'a [&'static str]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}\"{value}\"")?;
        }
        Ok(())
    }
}
