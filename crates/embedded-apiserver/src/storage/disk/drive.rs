//! A drive for tests that loses what was not synced, runs full, and fails when it is told to.

use std::io::{Error, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Builder, StorageBackend};
use seams::{Randomness, SeededRandomness};

use super::{DiskStorage, Open};

/// What was asked for since the last sync.
#[derive(Debug, Clone)]
enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Step {
    /// Does the step, or only its first `bytes` bytes: power went while it was written.
    fn apply(&self, image: &mut Vec<u8>, part: Option<usize>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let bytes = &bytes[..part.unwrap_or(bytes.len()).min(bytes.len())];
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

/// What a drive may hold when power goes at one moment.
#[derive(Debug)]
pub struct Cut {
    /// How the moment is told about in failures.
    pub name: String,
    pub image: Vec<u8>,
    /// What the observer had counted up to then.
    pub certain: u64,
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    seen: Vec<u8>,
    steps: Vec<Step>,
    syncs: u64,
    /// The largest length; nothing when there is room enough.
    room: Option<usize>,
    /// How many syncs from now on fail.
    broken: u64,
    /// Cuts at every so many syncs.
    every: u64,
    cuts: Vec<Cut>,
    certain: u64,
}

/// A drive; clones are the same drive.
#[derive(Clone, Default)]
pub struct Drive(Arc<Mutex<Content>>);

impl std::fmt::Debug for Drive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Drive")
    }
}

impl Drive {
    /// A drive after power came back.
    pub fn holding(image: Vec<u8>) -> Self {
        let content = Content {
            durable: image.clone(),
            seen: image,
            ..Content::default()
        };
        Self(Arc::new(Mutex::new(content)))
    }

    /// The storage on this drive.
    pub fn storage(&self) -> Result<DiskStorage, super::StorageError> {
        let drive = self.clone();
        let open: Open = Box::new(move || {
            Builder::new()
                .set_cache_size(1 << 20)
                .create_with_backend(drive.clone())
        });
        DiskStorage::opened_by("drive".as_ref(), open)
    }

    /// From now on power goes, as far as [`Drive::cuts`] tells, at every so many syncs.
    pub fn cut_every(&self, syncs: u64) {
        self.0.lock().every = syncs;
    }

    /// What cuts from now on must still hold.
    pub fn certain(&self, revision: u64) {
        self.0.lock().certain = revision;
    }

    pub fn cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.0.lock().cuts)
    }

    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Limits the room to what is used, and some more bytes; nothing: no limit.
    pub fn limit(&self, more: Option<usize>) {
        let mut content = self.0.lock();
        content.room = more.map(|more| content.seen.len() + more);
    }

    /// Lets the next syncs fail.
    pub fn break_syncs(&self, count: u64) {
        self.0.lock().broken = count;
    }
}

impl Content {
    /// Power goes before, in the middle of, and after a sync: nothing of what is not synced has arrived, a part of it in order,
    /// any of it, a torn last write, all of it.
    fn cut(&mut self) {
        let chance = SeededRandomness::new(self.syncs);
        let below = |limit: usize| (chance.next_u64() % (limit.max(1) as u64)) as usize;
        let length = self.steps.len();
        let (part, torn) = (below(length + 1), below(length));
        let mut images = vec![("nothing".to_owned(), self.durable.clone())];
        let mut image = self.durable.clone();
        self.steps[..part]
            .iter()
            .for_each(|step| step.apply(&mut image, None));
        images.push((format!("the first {part} of {length}"), image.clone()));
        if let Some(step) = self.steps.get(torn) {
            let mut image = self.durable.clone();
            self.steps[..torn]
                .iter()
                .for_each(|step| step.apply(&mut image, None));
            step.apply(&mut image, Some(512 * (1 + below(7))));
            images.push((format!("{torn} of {length} and a part of the next"), image));
        }
        for _ in 0..2 {
            let mut image = self.durable.clone();
            let kept: Vec<bool> = self.steps.iter().map(|_| below(2) == 0).collect();
            for (step, _) in self.steps.iter().zip(&kept).filter(|(_, kept)| **kept) {
                step.apply(&mut image, None);
            }
            images.push((format!("{kept:?}"), image));
        }
        images.push(("everything".to_owned(), self.seen.clone()));
        for (what, image) in images {
            self.cuts.push(Cut {
                name: format!("sync {}: {what} has arrived", self.syncs),
                image,
                certain: self.certain,
            });
        }
    }
}

impl StorageBackend for Drive {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let content = self.0.lock();
        let offset = offset as usize;
        let bytes = content
            .seen
            .get(offset..offset + out.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut content = self.0.lock();
        if content
            .room
            .is_some_and(|room| len as usize > room.max(content.seen.len()))
        {
            return Err(ErrorKind::StorageFull.into());
        }
        let step = Step::Length(len as usize);
        step.apply(&mut content.seen, None);
        content.steps.push(step);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut content = self.0.lock();
        content.syncs += 1;
        if content.every > 0 && content.syncs.is_multiple_of(content.every) {
            content.cut();
        }
        if content.broken > 0 {
            content.broken -= 1;
            return Err(Error::other("the drive is broken"));
        }
        content.durable = content.seen.clone();
        content.steps.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let step = Step::Write {
            offset: offset as usize,
            bytes: data.to_vec(),
        };
        let mut content = self.0.lock();
        step.apply(&mut content.seen, None);
        content.steps.push(step);
        Ok(())
    }
}
