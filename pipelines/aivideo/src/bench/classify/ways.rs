// SPDX-License-Identifier: Apache-2.0
//! Ways to classify a clip with one model: the element, the engine that elements share, and ONNX
//! Runtime's call alone. The latter two get a tensor, the same one; the element gets frames.

use std::{path::Path, time::Instant};

use aivideo_core::{
    cuda::{Card, Place},
    engine::{Bare, Binding, DeviceTensor, Engine, ModelSource, Tensor},
    meta::ClassificationResult,
    settings::InferenceSettings,
    tensor::{ElementType, TensorData},
};
use anyhow::{Context, Result, bail};
use gst::prelude::*;

use super::caps;
use crate::{bench::gpu, gstrun};

pub struct Answer {
    /// Of the whole clip.
    pub seconds: f64,
    /// Of the model alone, where that is known apart.
    pub model_seconds: Option<f64>,
    pub cpu_seconds: f64,
    /// By class.
    pub probabilities: Option<Vec<f64>>,
}

pub trait Way {
    fn name(&self) -> &str;

    /// Classifies one clip.
    fn clip(&mut self) -> Result<Answer>;
}

/// Seconds and processor seconds of `work`.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64, f64)> {
    let cpu = gstrun::cpu_seconds();
    let began = Instant::now();
    let result = work()?;
    Ok((
        result,
        began.elapsed().as_secs_f64(),
        gstrun::cpu_seconds() - cpu,
    ))
}

/// The element, in a pipeline of its own.
struct Element {
    name: String,
    harness: gst_check::Harness,
    frames: Vec<gst::Buffer>,
    clips: u64,
}

impl Element {
    fn start(
        name: String,
        model: &Path,
        settings: &InferenceSettings,
        caps: &gst::Caps,
        frames: Vec<gst::Buffer>,
    ) -> Result<Self> {
        let element = gst::ElementFactory::make("vjepa2classify")
            .property("model-location", model.to_string_lossy().as_ref())
            .property("device", &settings.device)
            .property("sync", true)
            .property("frame-stride", 1u32)
            .property("top-k", 1000u32)
            .property("num-threads", settings.num_threads)
            .build()?;
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        element.set_state(gst::State::Paused).map_err(|_| {
            let said =
                bus.pop_filtered(&[gst::MessageType::Error])
                    .and_then(|message| match message.view() {
                        gst::MessageView::Error(error) => Some(gstrun::error_text(error)),
                        _ => None,
                    });
            anyhow::anyhow!(
                "{}",
                said.unwrap_or_else(|| "vjepa2classify does not start".into())
            )
        })?;
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.play();
        harness.set_src_caps(caps.clone());
        Ok(Self {
            name,
            harness,
            frames,
            clips: 0,
        })
    }
}

impl Way for Element {
    fn name(&self) -> &str {
        &self.name
    }

    fn clip(&mut self) -> Result<Answer> {
        let start = self.clips * 10_000;
        self.clips += 1;
        let (found, seconds, cpu_seconds) = timed(|| {
            let mut found = Vec::new();
            for (i, frame) in self.frames.iter().enumerate() {
                let mut buffer = frame.copy();
                let inner = buffer.make_mut();
                inner.set_pts(gst::ClockTime::from_mseconds(start + i as u64 * 40));
                if i == 0 {
                    inner.set_flags(gst::BufferFlags::DISCONT);
                }
                let out = self.harness.push_and_pull(buffer)?;
                found.extend(ClassificationResult::read_all(&out));
            }
            Ok(found)
        })?;
        let result = found.first().context("no result came with the clip")?;
        let mut probabilities = vec![0.0; result.labels.len()];
        for (label, score) in result.labels.iter().zip(&result.scores) {
            // transformers' names of classes without a name; others have no number to compare.
            let class = label.strip_prefix("LABEL_").and_then(|n| n.parse().ok());
            match class.and_then(|class: usize| probabilities.get_mut(class)) {
                Some(place) => *place = *score,
                None => {
                    return Ok(Answer {
                        seconds,
                        model_seconds: None,
                        cpu_seconds,
                        probabilities: None,
                    });
                }
            }
        }
        Ok(Answer {
            seconds,
            model_seconds: None,
            cpu_seconds,
            probabilities: Some(probabilities),
        })
    }
}

