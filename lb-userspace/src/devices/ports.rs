//! Which ports are left for SNAT. Pure; the settings come from [`super::Sysctls`].

use std::ops::RangeInclusive;

use lb_common::tables::SnatPorts;

/// Ports below are for servers that run as root.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The longest run of ports from 1024 up that nobody else hands out: not the kernel to connecting
/// sockets (`local_range`), not Kubernetes to services (`node_ports`), and not the operator
/// (`reserved`). All ranges include both ends; one that ends before it begins is empty. Of equally
/// long runs the lowest; `None` if there is no port left.
pub fn snat_ports(
    local_range: (u16, u16),
    node_ports: (u16, u16),
    reserved: &[RangeInclusive<u16>],
) -> Option<SnatPorts> {
    let mut taken: Vec<(u16, u16)> = reserved.iter().map(|r| (*r.start(), *r.end())).collect();
    taken.extend([local_range, node_ports]);
    taken.retain(|(first, last)| first <= last);
    taken.sort_unstable();
    longest_gap(&taken)
}

/// The longest run of ports outside ranges that are sorted by their first port.
fn longest_gap(taken: &[(u16, u16)]) -> Option<SnatPorts> {
    // Wider than a port, because the last range may end at 65,535.
    let beyond = u32::from(u16::MAX) + 1;
    let ranges = taken.iter().map(|&(first, last)| (u32::from(first), u32::from(last) + 1));
    let mut free_from = u32::from(FIRST_UNPRIVILEGED);
    let (mut first, mut count) = (free_from, 0);
    for (taken_from, taken_to) in ranges.chain([(beyond, beyond)]) {
        let free = taken_from.saturating_sub(free_from);
        if free > count {
            (first, count) = (free_from, free);
        }
        free_from = free_from.max(taken_to);
    }
    let count = u16::try_from(count).ok().filter(|&count| count > 0)?;
    Some(SnatPorts { first: u16::try_from(first).ok()?, count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: (u16, u16) = (1, 0);

    fn check(
        local: (u16, u16),
        node_ports: (u16, u16),
        reserved: &[RangeInclusive<u16>],
        expected: Option<(u16, u16)>,
    ) {
        let found = snat_ports(local, node_ports, reserved);
        assert_eq!(found.map(|ports| (ports.first, ports.count)), expected);
    }

    #[test]
    fn with_the_usual_settings_the_ports_below_the_node_ports_are_taken() {
        check((32_768, 60_999), (30_000, 32_767), &[], Some((1024, 28_976)));
    }

    #[test]
    fn the_longest_run_may_be_at_the_top_or_between() {
        check((1024, 39_999), (40_000, 49_999), &[], Some((50_000, 15_536)));
        check((1024, 9_999), (50_000, 65_535), &[], Some((10_000, 40_000)));
    }

    #[test]
    fn reserved_ports_split_a_run_and_may_overlap_with_others() {
        let reserved = [31_000..=33_000, 8080..=8080];
        check((32_768, 60_999), (30_000, 32_767), &reserved, Some((8081, 21_919)));
    }

    #[test]
    fn nothing_is_left_when_the_ranges_cover_all_and_everything_when_they_are_empty() {
        check((1024, 65_535), EMPTY, &[], None);
        check((0, 30_000), (20_000, 65_535), &[], None);
        check(EMPTY, EMPTY, &[], Some((1024, 64_512)));
    }

    #[test]
    fn of_equally_long_runs_the_lowest_is_taken() {
        check((1034, 65_525), EMPTY, &[], Some((1024, 10)));
    }

    fn range() -> impl Strategy<Value = (u16, u16)> {
        (any::<u16>(), any::<u16>())
    }

    proptest! {
        #[test]
        fn the_run_is_free_and_no_longer_one_exists(
            local in range(),
            node_ports in range(),
            reserved in prop::collection::vec(range(), 0..6),
        ) {
            let reserved: Vec<_> = reserved.into_iter().map(|(a, b)| a..=b).collect();
            let is_free = |port: u16| {
                port >= FIRST_UNPRIVILEGED
                    && !(local.0..=local.1).contains(&port)
                    && !(node_ports.0..=node_ports.1).contains(&port)
                    && !reserved.iter().any(|range| range.contains(&port))
            };
            let (mut longest, mut length) = (0u32, 0u32);
            for port in 0..=u16::MAX {
                length = if is_free(port) { length + 1 } else { 0 };
                longest = longest.max(length);
            }
            let found = snat_ports(local, node_ports, &reserved);
            prop_assert_eq!(found.map_or(0, |ports| u32::from(ports.count)), longest);
            if let Some(SnatPorts { first, count }) = found {
                prop_assert!((first..=first + (count - 1)).all(is_free));
            }
        }
    }
}
