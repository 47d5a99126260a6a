//! What was counted, put together: figures of backends by CPU become those of backends and services.
//!
//! The programs' figures only grow. [`Account`]s say what of a backend's belongs to whom had its number
//! before; when the number is given again, what its last holder counted is folded into that one's service.
//! All of it is in pinned maps, so a service's totals go on over a restart and a kill.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{IterableMap as _, Map, MapData, MapError, PerCpuArray};
use lb_common::tables::{Account, Traffic};

use super::{DataplaneError, Pins, Tables, mapped::MappedArray};

/// A chunk of figures; aya asks for its own marker on map values.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Chunk([Traffic; Traffic::CHUNK as usize]);

// SAFETY: plain data without padding, `bytemuck::Pod` itself.
unsafe impl aya::Pod for Chunk {}

/// The maps of figures.
pub struct TrafficTables {
    counted: PerCpuArray<MapData, Chunk>,
    accounts: MappedArray<Account>,
    folded: MappedArray<Traffic>,
}

/// What was counted, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Of services.
    pub services: BTreeMap<u32, Traffic>,
    /// Of the backends that have the number now, or had it last.
    pub backends: BTreeMap<u32, Traffic>,
}

impl TrafficTables {
    /// Opens the maps.
    pub fn open(pins: &Pins) -> Result<Self, DataplaneError> {
        let counted = PerCpuArray::try_from(Map::PerCpuArray(super::tables::open(pins, STATS)?))
            .map_err(failed)?;
        let info = counted.map().info().map_err(failed)?;
        if info.value_size() as usize != size_of::<Chunk>() {
            return Err(DataplaneError::Map { map: STATS, source: None });
        }
        Ok(Self {
            counted,
            accounts: super::tables::mapped(pins, "ACCOUNTS")?,
            folded: super::tables::mapped(pins, "FOLDED")?,
        })
    }

    /// A chunk, summed over the CPUs.
    fn chunk(&self, at: u32) -> Result<Chunk, DataplaneError> {
        let mut sum = Chunk([Traffic::default(); Traffic::CHUNK as usize]);
        for one in self.counted.get(&at, 0).map_err(failed)?.iter() {
            for (sum, one) in sum.0.iter_mut().zip(one.0) {
                *sum = *sum + one;
            }
        }
        Ok(sum)
    }

    /// All that was ever counted under a backend's number.
    fn under(&self, backend: u32) -> Result<Traffic, DataplaneError> {
        let (chunk, within) = Traffic::position(backend);
        Ok(self.chunk(chunk)?.0[within as usize])
    }

    /// The accounts that are somebody's, with the backends' numbers.
    fn owned(&self) -> impl Iterator<Item = (u32, u32, Account)> + '_ {
        let used = (0..self.accounts.len()).filter(|backend| !self.accounts.is_empty_at(*backend));
        used.filter_map(|backend| {
            let account = self.accounts.load(backend);
            Some((backend, account.service()?, account))
        })
    }
}

const STATS: &str = "BACKEND_STATS";

fn failed(source: impl Into<MapError>) -> DataplaneError {
    DataplaneError::Map { map: STATS, source: Some(Box::new(source.into())) }
}

impl Tables {
    /// Everything that was counted, of the services that have backends or had some.
    pub fn counted(&self) -> Result<Counted, DataplaneError> {
        let traffic = &self.traffic;
        let mut counted = Counted::default();
        let mut chunk: Option<(u32, Chunk)> = None;
        for (backend, service, account) in traffic.owned() {
            let (at, within) = Traffic::position(backend);
            let figures = match chunk {
                Some((known, figures)) if known == at => figures,
                _ => traffic.chunk(at)?,
            };
            chunk = Some((at, figures));
            let own = figures.0[within as usize] - account.before;
            counted.backends.insert(backend, own);
            let sum =
                counted.services.entry(service).or_insert_with(|| traffic.folded.load(service));
            *sum = *sum + own;
        }
        Ok(counted)
    }

    /// All that was ever counted under a backend's number, whosever it was.
    pub fn counted_under(&self, backend: u32) -> Result<Traffic, DataplaneError> {
        self.traffic.under(backend)
    }
}

/// Which backends' figures are a service's: what [`Account`]s say, the other way round.
#[derive(Debug, Default)]
pub struct Accounts(BTreeMap<u32, BTreeSet<u32>>);

impl Accounts {
    /// As they stand in the maps.
    pub fn found(tables: &Tables) -> Self {
        let mut accounts = Self::default();
        for (backend, service, _) in tables.traffic.owned() {
            accounts.0.entry(service).or_default().insert(backend);
        }
        accounts
    }

    /// A number becomes another service's, which has counted nothing yet.
    pub fn begin_service(&mut self, tables: &Tables, service: u32) {
        let traffic = &tables.traffic;
        for backend in self.0.remove(&service).unwrap_or_default() {
            let account = traffic.accounts.load(backend);
            traffic.accounts.store(backend, &Account { owner: Account::NOBODY, ..account });
        }
        traffic.folded.clear(service);
    }

    /// A number becomes a backend's of this service, which has counted nothing yet.
    ///
    /// What its last holder counted is folded first. A kill just between the two leaves those figures
    /// counted twice: totals never go back.
    pub fn begin_backend(
        &mut self,
        tables: &Tables,
        backend: u32,
        service: u32,
    ) -> Result<(), DataplaneError> {
        let traffic = &tables.traffic;
        let account = traffic.accounts.load(backend);
        // A number that nobody had yet counted nothing: no call is needed to know it.
        let before = match account.owner {
            Account::NEW => Traffic::default(),
            _ => traffic.under(backend)?,
        };
        if let Some(last) = account.service() {
            let folded = traffic.folded.load(last) + (before - account.before);
            traffic.folded.store(last, &folded);
            if let Some(backends) = self.0.get_mut(&last) {
                backends.remove(&backend);
            }
        }
        let owner = Account::owner(service);
        traffic.accounts.store(backend, &Account { owner, before, ..Account::default() });
        self.0.entry(service).or_default().insert(backend);
        Ok(())
    }
}