/// The same frames in memory of a GPU.
fn on_card(frames: &[gst::Buffer], size: (u32, u32), index: u32) -> Result<Vec<gst::Buffer>> {
    let (host, card) = (
        caps("RGB", size, None),
        caps("RGB", size, Some(Place::Cuda)),
    );
    let info = gst_video::VideoInfo::from_caps(&host)?;
    let (pool, _) = Card::of(index)?.pool(&card)?;
    pool.set_active(true)?;
    frames
        .iter()
        .map(|frame| {
            let mut buffer = pool.acquire_buffer(None)?;
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(frame, &info)?;
            let writable = buffer.get_mut().context("a frame of a pool is shared")?;
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, &info)?;
            from.copy(&mut to)?;
            drop(to);
            Ok(buffer)
        })
        .collect()
}

fn answer(seconds: f64, cpu_seconds: f64) -> Answer {
    Answer {
        seconds,
        model_seconds: Some(seconds),
        cpu_seconds,
        probabilities: None,
    }
}

/// The engine, with a tensor in the host's memory, as elements use it for clips.
struct Shared {
    name: String,
    engine: Engine,
    input: (String, Tensor),
}

impl Way for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn clip(&mut self) -> Result<Answer> {
        let (name, tensor) = &self.input;
        // The copy is made outside of the time: elements own their clips.
        let tensor = tensor.clone();
        let (_, seconds, cpu) = timed(|| Ok(self.engine.run(vec![(name, tensor)])?))?;
        Ok(answer(seconds, cpu))
    }
}

/// The engine, with tensors in the GPU's memory. The scores come to the host.
struct OnCard {
    name: String,
    engine: Engine,
    binding: Binding,
    output: DeviceTensor,
}

impl OnCard {
    fn start(
        name: String,
        source: &ModelSource,
        settings: &InferenceSettings,
        input: &(String, Tensor),
    ) -> Result<Self> {
        let engine = Engine::acquire(source, settings)?;
        let gpu = engine.gpu().context("the model does not run on a GPU")?;
        let (name_of_input, tensor) = input;
        // One run tells the shape of the output, which the model may leave open.
        let results = engine.run(vec![(name_of_input, tensor.clone())])?;
        let [(name_of_output, result)] = &results[..] else {
            bail!("the model has {} outputs", results.len());
        };
        let TensorData::F32(values) = &tensor.data else {
            bail!("the model takes no float32");
        };
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let there = engine.device_tensor(tensor.shape.clone(), ElementType::F32)?;
        gpu.write(&bytes, there.buffer())?;
        let output = engine.device_tensor(result.shape.clone(), result.data.element_type())?;
        let binding = engine.bind(
            vec![(name_of_input, there)],
            vec![(name_of_output, output.clone())],
        )?;
        let mut this = Self {
            name,
            engine,
            binding,
            output,
        };
        this.compare(result)?;
        Ok(this)
    }

    fn scores(&self) -> Result<Vec<u8>> {
        self.binding.run()?;
        let gpu = self.engine.gpu().context("the model left the GPU")?;
        Ok(gpu.download(self.output.buffer())?)
    }

    /// A figure of a run that computes something else would be worthless. The second run is the one that
    /// replays a graph.
    fn compare(&mut self, wanted: &Tensor) -> Result<()> {
        let TensorData::F32(wanted) = &wanted.data else {
            bail!("the model gives no float32");
        };
        let scale = wanted.iter().fold(1f32, |most, v| most.max(v.abs()));
        for _ in 0..2 {
            let bytes = self.scores()?;
            let got = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_ne_bytes(*b));
            let apart = got
                .zip(wanted)
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, f32::max);
            if apart.is_nan() || apart > scale * 1e-2 {
                bail!(
                    "{}: a score is {apart} from that of a run with tensors of the host",
                    self.name
                );
            }
        }
        Ok(())
    }
}

impl Way for OnCard {
    fn name(&self) -> &str {
        &self.name
    }

    fn clip(&mut self) -> Result<Answer> {
        let (_, seconds, cpu) = timed(|| self.scores())?;
        Ok(answer(seconds, cpu))
    }
}

/// ONNX Runtime alone.
struct Alone {
    name: String,
    bare: Bare,
}

impl Way for Alone {
    fn name(&self) -> &str {
        &self.name
    }

    fn clip(&mut self) -> Result<Answer> {
        let (_, seconds, cpu) = timed(|| Ok(self.bare.run()?))?;
        Ok(answer(seconds, cpu))
    }
}

/// The model's input: numbers without a pattern, on the scale of prepared pictures.
fn clip_of(engine: &Engine) -> Result<(String, Tensor)> {
    let [input] = engine.inputs() else {
        bail!("the model has {} inputs, not one", engine.inputs().len());
    };
    let shape: Vec<usize> = input.shape.iter().map(|n| n.unwrap_or(1)).collect();
    let mut state = 0x9e37_79b9u32;
    let data = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    Ok((input.name.clone(), Tensor::f32(shape, data)))
}

