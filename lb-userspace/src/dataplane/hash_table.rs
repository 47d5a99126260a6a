//! A hash map of plain data, by batch calls.

use std::{io, marker::PhantomData, os::fd::AsFd as _};

use aya::maps::MapData;
use bytemuck::Pod;

use super::{DataplaneError, batch};

/// A hash map.
#[derive(Debug)]
pub struct HashTable<K, V> {
    name: &'static str,
    map: MapData,
    capacity: u32,
    _element: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> HashTable<K, V> {
    /// Wraps a map whose keys and values are of these sizes.
    pub fn new(name: &'static str, map: MapData) -> Result<Self, DataplaneError> {
        let info = map
            .info()
            .map_err(|source| DataplaneError::Map { map: name, source: Some(Box::new(source)) })?;
        if info.key_size() as usize != size_of::<K>()
            || info.value_size() as usize != size_of::<V>()
        {
            return Err(DataplaneError::Map { map: name, source: None });
        }
        let capacity = info.max_entries();
        Ok(Self { name, map, capacity, _element: PhantomData })
    }

    /// How many elements fit.
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DataplaneError {
        let map = self.name;
        move |source| DataplaneError::MapOperation { action, map, source }
    }

    /// One element.
    pub fn get(&self, key: &K) -> Result<Option<V>, DataplaneError> {
        batch::lookup(self.map.fd().as_fd(), key).map_err(self.failed("read"))
    }

    /// Stores elements.
    pub fn update(&self, elements: &[(K, V)]) -> Result<(), DataplaneError> {
        batch::update(self.map.fd().as_fd(), elements).map_err(self.failed("write to"))
    }

    /// Removes elements and returns how many were there.
    pub fn remove(&self, keys: &[K]) -> Result<usize, DataplaneError> {
        batch::delete(self.map.fd().as_fd(), keys).map_err(self.failed("remove from"))
    }

    /// Reads all elements.
    pub fn for_each(&self, each: impl FnMut(&K, &V)) -> Result<(), DataplaneError> {
        batch::for_each(self.map.fd().as_fd(), each).map_err(self.failed("read"))
    }

    /// All elements.
    pub fn elements(&self) -> Result<Vec<(K, V)>, DataplaneError> {
        let mut all = Vec::new();
        self.for_each(|key, value| all.push((*key, *value)))?;
        Ok(all)
    }
}
