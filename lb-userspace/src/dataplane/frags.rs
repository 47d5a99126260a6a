//! XDP for packets that lie in several buffers, as jumbo frames do. Linux takes programs that say they
//! know such packets from 5.18 on, and refuses the flag before. What a program says stands in the name of
//! its section: so an object for an older kernel is the same with another name in it.
//!
//! All of the XDP programs are of one kind: none goes on to another by a tail call.

/// The sections of programs that know packets in several buffers, and of ones that don't: with both ends,
/// as strings lie in tables of strings. A name of the same length, so that everything stays in its place.
const NAMES: (&[u8], &[u8]) = (b"xdp.frags\0", b"xdp\0frags\0");

/// The same object with programs that say nothing of several buffers.
pub fn without(object: &[u8]) -> Vec<u8> {
    let (with, without) = NAMES;
    let mut object = object.to_vec();
    let mut at = 0;
    while let Some(next) = object[at..].windows(with.len()).position(|bytes| bytes == with) {
        at += next;
        object[at..at + with.len()].copy_from_slice(without);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aya_obj::{Object, ProgramSection};

    use super::*;
    use crate::dataplane::OBJECT;

    /// Name and instructions of the programs of an object; XDP programs by whether they know packets in
    /// several buffers.
    fn programs(bytes: &[u8]) -> BTreeMap<String, (Option<bool>, usize)> {
        let object = Object::parse(bytes).unwrap();
        let one = |(name, program): (&String, &aya_obj::Program)| {
            let frags = match program.section {
                ProgramSection::Xdp { frags, .. } => Some(frags),
                _ => None,
            };
            let function = &object.functions[&program.function_key()];
            (name.clone(), (frags, function.instructions.len()))
        };
        object.programs.iter().map(one).collect()
    }

    #[test]
    fn an_object_for_older_kernels_is_the_same_but_for_what_xdp_programs_say_of_several_buffers() {
        let (with, without) = (programs(OBJECT), programs(&without(OBJECT)));
        let xdp = |programs: &BTreeMap<String, (Option<bool>, usize)>, frags| {
            programs.values().filter(|(says, _)| *says == Some(frags)).count()
        };
        assert_eq!((xdp(&with, true), xdp(&with, false)), (3, 0));
        assert_eq!((xdp(&without, true), xdp(&without, false)), (0, 3));
        assert_eq!(with.keys().collect::<Vec<_>>(), without.keys().collect::<Vec<_>>());
        for (name, (_, length)) in &with {
            assert_eq!(without[name].1, *length, "{name}");
        }
    }
}
