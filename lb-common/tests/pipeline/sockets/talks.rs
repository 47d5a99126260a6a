//! UDP sockets that aren't connected: which endpoint they keep, and what is forgotten when they are closed.

use lb_common::{
    addr::Ipv4, host::HostSocket, socket::TALK_SECONDS, tables::Talk, verdict::Event, wire::L4,
};
use lb_tests::lab::cast::Family;

use super::{SOCKET, end, endpoint, entries, release, send, service};
use crate::world::{Front, LOCAL, REMOTE, World};

#[test]
fn a_socket_keeps_its_endpoint_while_it_talks_and_chooses_anew_after_silence() {
    for family in Family::BOTH {
        let mut world = World::new(&[LOCAL, REMOTE]);
        let to = Front::Cluster.socket(family);
        let talks = |world: &World, random| {
            send(world, HostSocket { random, ..SOCKET }, to).unwrap().unwrap()
        };
        let first = talks(&world, 0);
        let other = (1..64).find(|random| talks(&World::new(&[LOCAL, REMOTE]), *random) != first);
        let other = other.expect("a random number that chooses the other one");
        // Each datagram shortly before its time is over.
        for _ in 0..5 {
            world.now += (TALK_SECONDS - 1) * world.tables.config.hz;
            assert_eq!(talks(&world, other), first);
            assert_eq!(service(&world, SOCKET, L4::Udp, first), Some(to));
        }
        assert_eq!(world.tables.counter(Event::SocketTranslated as u32), 1);
        world.now += TALK_SECONDS * world.tables.config.hz;
        let second = talks(&world, other);
        assert_ne!(second, first);
        assert_eq!(service(&world, SOCKET, L4::Udp, second), Some(to));
        assert_eq!(service(&world, SOCKET, L4::Udp, first), None);
        release(&world, SOCKET, family, L4::Udp, None);
        assert_eq!(entries(&world.tables), (0, 0));
    }
}

#[test]
fn a_socket_moves_at_once_when_its_endpoint_is_gone() {
    for family in Family::BOTH {
        let mut world = World::new(&[REMOTE]);
        let to = Front::Cluster.socket(family);
        assert_eq!(send(&world, SOCKET, to), Ok(Some(endpoint(REMOTE, family))));
        world.set_generation(REMOTE, family, L4::Udp, 0);
        let mut next = World::new(&[LOCAL, REMOTE]);
        std::mem::swap(&mut next.tables.slots, &mut world.tables.slots);
        world.tables.backends.extend(next.tables.backends.iter().filter_map(|(id, line)| {
            let is_local = *id == next.backend(LOCAL, family, L4::Udp).id;
            is_local.then_some((*id, *line))
        }));
        world.choose_from(Front::Cluster, family, L4::Udp, &[LOCAL]);
        assert_eq!(send(&world, SOCKET, to), Ok(Some(endpoint(LOCAL, family))));
    }
}

#[test]
fn two_services_with_one_endpoint_each_answer_as_themselves() {
    for family in Family::BOTH {
        let world = World::new(&[LOCAL]);
        let there = endpoint(LOCAL, family);
        for _ in 0..3 {
            for front in [Front::Cluster, Front::OtherCluster] {
                let to = front.socket(family);
                assert_eq!(send(&world, SOCKET, to), Ok(Some(there)));
                assert_eq!(service(&world, SOCKET, L4::Udp, there), Some(to), "{front:?}");
            }
        }
        assert_eq!(entries(&world.tables), (1, 3), "two talks and their list");
        release(&world, SOCKET, family, L4::Udp, None);
        assert_eq!(entries(&world.tables), (0, 0));
    }
}

#[test]
fn a_list_of_talks_that_leads_in_a_circle_ends() {
    let world = World::new(&[LOCAL]);
    let to = Front::Cluster.socket(Family::V4);
    send(&world, SOCKET, to).unwrap();
    for talk in world.tables.v4.talks.borrow_mut().values_mut() {
        let end = end::<Ipv4>(to, L4::Udp);
        *talk = Talk { previous: end.address, previous_port: end.port, ..*talk };
    }
    release(&world, SOCKET, Family::V4, L4::Udp, None);
    assert_eq!(entries(&world.tables), (0, 0));
}
