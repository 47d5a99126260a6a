//! CRC-32C (Castagnoli), which SCTP has as its checksum (RFC 9260, appendix A), as far as a change of a few bytes
//! needs it.
//!
//! The remainder is linear: a change at the beginning of a packet changes it by what the change itself leaves when as
//! many zeros follow as the packet is long. That is found from the number of zeros, without reading
//! the packet: there is a table for each digit of it.

/// The polynomial, its highest power the lowest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each value of each half byte of a remainder becomes, when some zero bytes follow.
type Step = [[u32; 16]; 8];

/// For each value of each half byte of the number of zero bytes.
static STEPS: [[Step; 16]; 4] = steps();

/// What a remainder becomes when four zero bytes follow, or a word was added to it and is gone through.
#[inline(always)]
pub fn word(remainder: u32) -> u32 {
    look_up(&STEPS[0][4], remainder)
}

/// What a remainder becomes when so many zero bytes follow.
#[inline(always)]
pub fn zeros(remainder: u32, bytes: u16) -> u32 {
    let mut remainder = remainder;
    for (at, steps) in STEPS.iter().enumerate() {
        remainder = look_up(&steps[usize::from(bytes >> (4 * at) & 15)], remainder);
    }
    remainder
}

#[inline(always)]
fn look_up(step: &Step, remainder: u32) -> u32 {
    let mut out = 0;
    for (at, halves) in step.iter().enumerate() {
        out ^= halves[(remainder >> (4 * at) & 15) as usize];
    }
    out
}

/// A remainder's bits, each by itself, after some zeros.
type Columns = [u32; 32];

#[expect(clippy::large_stack_arrays, reason = "the compiler's, which makes a table of it")]
const fn steps() -> [[Step; 16]; 4] {
    let mut steps = [[[[0; 16]; 8]; 16]; 4];
    let mut unit = one_byte();
    let mut at = 0;
    while at < 4 {
        let mut columns = none();
        let mut digit = 0;
        while digit < 16 {
            steps[at][digit] = halves(&columns);
            columns = after(&unit, &columns);
            digit += 1;
        }
        unit = columns;
        at += 1;
    }
    steps
}

const fn none() -> Columns {
    let mut columns = [0; 32];
    let mut bit = 0;
    while bit < 32 {
        columns[bit] = 1 << bit;
        bit += 1;
    }
    columns
}

const fn one_byte() -> Columns {
    let mut columns = [0; 32];
    let mut bit = 0;
    while bit < 32 {
        let mut remainder = 1_u32 << bit;
        let mut shifts = 0;
        while shifts < 8 {
            let carry = remainder & 1;
            remainder = remainder >> 1 ^ if carry == 1 { POLYNOMIAL } else { 0 };
            shifts += 1;
        }
        columns[bit] = remainder;
        bit += 1;
    }
    columns
}

/// The zeros of both.
const fn after(one: &Columns, other: &Columns) -> Columns {
    let mut out = [0; 32];
    let mut bit = 0;
    while bit < 32 {
        out[bit] = apply(one, other[bit]);
        bit += 1;
    }
    out
}

const fn apply(columns: &Columns, remainder: u32) -> u32 {
    let (mut out, mut bit) = (0, 0);
    while bit < 32 {
        if remainder >> bit & 1 == 1 {
            out ^= columns[bit];
        }
        bit += 1;
    }
    out
}

#[expect(clippy::cast_possible_truncation, reason = "half a byte")]
const fn halves(columns: &Columns) -> Step {
    let mut step = [[0; 16]; 8];
    let mut at = 0;
    while at < 8 {
        let mut value = 0;
        while value < 16 {
            step[at][value] = apply(columns, (value as u32) << (4 * at));
            value += 1;
        }
        at += 1;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of bytes, one after the other.
    fn of(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |state, byte| zeros(state ^ u32::from(*byte), 1))
    }

    #[test]
    fn the_examples_of_rfc_3720_come_out() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn any_number_of_zeros_is_as_many_single_ones() {
        for bytes in [0, 1, 2, 3, 4, 11, 16, 255, 1_480, 9_000, 65_535] {
            let mut expected = 0x1234_5678;
            for _ in 0..bytes {
                expected = zeros(expected, 1);
            }
            assert_eq!(zeros(0x1234_5678, bytes), expected, "{bytes} bytes");
            assert!(bytes != 4 || word(0x1234_5678) == expected);
        }
    }
}
