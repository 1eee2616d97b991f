//! One object of a store: as it is while it is in use, packed as text when it was not for a while, compressed later.
//!
//! Unpacked, an object takes three to ten times the room of its text, and that four times the room of what is left after
//! compression; most objects of a large installation rest.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use parking_lot::Mutex;

use crate::key::{Stored, version_of};

/// An object at its place in a store.
pub(super) struct Slot<K> {
    /// The number of its resource version.
    pub(super) version: u64,
    form: Mutex<Form<K>>,
}

struct Form<K> {
    object: Option<Arc<K>>,
    /// There once this version of the object has been packed.
    packed: Option<Packed>,
    /// Whether somebody asked for it since it was last considered for packing.
    used: bool,
}

/// An object that is packed.
enum Packed {
    /// Its text.
    Text(Box<[u8]>),
    /// Its text compressed, and the length of the text.
    Compressed(Box<[u8]>, usize),
}

/// What became of an object that was to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is packed now, as text.
    Text,
    /// It is packed and compressed already, or gone.
    Compressed,
    /// It is in use; later perhaps.
    Later,
    /// It stays as it is: its text would not give the same object again.
    Never,
}

impl<K: Stored> Slot<K> {
    pub(super) fn new(object: Arc<K>) -> Self {
        Self {
            version: version_of(object.meta()),
            form: Mutex::new(Form {
                object: Some(object),
                packed: None,
                used: false,
            }),
        }
    }

    /// The object, and whether it was packed until now and is not any more.
    pub(super) fn get(&self) -> (Option<Arc<K>>, bool) {
        let mut form = self.form.lock();
        form.used = true;
        if form.object.is_some() {
            return (form.object.clone(), false);
        }
        form.object = form.unpack();
        (form.object.clone(), form.object.is_some())
    }

    /// The object, which stays as packed as it is: for somebody who looks at many, or once.
    pub(super) fn peek(&self) -> Option<Arc<K>> {
        let form = self.form.lock();
        form.object.clone().or_else(|| form.unpack())
    }

    pub(super) fn is_packed(&self) -> bool {
        self.form.lock().object.is_none()
    }

    #[cfg(test)]
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.form.lock().packed, Some(Packed::Compressed(..)))
    }

    /// Packs the object unless somebody uses it.
    pub(super) fn pack(&self) -> Packing {
        let mut form = self.form.lock();
        let Some(object) = &form.object else {
            return form.packing();
        };
        // Whoever holds it keeps it in memory anyway.
        if form.used || Arc::strong_count(object) > 1 {
            form.used = false;
            return Packing::Later;
        }
        if form.packed.is_none() {
            let text = serde_json::to_vec(&**object).ok();
            // What cannot be read again must not be packed: an object would be missing.
            let text = text.filter(|text| serde_json::from_slice::<K>(text).is_ok());
            let Some(text) = text else {
                return Packing::Never;
            };
            form.packed = Some(Packed::Text(text.into_boxed_slice()));
        }
        form.object = None;
        form.packing()
    }

    /// Compresses the object if it is packed as text and stays so.
    pub(super) fn compress(&self) {
        let mut form = self.form.lock();
        if let (None, Some(Packed::Text(text))) = (&form.object, &form.packed)
            && let Ok(compressed) = compress(text)
            && compressed.len() < text.len()
        {
            form.packed = Some(Packed::Compressed(compressed, text.len()));
        }
    }
}

fn compress(text: &[u8]) -> io::Result<Box<[u8]>> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(text.len() / 3), Compression::fast());
    encoder.write_all(text)?;
    Ok(encoder.finish()?.into_boxed_slice())
}

fn decompress(compressed: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(length);
    DeflateDecoder::new(compressed).read_to_end(&mut text)?;
    Ok(text)
}

impl<K: Stored> Form<K> {
    fn packing(&self) -> Packing {
        match self.packed {
            Some(Packed::Text(_)) => Packing::Text,
            _ => Packing::Compressed,
        }
    }

    fn unpack(&self) -> Option<Arc<K>> {
        let object = match self.packed.as_ref()? {
            Packed::Text(text) => serde_json::from_slice(text),
            Packed::Compressed(compressed, length) => decompress(compressed, *length)
                .map_err(serde_json::Error::io)
                .and_then(|text| serde_json::from_slice(&text)),
        };
        let object = object.inspect_err(|error| tracing::error!(%error, "an object cannot be unpacked"));
        object.ok().map(Arc::new)
    }
}
