// SPDX-License-Identifier: Apache-2.0
//! The two networks behind typed calls. A model is checked against what the codec needs when it is
//! loaded, and its outputs' sizes each time it has run.

use super::fused::{Given, Network};
use super::layout::Layout;
use super::{CodecError, Depth, ModelFiles, Picture, Side};
use crate::bitstream::Tier;
use aivideo_core::engine::Engine;
use aivideo_core::kernels;
use aivideo_core::settings::InferenceSettings;
use aivideo_core::tensor::{ElementType, Tensor, TensorInfo};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Channels of a tier's tensors, as the model has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    pub y: usize,
    pub z: usize,
    pub state: usize,
}

/// Name, type and channels (0: any) of a tensor.
type Wanted = (&'static str, ElementType, usize);

use ElementType::{I8, I16, I64, U8};

/// Inputs and outputs whose type is that of samples.
const PICTURES: [&str; 6] = ["pred_y", "pred_uv", "rec_y", "rec_uv", "y", "uv"];
const COMMON: [Wanted; 3] = [("pred_y", U8, 1), ("pred_uv", U8, 2), ("state", I8, 0)];
const SYMBOLS: [Wanted; 2] = [("z", I8, 0), ("sym", I16, 0)];
const RESULT: [Wanted; 3] = [("rec_y", U8, 1), ("rec_uv", U8, 2), ("new_state", I8, 0)];
const SOURCE: [Wanted; 3] = [("y", U8, 1), ("uv", U8, 2), ("skip", U8, 1)];

fn check<S: Depth>(
    engine: &Engine,
    files: &ModelFiles,
    side: Side,
) -> Result<Channels, CodecError> {
    let origin = files.network(side, S::BITS).describe();
    let wrong = |reason: String| CodecError::ModelShape {
        origin: origin.clone(),
        reason,
    };
    let find = |list: &[TensorInfo], kind: &str, wanted: Wanted| -> Result<usize, CodecError> {
        let (name, ty, channels) = wanted;
        let ty = match PICTURES.contains(&name) {
            true => S::ELEMENT,
            false => ty,
        };
        let info = list
            .iter()
            .find(|i| i.name == name)
            .ok_or_else(|| wrong(format!("it has no {kind} '{name}'")))?;
        if info.ty != ty {
            return Err(wrong(format!(
                "{kind} '{name}' is {}, expected {ty}",
                info.ty
            )));
        }
        let [batch, actual, height, width] = info.shape[..] else {
            return Err(wrong(format!(
                "{kind} '{name}' is {info}, expected 4 dimensions"
            )));
        };
        let right = batch.is_none_or(|b| b == 1)
            && height.is_none()
            && width.is_none()
            && (channels == 0 || actual == Some(channels) || actual.is_none());
        match actual {
            Some(actual) if right => Ok(actual),
            None if right && channels != 0 => Ok(channels),
            _ => Err(wrong(format!(
                "{kind} '{name}' is {info}: one picture of any size and a fixed number of channels are needed"
            ))),
        }
    };
    let (inputs, outputs) = (engine.inputs(), engine.outputs());
    for wanted in COMMON {
        find(inputs, "input", wanted)?;
    }
    if !inputs.iter().any(|i| i.name == "quality" && i.ty == I64) {
        return Err(wrong("it has no int64 input 'quality'".to_owned()));
    }
    let symbols = match side {
        Side::Encode => {
            for wanted in SOURCE {
                find(inputs, "input", wanted)?;
            }
            SYMBOLS.map(|wanted| find(outputs, "output", wanted))
        }
        Side::Decode => SYMBOLS.map(|wanted| find(inputs, "input", wanted)),
    };
    for wanted in RESULT {
        find(outputs, "output", wanted)?;
    }
    let [z, y] = symbols;
    let channels = Channels {
        y: y?,
        z: z?,
        state: find(inputs, "input", ("state", I8, 0))?,
    };
    if !channels.y.is_multiple_of(4) || channels.z * 4 < channels.y {
        return Err(wrong(format!(
            "{} channels of y and {} of z: y is a multiple of 4, and z has one channel for four of y at least",
            channels.y, channels.z
        )));
    }
    if channels.z != files.tables.z_channels() {
        return Err(wrong(format!(
            "it has {} channels of z but the tables are for {}",
            channels.z,
            files.tables.z_channels()
        )));
    }
    let metadata = |key: &str| engine.metadata(key);
    match metadata("aicodec.version").as_deref() {
        Some("1") => {}
        Some(other) => return Err(wrong(format!("its aicodec.version is {other}, expected 1"))),
        None => {
            return Err(wrong(
                "it has no aicodec.version in its metadata".to_owned(),
            ));
        }
    }
    let own = aivideo_core::model::hex(files.tables.hash());
    match metadata("aicodec.tables-sha256") {
        Some(hash) if hash.eq_ignore_ascii_case(&own) => Ok(channels),
        Some(hash) => Err(wrong(format!(
            "it belongs to the entropy tables {hash}, but those beside it are {own}"
        ))),
        None => Err(wrong(
            "it has no aicodec.tables-sha256 in its metadata".to_owned(),
        )),
    }
}

/// Checks that the network of ten bits has the weights of the one of eight, whose hash streams carry.
fn check_pair(eight: &Engine, ten: &Engine, origin: String) -> Result<(), CodecError> {
    const WEIGHTS: &str = "aicodec.weights-sha256";
    let (own, other) = (ten.metadata(WEIGHTS), eight.metadata(WEIGHTS));
    if own.is_some() && own == other {
        return Ok(());
    }
    let name = |hash: Option<String>| hash.unwrap_or_else(|| "none".to_owned());
    Err(CodecError::ModelShape {
        origin,
        reason: format!(
            "its {WEIGHTS} is {}, that of the network of eight bits {}: both are written by one run of export.py",
            name(own),
            name(other)
        ),
    })
}

/// Takes an output out of the list.
fn take(outputs: &mut Vec<(String, Tensor)>, name: &str) -> Result<Tensor, CodecError> {
    match outputs.iter().position(|(n, _)| n == name) {
        Some(at) => Ok(outputs.swap_remove(at).1),
        None => Err(CodecError::ModelShape {
            origin: "the network".to_owned(),
            reason: format!("it gave no '{name}'"),
        }),
    }
}

fn sized<T>(name: &str, data: Vec<T>, len: usize) -> Result<Vec<T>, CodecError> {
    if data.len() == len {
        return Ok(data);
    }
    Err(CodecError::ModelShape {
        origin: "the network".to_owned(),
        reason: format!("'{name}' has {} elements, expected {len}", data.len()),
    })
}

/// What both networks give.
#[derive(Debug)]
pub struct Reconstruction<S = u8> {
    pub picture: Picture<S>,
    pub state: Vec<i8>,
}

fn reconstruction<S: Depth>(
    layout: &Layout,
    state_len: usize,
    outputs: &mut Vec<(String, Tensor)>,
) -> Result<Reconstruction<S>, CodecError> {
    let samples = layout.width * layout.height;
    let y = sized("rec_y", S::from_tensor(take(outputs, "rec_y")?)?, samples)?;
    let uv = S::from_tensor(take(outputs, "rec_uv")?)?;
    let uv = sized("rec_uv", uv, samples / 2)?;
    let state = sized(
        "new_state",
        take(outputs, "new_state")?.into_i8()?,
        state_len,
    )?;
    Ok(Reconstruction {
        picture: Picture {
            width: layout.width,
            height: layout.height,
            y,
            uv,
        },
        state,
    })
}

/// Inputs that both networks take.
fn common<S: Depth>(
    layout: &Layout,
    channels: &Channels,
    prediction: &Picture<S>,
    state: Vec<i8>,
    quality: u8,
) -> Vec<(&'static str, Tensor)> {
    let (width, height) = (layout.width, layout.height);
    vec![
        (
            "pred_y",
            S::tensor([1, 1, height, width], prediction.y.clone()),
        ),
        (
            "pred_uv",
            S::tensor([1, 2, height / 2, width / 2], prediction.uv.clone()),
        ),
        (
            "state",
            Tensor::i8([1, channels.state, height / 8, width / 8], state),
        ),
        ("quality", Tensor::i64([1], vec![i64::from(quality)])),
    ]
}

/// The network in kernels of our own: on a CPU, unless somebody asks for the graph as it is.
fn fused(
    engine: &Engine,
    files: &ModelFiles,
    side: Side,
    channels: Channels,
    settings: &InferenceSettings,
) -> Result<Option<Network>, CodecError> {
    if !kernels::are_wanted(engine, settings) {
        return Ok(None);
    }
    let model = files.network(side, 8).load()?;
    let network = Network::load(&model, side == Side::Encode, settings.num_threads as usize);
    Ok(network.filter(|network| network.fits(channels)))
}

macro_rules! network {
    ($(#[$doc:meta])* $name:ident, $side:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            engine: Engine,
            /// The same network of ten bits, where ONNX Runtime had to run it.
            ten: Arc<OnceLock<Engine>>,
            channels: Channels,
            files: ModelFiles,
            settings: InferenceSettings,
            fused: Option<Arc<Network>>,
            /// That of key frames, where they have their own.
            key: Option<Arc<Self>>,
        }

        impl $name {
            /// Loads the network, or shares one that is loaded already, and checks it.
            pub fn acquire(files: &ModelFiles, settings: &InferenceSettings) -> Result<Self, CodecError> {
                let engine = Engine::acquire(files.network($side, 8), settings)?;
                let channels = check::<u8>(&engine, files, $side)?;
                let fused = fused(&engine, files, $side, channels, settings)?;
                let key = files.key().map(|files| Self::acquire(files, settings)).transpose()?;
                if let Some(key) = &key && key.channels.state != channels.state {
                    return Err(CodecError::ModelShape {
                        origin: key.files.network($side, 8).describe(),
                        reason: format!(
                            "its state has {} channels, that of the network of other frames {}",
                            key.channels.state, channels.state
                        ),
                    });
                }
                Ok(Self {
                    engine,
                    ten: Arc::default(),
                    channels,
                    files: files.clone(),
                    settings: settings.clone(),
                    fused: fused.map(Arc::new),
                    key: key.map(Arc::new),
                })
            }

            /// The network of a key frame or of another.
            pub fn of(&self, key: bool) -> &Self {
                self.key.as_deref().filter(|_| key).unwrap_or(self)
            }

            /// Whether key frames have a network, channels and tables of their own.
            pub fn has_key(&self) -> bool {
                self.key.is_some()
            }

            /// Loads what pictures of this depth need beside what is loaded already: nothing where
            /// this project's kernels run, which take both depths.
            pub fn prepare<S: Depth>(&self) -> Result<(), CodecError> {
                if self.fused.is_none() {
                    self.graph::<S>()?;
                }
                self.key.as_ref().map_or(Ok(()), |key| key.prepare::<S>())
            }

            /// The network in ONNX Runtime for this depth.
            fn graph<S: Depth>(&self) -> Result<&Engine, CodecError> {
                if S::BITS == 8 {
                    return Ok(&self.engine);
                }
                if let Some(engine) = self.ten.get() {
                    return Ok(engine);
                }
                let source = self.files.network($side, S::BITS);
                let engine = Engine::acquire(source, &self.settings).map_err(|error| {
                    CodecError::DepthModel {
                        bits: S::BITS,
                        error,
                    }
                })?;
                let channels = check::<S>(&engine, &self.files, $side)?;
                check_pair(&self.engine, &engine, source.describe())?;
                if channels != self.channels {
                    return Err(CodecError::ModelShape {
                        origin: source.describe(),
                        reason: "it has other channels than the network of eight bits".to_owned(),
                    });
                }
                Ok(self.ten.get_or_init(|| engine))
            }

            /// The network in ONNX Runtime for this number of bits.
            pub(super) fn graph_of(&self, bits: u8) -> Result<&Engine, CodecError> {
                match bits {
                    10 => self.graph::<u16>(),
                    _ => self.graph::<u8>(),
                }
            }

            /// With `false` the network runs in ONNX Runtime, whatever the machine has.
            pub fn set_fused(&mut self, wanted: bool) {
                if !wanted {
                    self.fused = None;
                }
                if let Some(key) = &mut self.key {
                    Arc::make_mut(key).set_fused(wanted);
                }
            }

            /// What runs the network: this project's kernels by their instructions, or `onnxruntime`.
            pub fn kernels(&self) -> &'static str {
                match &self.fused {
                    Some(network) => network.isa().name(),
                    None => "onnxruntime",
                }
            }

            /// Whether the network, and that of key frames, run in this project's kernels.
            pub fn is_fused(&self) -> bool {
                self.fused.is_some() && self.key.as_ref().is_none_or(|key| key.is_fused())
            }

            pub fn channels(&self) -> Channels {
                self.channels
            }

            /// The model's tier, S where it does not say.
            pub fn tier(&self) -> Tier {
                let named = self.engine.metadata("aicodec.tier");
                named.and_then(|name| Tier::from_name(&name)).unwrap_or(Tier::S)
            }

            pub fn files(&self) -> &ModelFiles {
                &self.files
            }

            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            /// What runs pictures of this depth, and counts them.
            pub fn engine_for(&self, bits: u8) -> &Engine {
                match self.ten.get() {
                    Some(ten) if bits == 10 => ten,
                    _ => &self.engine,
                }
            }

            /// Elements of the state at a coded size.
            pub fn state_len(&self, layout: &Layout) -> usize {
                self.channels.state * layout.width * layout.height / 64
            }

            /// Tensors and tiles of a display size.
            pub fn layout(&self, size: (usize, usize), tile_rows_64: usize) -> Layout {
                Layout::new(size, self.channels.y, self.channels.z, tile_rows_64)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.files.network($side, 8))
            }
        }
    };
}

