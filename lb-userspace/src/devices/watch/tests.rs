//! When changes are told; the clock is the tests' own. What real news do is in the suites with root.

use super::*;
use crate::devices::snapshot::Link;

const PATHS: Moved = Moved { devices: false, paths: true, defaults: false };
const DEVICES: Moved = Moved { devices: true, paths: false, defaults: false };

fn watch() -> DeviceWatch {
    DeviceWatch {
        socket: None,
        mirror: Mirror::default(),
        reported: Devices::default(),
        burst: None,
        defaults_moved: false,
    }
}

/// Makes the mirror's devices differ from what was reported.
fn add_link(watch: &mut DeviceWatch) {
    watch.mirror.devices.links.insert(2, Link { index: 2, ..Link::default() });
}

#[test]
fn a_change_is_told_when_it_has_been_quiet_for_a_while_and_only_once() {
    let (mut watch, start) = (watch(), Instant::now());
    watch.note(PATHS, start);
    assert_eq!(watch.take_due(start + QUIET - Duration::from_millis(1)), None);
    let change = Change { devices: None, paths_moved: true };
    assert_eq!(watch.take_due(start + QUIET), Some(change));
    assert_eq!(watch.take_due(start + LONGEST_WAIT), None);
}

#[test]
fn a_burst_is_told_as_one_change() {
    let (mut watch, start) = (watch(), Instant::now());
    add_link(&mut watch);
    watch.note(PATHS, start);
    watch.note(DEVICES, start + QUIET / 2);
    assert_eq!(watch.take_due(start + QUIET), None);
    let change = watch.take_due(start + QUIET / 2 + QUIET).expect("a change");
    assert_eq!((change.devices, change.paths_moved), (Some(watch.mirror.devices.clone()), true));
}

#[test]
fn a_burst_without_end_is_told_in_bounded_time() {
    let (mut watch, start) = (watch(), Instant::now());
    let mut now = start;
    while watch.take_due(now).is_none() {
        watch.note(PATHS, now);
        now += QUIET / 4;
    }
    assert_eq!(now - start, LONGEST_WAIT);
}

#[test]
fn changes_of_neighbours_states_neither_begin_a_burst_nor_prolong_it() {
    let (mut watch, start) = (watch(), Instant::now());
    watch.note(Moved::default(), start);
    assert!(watch.burst.is_none());
    watch.note(PATHS, start);
    watch.note(Moved::default(), start + QUIET / 2);
    assert!(watch.take_due(start + QUIET).is_some());
}

#[test]
fn what_comes_and_goes_within_a_burst_is_not_told_unless_paths_moved() {
    let (mut watch, start) = (watch(), Instant::now());
    watch.note(DEVICES, start);
    watch.note(DEVICES, start + QUIET / 2);
    assert_eq!(watch.take_due(start + LONGEST_WAIT), None);
    watch.note(PATHS, start);
    let change = watch.take_due(start + LONGEST_WAIT);
    assert_eq!(change, Some(Change { devices: None, paths_moved: true }));
}

#[test]
fn the_next_snapshot_is_compared_with_the_last_one_that_was_told() {
    let (mut watch, start) = (watch(), Instant::now());
    add_link(&mut watch);
    watch.note(DEVICES, start);
    assert!(watch.take_due(start + QUIET).is_some_and(|change| change.devices.is_some()));
    watch.note(DEVICES, start);
    assert_eq!(watch.take_due(start + QUIET), None);
}
