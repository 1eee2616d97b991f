//! One object of a store: as it is while it is in use, packed as text when it was not for a while.
//!
//! Unpacked, an object takes three to ten times the room of its text, and most objects of a large installation rest.

use std::sync::Arc;

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
    text: Option<Box<[u8]>>,
    /// Whether somebody asked for it since it was last considered for packing.
    used: bool,
}

/// What became of an object that was to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is packed now.
    Packed,
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
                text: None,
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

    /// Packs the object unless somebody uses it.
    pub(super) fn pack(&self) -> Packing {
        let mut form = self.form.lock();
        let Some(object) = &form.object else {
            return Packing::Packed;
        };
        // Whoever holds it keeps it in memory anyway.
        if form.used || Arc::strong_count(object) > 1 {
            form.used = false;
            return Packing::Later;
        }
        if form.text.is_none() {
            let text = serde_json::to_vec(&**object).ok();
            // What cannot be read again must not be packed: an object would be missing.
            let text = text.filter(|text| serde_json::from_slice::<K>(text).is_ok());
            let Some(text) = text else {
                return Packing::Never;
            };
            form.text = Some(text.into_boxed_slice());
        }
        form.object = None;
        Packing::Packed
    }
}

impl<K: Stored> Form<K> {
    fn unpack(&self) -> Option<Arc<K>> {
        let object = serde_json::from_slice(self.text.as_ref()?);
        let object = object.inspect_err(|error| tracing::error!(%error, "an object cannot be unpacked"));
        object.ok().map(Arc::new)
    }
}