network! {
    /// Picture and prediction to symbols and reconstruction.
    EncodeNet, Side::Encode
}

network! {
    /// Symbols and prediction to the picture.
    DecodeNet, Side::Decode
}

/// What the encode network gives.
#[derive(Debug)]
pub struct Analysis<S = u8> {
    pub z: Vec<i8>,
    pub y: Vec<i16>,
    pub reconstruction: Reconstruction<S>,
}

impl EncodeNet {
    pub fn run<S: Depth>(
        &self,
        layout: &Layout,
        source: &Picture<S>,
        prediction: &Picture<S>,
        state: Vec<i8>,
        quality: u8,
        skip: &[bool],
    ) -> Result<Analysis<S>, CodecError> {
        if let Some(network) = &self.fused {
            let start = Instant::now();
            let given = Given {
                layout,
                prediction,
                state: &state,
                quality,
            };
            if let Some(coded) = network.encode(given, source, skip) {
                self.engine.record(start.elapsed());
                return Ok(Analysis {
                    z: coded.z,
                    y: coded.y,
                    reconstruction: Reconstruction {
                        picture: coded.picture,
                        state: coded.state,
                    },
                });
            }
        }
        let (width, height) = (layout.width, layout.height);
        let skip = skip.iter().map(|&s| u8::from(s)).collect();
        let mut inputs = common(layout, &self.channels, prediction, state, quality);
        inputs.push(("y", S::tensor([1, 1, height, width], source.y.clone())));
        inputs.push((
            "uv",
            S::tensor([1, 2, height / 2, width / 2], source.uv.clone()),
        ));
        inputs.push(("skip", Tensor::u8([1, 1, height / 16, width / 16], skip)));
        let mut outputs = self.graph::<S>()?.run(inputs)?;
        let z = sized("z", take(&mut outputs, "z")?.into_i8()?, layout.z_len())?;
        let y = sized(
            "sym",
            take(&mut outputs, "sym")?.into_i16()?,
            layout.y_len(),
        )?;
        let reconstruction = reconstruction(layout, self.state_len(layout), &mut outputs)?;
        Ok(Analysis {
            z,
            y,
            reconstruction,
        })
    }
}

impl DecodeNet {
    pub fn run<S: Depth>(
        &self,
        layout: &Layout,
        z: Vec<i8>,
        y: Vec<i16>,
        prediction: &Picture<S>,
        state: Vec<i8>,
        quality: u8,
    ) -> Result<Reconstruction<S>, CodecError> {
        if let Some(network) = &self.fused {
            let start = Instant::now();
            let given = Given {
                layout,
                prediction,
                state: &state,
                quality,
            };
            let coded = network.decode(given, z, y);
            self.engine.record(start.elapsed());
            return Ok(Reconstruction {
                picture: coded.picture,
                state: coded.state,
            });
        }
        let (w64, h64) = (layout.width / 64, layout.height / 64);
        let (w16, h16) = (layout.blocks_wide(), layout.blocks_high());
        let mut inputs = common(layout, &self.channels, prediction, state, quality);
        inputs.push(("z", Tensor::i8([1, self.channels.z, h64, w64], z)));
        inputs.push(("sym", Tensor::i16([1, self.channels.y, h16, w16], y)));
        let mut outputs = self.graph::<S>()?.run(inputs)?;
        reconstruction(layout, self.state_len(layout), &mut outputs)
    }
}
