//! A longest-prefix trie of plain keys, one call for each: batches of it came only with Linux 5.14.

use std::{io, marker::PhantomData, os::fd::AsFd as _};

use aya::maps::MapData;
use bytemuck::Pod;

use super::{DataplaneError, batch};

/// A set of prefixes.
#[derive(Debug)]
pub struct PrefixTable<K> {
    name: &'static str,
    map: MapData,
    _key: PhantomData<K>,
}

/// What stands beside a prefix: nothing is looked at.
const PRESENT: u32 = 1;

impl<K: Pod> PrefixTable<K> {
    /// Wraps a map whose keys are of this size.
    pub fn new(name: &'static str, map: MapData) -> Result<Self, DataplaneError> {
        let info = map
            .info()
            .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })?;
        if info.key_size() as usize != size_of::<K>()
            || info.value_size() as usize != size_of_val(&PRESENT)
        {
            return Err(DataplaneError::Map { map: name, source: None });
        }
        Ok(Self { name, map, _key: PhantomData })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DataplaneError {
        let map = self.name;
        move |source| DataplaneError::MapOperation { action, map, source }
    }

    /// Adds a prefix.
    pub fn add(&self, key: &K) -> Result<(), DataplaneError> {
        batch::update_one(self.map.fd().as_fd(), key, &PRESENT).map_err(self.failed("write to"))
    }

    /// Removes a prefix.
    pub fn remove(&self, key: &K) -> Result<(), DataplaneError> {
        batch::delete_one(self.map.fd().as_fd(), key).map_err(self.failed("remove from"))
    }

    /// All prefixes. Nobody else may write meanwhile.
    pub fn keys(&self) -> Result<Vec<K>, DataplaneError> {
        let mut keys = Vec::new();
        while let Some(key) =
            batch::next_key(self.map.fd().as_fd(), keys.last()).map_err(self.failed("read"))?
        {
            keys.push(key);
        }
        Ok(keys)
    }
}