/// The ways there are, and what could not be had.
pub type Ways = (Vec<Box<dyn Way>>, Vec<String>);

/// All ways with one exported model.
pub fn all(
    precision: &str,
    model: &Path,
    settings: &InferenceSettings,
    frames: &[gst::Buffer],
    size: (u32, u32),
) -> Result<Ways> {
    let source = ModelSource::File(model.to_path_buf());
    let mut missing = Vec::new();
    let mut ways: Vec<Box<dyn Way>> = vec![Box::new(Element::start(
        format!("vjepa2classify {precision}"),
        model,
        settings,
        &caps("RGB", size, None),
        frames.to_vec(),
    )?)];
    let engine = Engine::acquire(&source, settings)?;
    let gpu = engine.gpu_index();
    if let Some(index) = gpu {
        let started = on_card(frames, size, index).and_then(|frames| {
            Element::start(
                format!("vjepa2classify {precision}, frames on the card"),
                model,
                settings,
                &caps("RGB", size, Some(Place::Cuda)),
                frames,
            )
        });
        match started {
            Ok(way) => ways.push(Box::new(way)),
            Err(error) => missing.push(format!("frames in CUDAMemory: {error:#}")),
        }
    }
    let input = clip_of(&engine)?;
    let alone = |name: &str| -> Result<Alone> {
        let given = vec![(input.0.as_str(), input.1.clone())];
        Ok(Alone {
            name: format!("{name} {precision}"),
            bare: Bare::new(&source, settings, given)?,
        })
    };
    ways.push(Box::new(Shared {
        name: format!("engine {precision}"),
        engine,
        input: input.clone(),
    }));
    ways.push(Box::new(alone("bare call")?));
    if gpu.is_none() {
        return Ok((ways, missing));
    }
    ways.push(Box::new(OnCard::start(
        format!("engine {precision}, tensors on the card"),
        &source,
        settings,
        &input,
    )?));
    let mut bound = alone("bare call")?;
    bound.name += ", tensors on the card";
    bound.bare.bind()?;
    ways.push(Box::new(bound));
    if gpu::is_cuda(&settings.device) {
        let with_graph = InferenceSettings {
            cuda_graph: true,
            ..settings.clone()
        };
        let name = format!("engine {precision}, CUDA graph");
        match OnCard::start(name, &source, &with_graph, &input) {
            Ok(way) => ways.push(Box::new(way)),
            Err(error) => missing.push(format!("CUDA graph of {precision}: {error:#}")),
        }
    }
    Ok((ways, missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment;

    /// See `elements/cuda/fake`.
    #[test]
    fn on_a_stand_in_for_a_gpu() {
        aivideo_fakecuda::run_ignored();
    }

    #[test]
    #[ignore = "run by on_a_stand_in_for_a_gpu"]
    fn every_way_classifies_on_a_gpu() {
        gst::init().unwrap();
        aivideo_classify::register(None).unwrap();
        let model = environment::root()
            .unwrap()
            .join("elements/classify/tests/data/tiny-vjepa2.onnx");
        let settings = InferenceSettings {
            device: "cuda".into(),
            num_threads: 1,
            ..InferenceSettings::default()
        };
        let size = (64, 48);
        let frames: Vec<gst::Buffer> = (0..16u8)
            .map(|n| gst::Buffer::from_slice(vec![n * 16; 64 * 48 * 3]))
            .collect();
        let (ways, missing) = all("fp32", &model, &settings, &frames, size).unwrap();
        let names: Vec<String> = ways.iter().map(|way| way.name().to_string()).collect();
        let without_library = missing
            .iter()
            .filter(|m| m.starts_with("frames in CUDAMemory"))
            .count();
        assert_eq!(missing.len(), without_library, "{missing:?}");
        assert_eq!(names.len() + without_library, 7, "{names:?}");
        let mut found = Vec::new();
        for mut way in ways {
            for _ in 0..2 {
                let answer = way.clip().unwrap();
                assert!(answer.seconds > 0.0, "{}", way.name());
                found.extend(answer.probabilities);
            }
        }
        // The element says the same wherever frames lie.
        assert_eq!(found.len() + 2 * without_library, 4);
        assert!(found.iter().all(|one| one == &found[0]), "{found:?}");
        assert!(aivideo_fakecuda::onnx("graph-runs") > 0);
    }
}
