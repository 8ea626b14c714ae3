// SPDX-License-Identifier: Apache-2.0
//! A model for the element, and a new one while it plays.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aivideo_core::{
    element::lock,
    engine::{Engine, EngineError, ModelSource},
    settings::InferenceSettings,
};

use super::settings::Settings;
use crate::model::ClassifierModel;

/// A model that is ready to run.
pub(super) struct Loaded {
    pub engine: Engine,
    pub model: Arc<ClassifierModel>,
}

/// The built-in model.
fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "vjepa2-motion",
        bytes: include_bytes!("../../../../models/classify/vjepa2-motion.onnx"),
    }
}

impl Loaded {
    pub fn new(settings: &Settings) -> Result<Self, gst::ErrorMessage> {
        Self::with(settings, Engine::acquire)
    }

    /// As `new`, where another model may have the same `model-instance-id`.
    fn successor(settings: &Settings) -> Result<Self, gst::ErrorMessage> {
        Self::with(settings, Engine::replace)
    }

    fn with(
        settings: &Settings,
        acquire: impl FnOnce(&ModelSource, &InferenceSettings) -> Result<Engine, EngineError>,
    ) -> Result<Self, gst::ErrorMessage> {
        let source = settings.inference.model(default_model());
        let engine = acquire(&source, &settings.inference).map_err(|err| err.to_error_message())?;
        let model = ClassifierModel::of_engine(&engine, &source, settings.labels_file.as_deref())
            .map_err(|err| err.to_error_message())?;
        Ok(Self {
            engine,
            model: Arc::new(model),
        })
    }

    /// Frees the model when the clips that were given to it are answered, without keeping anybody
    /// waiting for that: freeing waits for the run in progress and can take a while by itself.
    pub fn retire(self) {
        let Self { engine, model } = self;
        let freeing = thread::Builder::new()
            .name("vjepa2-retire".to_string())
            .spawn(move || {
                // Clips under way hold the model's description beside their engine.
                while Arc::strong_count(&model) > 1 {
                    thread::sleep(Duration::from_millis(20));
                }
                drop(engine);
            });
        if let Err(err) = freeing {
            // The closure, and the engine in it, is dropped here.
            gst::warning!(super::imp::CAT, "no thread to free a model in: {err}");
        }
    }
}

/// Loads models beside the one that runs. The last one asked for wins.
#[derive(Default)]
pub(super) struct Loader {
    asked: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Loader {
    /// Loads in a thread, and calls `done` there unless another model was asked for meanwhile.
    pub fn load(
        &self,
        settings: Settings,
        done: impl FnOnce(Result<Loaded, gst::ErrorMessage>) + Send + 'static,
    ) -> Result<(), std::io::Error> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let asked = self.asked.clone();
        let mut place = lock(&self.thread);
        let before = place.take();
        *place = Some(
            thread::Builder::new()
                .name("vjepa2-load".to_string())
                .spawn(move || {
                    // One after the other: two models at once would need the memory of both.
                    if let Some(before) = before {
                        let _ = before.join();
                    }
                    if asked.load(Ordering::SeqCst) != number {
                        return;
                    }
                    let loaded = Loaded::successor(&settings);
                    if asked.load(Ordering::SeqCst) == number {
                        done(loaded);
                    }
                })?,
        );
        Ok(())
    }

    /// Forgets what is being loaded, and waits until no thread is left in ONNX Runtime.
    pub fn cancel(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
