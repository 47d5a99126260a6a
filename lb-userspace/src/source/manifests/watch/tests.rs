//! Which events of a directory count.

use notify::event::{CreateKind, DataChange, Flag, RenameMode};

use super::*;

#[track_caller]
fn check(kind: EventKind, path: &str, change: bool) {
    let event = Event::new(kind).add_path(path.into());
    assert_eq!(is_change(&event, Path::new("/m")), change, "{event:?}");
}

#[test]
fn what_reading_causes_is_no_change_and_writing_is_one_when_it_is_finished() {
    let file = "/m/a.yaml";
    let access = EventKind::Access;
    check(access(AccessKind::Open(AccessMode::Any)), file, false);
    check(access(AccessKind::Close(AccessMode::Read)), file, false);
    check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), file, false);
    check(access(AccessKind::Close(AccessMode::Write)), file, true);
    check(EventKind::Modify(ModifyKind::Name(RenameMode::To)), file, true);
}

#[test]
fn of_the_parents_events_only_those_of_the_directory_count() {
    check(EventKind::Create(CreateKind::Folder), "/m", true);
    check(EventKind::Create(CreateKind::Folder), "/m2", false);
}

#[test]
fn events_that_were_lost_are_a_change() {
    let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    assert!(is_change(&event, Path::new("/m")));
}
