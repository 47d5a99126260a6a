//! The same services as the peers' rules: loaded at once, and changed by one endpoint.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lb_tests::{
    bench::{Context, Figure, peers::Peer},
    lab::{Lab, Namespace},
};

use super::{data::Size, milliseconds};

/// How long a peer may take to be loaded again and again, and to change again and again.
const REPEAT_FOR: Duration = Duration::from_secs(10);

/// What a peer took, in milliseconds; as many rounds as there was time for.
pub struct Loaded {
    /// To load all rules into a namespace that has none.
    pub loading: Figure,
    /// To change one endpoint.
    pub changing: Figure,
}

/// Loads a peer's rules at these sizes, which grow, as long as that takes no longer than `limit`. A size for which it
/// would, if the time grew with the square of the size, is not tried, and none after it.
pub fn measure(
    context: &Context,
    peer: Peer,
    all: &[Size],
    limit: Duration,
) -> Result<Vec<Option<Loaded>>> {
    let mut found = Vec::new();
    let mut last: Option<(Size, f64)> = None;
    for &size in all {
        let expected = last.map_or(0.0, |(before, took)| {
            took * (f64::from(size.services) / f64::from(before.services)).powi(2)
        });
        if expected > milliseconds(limit) {
            found.push(None);
            last = last.map(|_| (size, expected));
            continue;
        }
        let what = format!("{peer:?}, services: {size}");
        let loaded = load(context, peer, size, &what).with_context(|| what.clone())?;
        last = Some((size, loaded.loading.median));
        found.push(Some(loaded));
    }
    Ok(found)
}

fn load(context: &Context, peer: Peer, size: Size, what: &str) -> Result<Loaded> {
    let _spinner = context.spinner(&format!("loading {what}"));
    let before = size.setup(0..size.services, 0);
    let after = size.setup(0..size.services, 1);
    let mut loading = Vec::new();
    let began = Instant::now();
    let lab = loop {
        context.check()?;
        // Rules leave traces in a namespace even when they are removed.
        let mut lab = Lab::start()?;
        lab.add(&["node"])?;
        loading.push(milliseconds(peer.load(node(&lab)?, &before)?));
        if loading.len() == context.rounds || began.elapsed() > REPEAT_FOR {
            break lab;
        }
    };
    let mut changing = Vec::new();
    let began = Instant::now();
    while changing.len() < 2 * context.rounds && began.elapsed() < REPEAT_FOR {
        context.check()?;
        changing.push(milliseconds(peer.change(node(&lab)?, &before, &after)?));
        changing.push(milliseconds(peer.change(node(&lab)?, &after, &before)?));
    }
    Ok(Loaded { loading: Figure::of(loading)?, changing: Figure::of(changing)? })
}

fn node(lab: &Lab) -> Result<&Namespace> {
    Ok(lab.namespace("node")?)
}
