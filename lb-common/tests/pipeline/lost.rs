//! Entries that the first generation evicts, one half of a flow without the other.

use lb_common::{tables::Half, wire::L4};
use lb_tests::packet::flags;

use crate::life::each_line;

/// As when the old generation's forward half was evicted and its reverse half was not.
#[test]
fn what_a_former_generation_left_behind_is_not_taken_for_the_new_one() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        line.ask(flags::SYN);
        line.world.evict(line.family, Half::Forward);
        line.world.set_generation(line.backend, line.family, line.l4, 7);
        line.world.choose_from(line.front, line.family, line.l4, &[line.backend]);
        let again = line.ask(flags::SYN);
        line.goes_to(&again, line.backend);
        line.is_answered(&again);
    });
}

#[test]
fn a_lost_forward_entry_is_found_again_by_the_same_hash() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        let (one, two) = (line.backend, line.next);
        let hosts = [one, two, one, two, two];
        line.world.choose_from(line.front, line.family, line.l4, &hosts);
        let first = line.ask(flags::SYN);
        let before = line.world.entries(line.family);
        line.world.evict(line.family, Half::Forward);
        let again = line.ask(flags::ACK);
        assert_eq!((again.outcome, again.frame.len()), (first.outcome, first.frame.len()));
        assert_eq!(again.tuple(), first.tuple());
        assert_eq!(line.world.entries(line.family), before);
        line.is_answered(&again);
    });
}

#[test]
fn a_lost_reverse_entry_is_made_again_from_its_forward() {
    each_line(&[L4::Tcp, L4::Udp], |mut line| {
        let first = line.ask(flags::SYN);
        let before = line.world.entries(line.family);
        line.world.evict(line.family, Half::Reverse);
        // One packet puts it right, even if all backends changed meanwhile.
        line.change_table();
        let again = line.ask(flags::ACK);
        assert_eq!(again.tuple(), first.tuple());
        assert_eq!(line.world.entries(line.family), before);
        line.is_answered(&again);
    });
}
