//! Batch calls on hash maps, which aya does not have: many elements in one `bpf(2)`. Beside them the
//! calls on single elements that the writer makes, so that all of its calls are counted here.

use std::{cell::Cell, io, os::fd::BorrowedFd};

use bytemuck::Pod;
use std::os::fd::AsRawFd as _;

/// How many elements go into one call at most.
const CHUNK: usize = 4096;

const LOOKUP_ELEM: i64 = 1;
const UPDATE_ELEM: i64 = 2;
const DELETE_ELEM: i64 = 3;
const GET_NEXT_KEY: i64 = 4;
const LOOKUP_BATCH: i64 = 24;
const UPDATE_BATCH: i64 = 26;
const DELETE_BATCH: i64 = 27;

/// The `batch` member of `union bpf_attr` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The members of `union bpf_attr` for a single element.
#[repr(C)]
struct ElementAttributes {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// How many calls this thread has made so far.
pub fn calls() -> u64 {
    CALLS.get()
}

/// Makes the call; `attributes.count` says afterwards how many elements were done.
fn bpf<T>(command: i64, attributes: &mut T) -> io::Result<()> {
    CALLS.set(CALLS.get() + 1);
    // SAFETY: `attributes` lives through the call, is as long as said, and its pointers lead to
    // memory that the callers below keep, long enough for `count` elements.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn attributes(map: BorrowedFd<'_>) -> Attributes {
    Attributes { map_fd: map.as_raw_fd().cast_unsigned(), ..Attributes::default() }
}

#[expect(clippy::cast_possible_truncation, reason = "at most CHUNK")]
const fn count(elements: usize) -> u32 {
    elements as u32
}

/// Reads one element.
pub fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attributes = ElementAttributes {
        map_fd: map.as_raw_fd().cast_unsigned(),
        reserved: 0,
        key: std::ptr::from_ref(key) as u64,
        value: &raw mut value as u64,
        flags: 0,
    };
    match bpf(LOOKUP_ELEM, &mut attributes) {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores one element.
pub fn update_one<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attributes = ElementAttributes {
        map_fd: map.as_raw_fd().cast_unsigned(),
        reserved: 0,
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_ref(value) as u64,
        flags: 0,
    };
    bpf(UPDATE_ELEM, &mut attributes)
}

/// Removes one element; that it isn't there is no error.
pub fn delete_one<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attributes = ElementAttributes {
        map_fd: map.as_raw_fd().cast_unsigned(),
        reserved: 0,
        key: std::ptr::from_ref(key) as u64,
        value: 0,
        flags: 0,
    };
    match bpf(DELETE_ELEM, &mut attributes) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// The key after another, or the first one; `None` behind the last.
pub fn next_key<K: Pod>(map: BorrowedFd<'_>, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next = K::zeroed();
    let mut attributes = ElementAttributes {
        map_fd: map.as_raw_fd().cast_unsigned(),
        reserved: 0,
        key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
        value: &raw mut next as u64,
        flags: 0,
    };
    match bpf(GET_NEXT_KEY, &mut attributes) {
        Ok(()) => Ok(Some(next)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores elements. On an error those before it are stored.
pub fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, elements: &[(K, V)]) -> io::Result<()> {
    for chunk in elements.chunks(CHUNK) {
        let keys: Vec<K> = chunk.iter().map(|(key, _)| *key).collect();
        let values: Vec<V> = chunk.iter().map(|(_, value)| *value).collect();
        bpf(
            UPDATE_BATCH,
            &mut Attributes {
                keys: keys.as_ptr() as u64,
                values: values.as_ptr() as u64,
                count: count(chunk.len()),
                ..attributes(map)
            },
        )?;
    }
    Ok(())
}

/// Removes elements; that one isn't there is no error. Returns how many were.
pub fn delete<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<usize> {
    let mut removed = 0;
    let mut rest = keys;
    while !rest.is_empty() {
        let chunk = &rest[..rest.len().min(CHUNK)];
        let mut attributes = Attributes {
            keys: chunk.as_ptr() as u64,
            count: count(chunk.len()),
            ..attributes(map)
        };
        match bpf(DELETE_BATCH, &mut attributes) {
            Ok(()) => {
                removed += chunk.len();
                rest = &rest[chunk.len()..];
            }
            // It stopped at a key that isn't there: go on behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                removed += attributes.count as usize;
                rest = &rest[attributes.count as usize + 1..];
            }
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Reads all elements and hands them to `each`, part by part. Elements that come or go meanwhile
/// may be seen or not.
pub fn for_each<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    mut each: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut position = 0_u32;
    let mut begun = false;
    let mut room = CHUNK;
    loop {
        let mut keys = vec![K::zeroed(); room];
        let mut values = vec![V::zeroed(); room];
        let mut next = 0_u32;
        let mut attributes = Attributes {
            in_batch: if begun { &raw const position as u64 } else { 0 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: count(room),
            ..attributes(map)
        };
        let result = bpf(LOOKUP_BATCH, &mut attributes);
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        // A bucket didn't fit: nothing of it was given.
        if errno == Some(libc::ENOSPC) {
            room *= 2;
            continue;
        }
        let last = errno == Some(libc::ENOENT);
        if !last {
            result?;
        }
        let got = attributes.count as usize;
        for (key, value) in keys[..got].iter().zip(&values) {
            each(key, value);
        }
        if last {
            return Ok(());
        }
        position = next;
        begun = true;
    }
}
