//! Arrays that are mapped into our memory: writing one is a store, not a system call.
//!
//! The kernel's programs read while we write. Everything is stored by 8-byte words, each at once;
//! an element's **first word goes last**, so that a generation there publishes the rest.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};

use super::DataplaneError;

/// An array map in memory.
#[derive(Debug)]
pub struct MappedArray<T> {
    memory: MmapRaw,
    len: u32,
    _element: PhantomData<T>,
}

impl<T: Pod> MappedArray<T> {
    /// 64-bit words in an element. The kernel rounds elements up to 8 bytes; ours are whole words.
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8), "mapped elements are whole words");
        size_of::<T>() / 8
    };

    /// Maps an array that was made with `BPF_F_MMAPABLE`.
    pub fn map(name: &'static str, map: &MapData) -> Result<Self, DataplaneError> {
        let info = map
            .info()
            .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(DataplaneError::Map { map: name, source: None });
        }
        let len = info.max_entries();
        let memory = MmapOptions::new()
            .len(len as usize * size_of::<T>())
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(|source| DataplaneError::MapOperation { action: "map", map: name, source })?;
        Ok(Self { memory, len, _element: PhantomData })
    }

    /// How many elements there are.
    pub const fn len(&self) -> u32 {
        self.len
    }

    fn words(&self, index: u32) -> &[AtomicU64] {
        assert!(index < self.len, "index within the array");
        let first = index as usize * Self::WORDS;
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        // SAFETY: the memory is mapped readable and writable as long as `self` lives, begins at a
        // page, and has room for `len` elements of `WORDS` words; it is only accessed atomically.
        unsafe {
            let start = self.memory.as_mut_ptr().cast::<AtomicU64>().add(first);
            std::slice::from_raw_parts(start, Self::WORDS)
        }
    }

    /// Stores an element, its first word last.
    pub fn store(&self, index: u32, value: &T) {
        let values = bytemuck::bytes_of(value).chunks_exact(8);
        for (word, value) in self.words(index).iter().zip(values).rev() {
            word.store(bytemuck::pod_read_unaligned(value), Ordering::Release);
        }
    }

    /// Changes an element: stores the words that become others. Words that stay are left alone, because
    /// another process may be writing them.
    pub fn change(&self, index: u32, change: impl FnOnce(&mut T)) {
        let before = self.load(index);
        let mut after = before;
        change(&mut after);
        let words = |value: &T| -> Vec<u64> {
            bytemuck::bytes_of(value).chunks_exact(8).map(bytemuck::pod_read_unaligned).collect()
        };
        let changed = words(&before).into_iter().zip(words(&after));
        for (word, (before, after)) in self.words(index).iter().zip(changed).rev() {
            if before != after {
                word.store(after, Ordering::Release);
            }
        }
    }

    /// Empties an element, its first word first.
    pub fn clear(&self, index: u32) {
        for word in self.words(index) {
            word.store(0, Ordering::Release);
        }
    }

    /// Whether an element's first word is 0: told at a fraction of what reading the element takes, for
    /// those who look for the few that are not.
    pub fn is_empty_at(&self, index: u32) -> bool {
        self.words(index)[0].load(Ordering::Acquire) == 0
    }

    /// Reads an element.
    pub fn load(&self, index: u32) -> T {
        let words: Vec<u64> =
            self.words(index).iter().map(|word| word.load(Ordering::Acquire)).collect();
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words))
    }
}
