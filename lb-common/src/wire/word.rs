//! Words in packet memory, at any alignment.

macro_rules! word {
    ($name:ident, $value:ty, $doc:literal) => {
        #[doc = $doc]
        #[repr(C, packed)]
        #[derive(Clone, Copy)]
        pub struct $name($value);

        impl $name {
            /// All bits zero.
            #[inline(always)]
            pub const fn zero() -> Self {
                Self(0)
            }

            /// The value as it lies in memory.
            #[inline(always)]
            pub fn get(&self) -> $value {
                let at = core::ptr::addr_of!(self.0);
                // SAFETY: `at` points into `self`. On the BPF target a misaligned access of a word
                // is one instruction that the kernel allows on packet memory; the compiler, told
                // the true alignment, would assemble the word from bytes. `volatile` keeps it from
                // drawing conclusions from the alignment.
                #[cfg(target_arch = "bpf")]
                unsafe {
                    core::ptr::read_volatile(at)
                }
                #[cfg(not(target_arch = "bpf"))]
                // SAFETY: `at` points into `self`; any alignment is allowed.
                unsafe {
                    core::ptr::read_unaligned(at)
                }
            }

            /// Stores a value as it is to lie in memory.
            #[inline(always)]
            pub fn set(&mut self, value: $value) {
                let at = core::ptr::addr_of_mut!(self.0);
                // SAFETY: `at` points into `self`, which is borrowed exclusively; see `get`.
                #[cfg(target_arch = "bpf")]
                unsafe {
                    core::ptr::write_volatile(at, value);
                }
                #[cfg(not(target_arch = "bpf"))]
                // SAFETY: `at` points into `self`, borrowed exclusively; any alignment is allowed.
                unsafe {
                    core::ptr::write_unaligned(at, value);
                }
            }
        }
    };
}

word!(U16, u16, "Two bytes of a packet.");
word!(U32, u32, "Four bytes of a packet.");
word!(U64, u64, "Eight bytes of a packet.");
