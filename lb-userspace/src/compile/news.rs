//! What is different between two models. Objects that are the same in memory are not looked at: what that
//! costs is a comparison of pointers for each object, and the rest is what changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use itertools::{EitherOrBoth, Itertools as _};

use crate::model::{EndpointSlice, Model, Service, ServiceName, SliceName};

/// An object as it was and as it is; none where it wasn't there, or isn't any more.
pub(super) type Turn<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

/// What is different.
#[derive(Debug, Default)]
pub(super) struct News<'a> {
    /// Services.
    pub services: BTreeMap<&'a ServiceName, Turn<'a, Service>>,
    /// Slices, with the Services that they were and are of.
    pub slices: Vec<(&'a SliceName, Option<&'a ServiceName>, Option<&'a ServiceName>)>,
    /// Services of which any slice is new, changed or gone.
    pub endpoints: BTreeSet<&'a ServiceName>,
}

impl<'a> News<'a> {
    /// From one model to the next.
    pub(super) fn between(old: &'a Model, new: &'a Model) -> Self {
        let services = differing(&old.services, &new.services)
            .map(|(name, before, after)| (name, (before, after)))
            .collect();
        let mut news = Self { services, ..Self::default() };
        let service = |slice: Option<&'a Arc<EndpointSlice>>| slice?.service.as_ref();
        for (name, before, after) in differing(&old.slices, &new.slices) {
            let (before, after) = (service(before), service(after));
            news.endpoints.extend(before.into_iter().chain(after));
            news.slices.push((name, before, after));
        }
        news
    }
}

/// What one map has and the other hasn't, or has otherwise.
fn differing<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, Arc<V>>,
    new: &'a BTreeMap<K, Arc<V>>,
) -> impl Iterator<Item = (&'a K, Option<&'a Arc<V>>, Option<&'a Arc<V>>)> {
    old.iter().merge_join_by(new, |(one, _), (other, _)| one.cmp(other)).filter_map(|pair| {
        match pair {
            EitherOrBoth::Both((_, before), (_, after))
                if Arc::ptr_eq(before, after) || before == after =>
            {
                None
            }
            EitherOrBoth::Both((name, before), (_, after)) => {
                Some((name, Some(before), Some(after)))
            }
            EitherOrBoth::Left((name, before)) => Some((name, Some(before), None)),
            EitherOrBoth::Right((name, after)) => Some((name, None, Some(after))),
        }
    })
}
