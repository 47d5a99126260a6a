//! Where the ledger is kept: a redb database, one for each instance. A change is one transaction, which
//! is on disk before anything of it is in force; whoever is killed in between leaves the old state or the
//! new one.
//!
//! Why a database and not a file that is replaced whole: what a Service's change costs doesn't grow with
//! the number of Services, and two processes can't have it open at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::ledger::{Changes, Ledger, Record};
use crate::model::ServiceName;

/// Records as JSON, by namespace and name.
const SERVICES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("services-1");

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Database,
}

/// The store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its directory can't be made.
    #[error("can't make {} for what Services were given; is --state-dir right, and may this user write there?", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is another one's.
    #[error(
        "another lb is running with {}, where what Services were given is kept; stop it, or give one of them \
         another --instance or --state-dir",
        path.display()
    )]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// It can't be opened, read or written.
    #[error(
        "can't {action} {}, where what Services were given is kept; if it is broken, move it away, and lb \
         chooses anew",
        path.display()
    )]
    Database {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// A record means nothing.
    #[error(
        "what {} has of Service {service} means nothing to this lb; move the file away, and lb chooses anew",
        path.display()
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Whose record it is.
        service: ServiceName,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Store {
    /// Opens the store, or makes one, and gives what is in it.
    pub fn open(path: &Path) -> Result<(Self, Ledger), StoreError> {
        if let Some(directory) = path.parent() {
            let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Taken { path: path.to_owned() },
            error => failed("open", path, error),
        })?;
        let store = Self { path: path.to_owned(), database };
        let ledger = store.read()?;
        Ok((store, ledger))
    }

    fn read(&self) -> Result<Ledger, StoreError> {
        let mut raw: Vec<(ServiceName, Vec<u8>)> = Vec::new();
        let mut read = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = match transaction.open_table(SERVICES) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            for entry in table.iter()? {
                let (name, record) = entry?;
                let (namespace, name) = name.value();
                raw.push((ServiceName::new(namespace, name), record.value().to_vec()));
            }
            Ok(())
        };
        read().map_err(|e| failed("read", &self.path, e))?;
        let parse = |(service, bytes): (ServiceName, Vec<u8>)| -> Result<_, StoreError> {
            let record: Result<Record, _> = serde_json::from_slice(&bytes);
            match record {
                Ok(record) => Ok((service, record)),
                Err(source) => Err(StoreError::Record { path: self.path.clone(), service, source }),
            }
        };
        raw.into_iter().map(parse).collect()
    }

    /// Writes changes down. When it returns they are on disk.
    pub fn write(&self, changes: &Changes<'_>) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut table = transaction.open_table(SERVICES)?;
                for name in &changes.forgotten {
                    table.remove((name.namespace.as_str(), name.name.as_str()))?;
                }
                for (name, record) in &changes.kept {
                    let bytes = serde_json::to_vec(record).map_err(io::Error::from)?;
                    table.insert((name.namespace.as_str(), name.name.as_str()), &bytes[..])?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|e| failed("write", &self.path, e))
    }
}

fn failed(action: &'static str, path: &Path, source: impl Into<redb::Error>) -> StoreError {
    StoreError::Database { action, path: path.to_owned(), source: Box::new(source.into()) }
}
