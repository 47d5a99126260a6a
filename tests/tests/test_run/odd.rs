//! Fragments and headers that are out of the ordinary, and what happens without the program for them.

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, ProgramArray};
use lb_common::{
    hook::Hook,
    verdict::{DropReason, Stage},
};
use lb_tests::lab::cast::{Family, OUTSIDE};

use crate::{
    CREATED, DECLINED, STACK, answer,
    bed::{
        Backend, Bed, Front, SIZES, in_shared_bed,
        sent::action,
        world::{CLIENT_PORT, TRANSPORTS},
    },
    between, each, from_outside,
};

#[test]
fn fragments_follow_their_first_there_and_back() -> Result<()> {
    each(|bed, family, l4| {
        let client = OUTSIDE.socket(family, CLIENT_PORT);
        let (front, backend) =
            (Front::Node.socket(family, Backend::Local), Backend::Local.socket(family));
        let pieces = [(0, true), (9, true), (17, false)];
        for (number, (offset, more)) in pieces.into_iter().enumerate() {
            let packet = from_outside(family, l4, Backend::Local).payload(&[3; 64]);
            let packet = packet.fragment(offset, more, 0x1234);
            bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &packet, &[DECLINED]);
            let becomes = between(packet.clone(), client, backend);
            let counted = if number == 0 { &[STACK, CREATED][..] } else { &[STACK] };
            bed.send(bed.world.uplink_in(), &packet).is(action::TC_UNSPEC, &becomes, counted);
        }
        for (offset, more) in pieces {
            let packet = answer(family, l4, backend, client).payload(&[4; 64]);
            let packet = packet.fragment(offset, more, 0x4321);
            let becomes = between(packet.clone(), front, client);
            bed.send(bed.world.uplink_out(), &packet).is(action::TC_UNSPEC, &becomes, &[STACK]);
        }
    })
}

#[test]
fn extension_headers_are_walked() -> Result<()> {
    in_shared_bed(|bed| {
        for l4 in TRANSPORTS {
            let packet = from_outside(Family::V6, l4, Backend::Local)
                .extension(0, &[0; 6])
                .extension(60, &[0; 14])
                .extension(60, &[0; 6]);
            let client = OUTSIDE.socket(Family::V6, CLIENT_PORT);
            let becomes = between(packet.clone(), client, Backend::Local.socket(Family::V6));
            let sent = bed.send(bed.world.uplink_in(), &packet);
            sent.is(action::TC_UNSPEC, &becomes, &[STACK, CREATED]);
        }
        Ok(())
    })
}

/// Nothing is passed on untranslated because a program is missing; XDP leaves such a packet to TC.
#[test]
fn without_the_program_of_the_next_stage_packets_are_dropped_and_counted() -> Result<()> {
    let bed = Bed::with(&SIZES, |_| Ok(()))?;
    let stages = |name| -> Result<ProgramArray<MapData>> {
        let map = MapData::from_pin(bed.maps().join(name))?;
        ProgramArray::try_from(Map::ProgramArray(map)).context(name)
    };
    let uplink = Hook::UplinkIn;
    stages("STAGES")?.clear_index(&Stage::Answer.place(uplink))?;
    let no_stage = DropReason::NoStage as u32;
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            let packet = from_outside(family, l4, Backend::Missing);
            let counted = [DropReason::NoBackend as u32, no_stage];
            bed.send(bed.world.uplink_in(), &packet).is(action::TC_SHOT, &packet, &counted);
        }
    }
    for map in ["STAGES", bed.programs().xdp_stages()] {
        stages(map)?.clear_index(&Stage::Whole.place(uplink))?;
    }
    for family in Family::BOTH {
        for l4 in TRANSPORTS {
            let packet = from_outside(family, l4, Backend::Local);
            bed.send(bed.world.uplink_in(), &packet).is(action::TC_SHOT, &packet, &[no_stage]);
            bed.send(bed.world.xdp(), &packet).is(action::XDP_PASS, &packet, &[DECLINED]);
        }
    }
    Ok(())
}
