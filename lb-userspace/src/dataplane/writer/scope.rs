//! What a call of [`Writer::apply`](super::Writer::apply) looks at.

use crate::compile::{Desired, DesiredService, Elements, ServiceKey};

/// Some elements, or all.
pub struct Scope<'a> {
    /// Which.
    pub elements: &'a Elements,
    /// These are all: what is in the maps beside them is an earlier run's.
    pub is_whole: bool,
}

impl<'a> Scope<'a> {
    /// These.
    pub const fn of(elements: &'a Elements) -> Self {
        Self { elements, is_whole: false }
    }

    /// These, which are all.
    pub const fn whole(elements: &'a Elements) -> Self {
        Self { elements, is_whole: true }
    }

    /// The services.
    pub fn services(&self) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.elements.services.iter()
    }

    /// Those of the services that are desired.
    pub fn wanted<'d>(
        &self,
        desired: &'d Desired,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'d DesiredService)> + use<'a, 'd> {
        self.services().filter_map(|key| Some((key, desired.services.get(key)?)))
    }

    /// Those that are not.
    pub fn unwanted<'d>(
        &self,
        desired: &'d Desired,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, 'd> {
        self.services().filter(|key| !desired.services.contains_key(key))
    }
}
