// SPDX-License-Identifier: Apache-2.0
//! The engines of the process, held weakly: an engine lives as long as its users.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, MutexGuard, Weak},
};

use super::{Shared, options::Options};
use crate::{error::EngineError, model};

/// What two users must have in common to share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Signature {
    pub hash: [u8; 32],
    /// Where weights outside the ONNX file lie: the hash does not cover them.
    pub external: Option<PathBuf>,
    pub options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// By `model-instance-id`: one engine, whoever differs is refused.
    Named(String),
    /// Without an id: those that are equal share.
    Unnamed(Signature),
}

/// The place of one engine. Its lock is held while a model is compiled, which can take minutes;
/// the registry's own lock never is.
#[derive(Default)]
struct Slot {
    engine: Mutex<Option<(Signature, Weak<Shared>)>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<(Signature, Weak<Shared>)>> {
        // Written in one assignment, after everything that can fail.
        self.engine.lock().unwrap_or_else(|e| e.into_inner())
    }
}

static SLOTS: LazyLock<Mutex<HashMap<Key, Arc<Slot>>>> = LazyLock::new(Mutex::default);

fn slot(key: &Key) -> Arc<Slot> {
    let mut slots = SLOTS.lock().unwrap_or_else(|e| e.into_inner());
    // Nobody else holds the place of an engine that is gone: forget it.
    slots.retain(|other, slot| {
        other == key
            || Arc::strong_count(slot) > 1
            || slot
                .lock()
                .as_ref()
                .is_some_and(|(_, engine)| engine.strong_count() > 0)
    });
    slots.entry(key.clone()).or_default().clone()
}

/// What another model under the same id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// A mistake.
    Refuse,
    /// The one to be replaced, if all else agrees.
    ReplaceModel,
}

/// The live engine for this id and signature, or the one that `build` makes. A failed build
/// leaves nothing behind.
pub(super) fn acquire(
    id: Option<&str>,
    signature: Signature,
    on_conflict: Conflict,
    build: impl FnOnce() -> Result<Arc<Shared>, EngineError>,
) -> Result<Arc<Shared>, EngineError> {
    let key = match id {
        Some(id) => Key::Named(id.to_string()),
        None => Key::Unnamed(signature.clone()),
    };
    let slot = slot(&key);
    let mut place = slot.lock();
    if let Some((existing, engine)) = place.as_ref()
        && let Some(engine) = engine.upgrade()
    {
        let successor = on_conflict == Conflict::ReplaceModel
            && existing.options == signature.options
            && *existing != signature;
        if !successor {
            return match conflict(id.unwrap_or_default(), existing, &signature) {
                Some(err) => Err(err),
                None => Ok(engine),
            };
        }
    }
    let engine = build()?;
    *place = Some((signature, Arc::downgrade(&engine)));
    Ok(engine)
}

fn conflict(id: &str, existing: &Signature, requested: &Signature) -> Option<EngineError> {
    let (what, a, b) = if existing.hash == requested.hash {
        if existing.external != requested.external {
            let show = |path: &Option<PathBuf>| {
                path.as_ref()
                    .map_or_else(|| "none".to_string(), |path| path.display().to_string())
            };
            (
                "folder of external data",
                show(&existing.external),
                show(&requested.external),
            )
        } else {
            existing.options.difference(&requested.options)?
        }
    } else {
        let short = |hash: &[u8; 32]| format!("SHA-256 {}…", &model::hex(hash)[..12]);
        ("model", short(&existing.hash), short(&requested.hash))
    };
    Some(EngineError::Conflict {
        id: id.to_string(),
        what,
        existing: a,
        requested: b,
    })
}
