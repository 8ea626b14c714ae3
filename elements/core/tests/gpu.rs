// SPDX-License-Identifier: Apache-2.0
//! Engines over memory of a GPU, with stand-ins for the driver and the provider: see
//! `elements/cuda/fake`. Nothing that is started there happens before somebody waits for it, and host
//! code that touches the memory crashes.

mod testmodel;

use aivideo_core::{
    engine::{DeviceTensor, ElementType, Engine, ModelSource, Tensor},
    settings::InferenceSettings,
};
use aivideo_fakecuda::{driver, onnx};
use testmodel::{Dim, Model, ty};

#[test]
fn on_a_stand_in_for_a_gpu() {
    aivideo_fakecuda::run_ignored();
}

/// `y = a + b` of rows of four numbers, and `a` itself.
fn sum() -> ModelSource {
    let dims = [Dim::Free("n"), Dim::Fixed(4)];
    let bytes = Model::new()
        .input("a", ty::F32, &dims)
        .input("b", ty::F32, &dims)
        .output("y", ty::F32, &dims)
        .output("same", ty::F32, &dims)
        .node("Add", &["a", "b"], &["y"], &[])
        .node("Identity", &["a"], &["same"], &[])
        .finish();
    ModelSource::Embedded {
        name: "sum",
        bytes: bytes.leak(),
    }
}

fn engine(device: &str, change: impl FnOnce(&mut InferenceSettings)) -> Engine {
    gst::init().unwrap();
    let mut settings = InferenceSettings {
        device: device.to_string(),
        num_threads: 1,
        ..InferenceSettings::default()
    };
    change(&mut settings);
    Engine::acquire(&sum(), &settings).unwrap()
}

fn row(engine: &Engine) -> DeviceTensor {
    engine.device_tensor([1, 4], ElementType::F32).unwrap()
}

fn write(engine: &Engine, tensor: &DeviceTensor, values: [f32; 4]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    engine
        .gpu()
        .unwrap()
        .write(&bytes, tensor.buffer())
        .unwrap();
}

/// Waits, and gives what is there.
fn read(engine: &Engine, tensor: &DeviceTensor) -> Vec<f32> {
    let bytes = engine.gpu().unwrap().download(tensor.buffer()).unwrap();
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_stand_in_is_in_place() {
    let engine = engine("cuda", |_| {});
    assert_eq!(engine.device_in_use(), "cuda:0");
    assert_eq!(engine.gpu().unwrap().name().unwrap(), "Fake GPU 0");
    assert_eq!(self::engine("auto", |_| {}).device_in_use(), "cuda:0");
    assert!(self::engine("cpu", |_| {}).gpu().is_none());
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_bound_run_is_ordered_by_the_stream_and_waits_for_nothing() {
    let engine = engine("cuda", |_| {});
    let (a, b, y, same) = (row(&engine), row(&engine), row(&engine), row(&engine));
    let binding = engine
        .bind(
            vec![("b", b.clone()), ("a", a.clone())],
            vec![("y", y.clone()), ("same", same.clone())],
        )
        .unwrap();
    let (waits, to_host) = (driver("waits"), driver("to-host"));
    let waited = onnx("waited-runs");
    write(&engine, &a, [1.0, 2.0, 3.0, 4.0]);
    write(&engine, &b, [10.0; 4]);
    binding.run().unwrap();
    // What comes next overwrites the input; the run was before.
    write(&engine, &a, [0.0; 4]);
    assert_eq!(driver("waits"), waits, "nothing waits");
    assert_eq!(driver("to-host"), to_host);
    assert_eq!(onnx("waited-runs"), waited);
    assert_eq!(read(&engine, &y), [11.0, 12.0, 13.0, 14.0]);
    assert_eq!(read(&engine, &same), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read(&engine, &a), [0.0; 4]);
    // Frames and runs are counted, and no tensor crossed the bus.
    let stats = engine.stats();
    assert_eq!((stats.frames, stats.batches, stats.host_bytes), (1, 1, 0));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn results_come_to_the_host_where_only_inputs_are_bound() {
    let engine = engine("cuda", |settings| settings.cuda_graph = true);
    let (a, b) = (row(&engine), row(&engine));
    let binding = engine
        .bind_inputs(vec![("a", a.clone()), ("b", b.clone())])
        .unwrap();
    write(&engine, &b, [10.0; 4]);
    for value in [1.0, 2.0, 3.0] {
        write(&engine, &a, [value; 4]);
        let outputs = binding.run().unwrap();
        assert_eq!(outputs[0].0, "y");
        assert_eq!(outputs[0].1.as_f32().unwrap(), [10.0 + value; 4]);
        assert_eq!(outputs[1].1.shape, [1, 4]);
    }
    assert_eq!(engine.stats().host_bytes, 3 * 2 * 16);
    assert!(engine.bind_inputs(vec![("a", a)]).is_err());
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn tensors_of_the_host_still_work_between_bound_runs() {
    let engine = engine("cuda", |settings| settings.batch_size = 4);
    let (a, b, y, same) = (row(&engine), row(&engine), row(&engine), row(&engine));
    let binding = engine
        .bind(
            vec![("a", a.clone()), ("b", b)],
            vec![("y", y.clone()), ("same", same)],
        )
        .unwrap();
    for round in 0..3 {
        let value = round as f32;
        write(&engine, &a, [value; 4]);
        binding.run().unwrap();
        let host = |v: f32| Tensor::f32([1, 4], vec![v; 4]);
        let outputs = engine
            .run(vec![("a", host(value)), ("b", host(100.0))])
            .unwrap();
        assert_eq!(outputs[0].1.as_f32().unwrap(), [100.0 + value; 4]);
        assert_eq!(read(&engine, &y), [value; 4]);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn memory_is_freed_with_the_last_who_uses_it() {
    let before = driver("blocks");
    let engine = engine("cuda", |s| s.model_instance_id = Some("freed".into()));
    let (a, b, y, same) = (row(&engine), row(&engine), row(&engine), row(&engine));
    assert_eq!(driver("blocks"), before + 4);
    let binding = engine
        .bind(
            vec![("a", a.clone()), ("b", b)],
            vec![("y", y), ("same", same)],
        )
        .unwrap();
    assert_eq!(driver("blocks"), before + 4, "clones are the same memory");
    let gpu = engine.gpu().unwrap().clone();
    drop(engine);
    gpu.write(&[1; 16], a.buffer()).unwrap();
    binding.run().unwrap();
    drop(binding);
    // Memory goes when the stream has come there.
    gpu.synchronize().unwrap();
    assert_eq!(driver("blocks"), before + 1, "only a is held");
    drop(a);
    gpu.synchronize().unwrap();
    assert_eq!(driver("blocks"), before);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_cuda_graph_is_recorded_for_each_binding_and_none_for_the_host() {
    let engine = engine("cuda", |settings| settings.cuda_graph = true);
    let graphs = onnx("graph-runs");
    let bind = |a: &DeviceTensor, y: &DeviceTensor| {
        engine
            .bind(
                vec![("a", a.clone()), ("b", row(&engine))],
                vec![("y", y.clone()), ("same", row(&engine))],
            )
            .unwrap()
    };
    // Two that hand their tensors to each other, as state does from frame to frame.
    let (a, y) = (row(&engine), row(&engine));
    let (there, back) = (bind(&a, &y), bind(&y, &a));
    write(&engine, &a, [5.0; 4]);
    for _ in 0..3 {
        there.run().unwrap();
        back.run().unwrap();
    }
    assert_eq!(onnx("graph-runs"), graphs + 6);
    assert_eq!(read(&engine, &a), [5.0; 4]);
    // Tensors of the host lie elsewhere each time: under a graph this would be refused.
    for value in [1.0, 2.0, 3.0] {
        let tensor = || Tensor::f32([1, 4], vec![value; 4]);
        let outputs = engine.run(vec![("a", tensor()), ("b", tensor())]).unwrap();
        assert_eq!(outputs[0].1.as_f32().unwrap(), [2.0 * value; 4]);
    }
    assert_eq!(onnx("graph-runs"), graphs + 6);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_does_not_fit_is_refused_with_its_name() {
    let engine = engine("cuda", |_| {});
    let other = self::engine("cuda", |s| s.model_instance_id = Some("other".into()));
    let tensor = |shape: [usize; 2], ty| engine.device_tensor(shape, ty).unwrap();
    let fits = || row(&engine);
    let cases = [
        (vec![("a", fits())], ["'b'", "nothing"]),
        (
            vec![("a", fits()), ("b", tensor([1, 5], ElementType::F32))],
            ["'b'", "float32[1, 5]"],
        ),
        (
            vec![("a", tensor([1, 4], ElementType::F16)), ("b", fits())],
            ["'a'", "float16[1, 4]"],
        ),
        (
            vec![("a", fits()), ("b", row(&other))],
            ["'b'", "memory of another"],
        ),
        (
            vec![("a", fits()), ("b", fits()), ("c", fits())],
            ["'c'", "a, b"],
        ),
        (
            vec![("a", fits()), ("b", fits()), ("a", fits())],
            ["'a'", "one each"],
        ),
    ];
    for (inputs, says) in cases {
        let bound = engine.bind(inputs, vec![("y", fits()), ("same", fits())]);
        let text = bound.err().expect("it is refused").to_string();
        for part in says {
            assert!(text.contains(part), "'{part}' is not in {text}");
        }
    }
    for (shape, says) in [(vec![0, 4], "empty"), (vec![usize::MAX, 4], "too large")] {
        let refused = engine.device_tensor(shape, ElementType::F32);
        let text = refused.err().expect("it is refused").to_string();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn without_a_gpu_there_are_no_tensors_on_one() {
    let engine = engine("cpu", |_| {});
    let refused = engine.device_tensor([1, 4], ElementType::F32);
    let text = refused.err().expect("it is refused").to_string();
    assert!(
        text.contains("'cpu'") && text.contains("device=cuda"),
        "{text}"
    );
    assert!(engine.bind(Vec::new(), Vec::new()).is_err());
    let mut settings = InferenceSettings {
        cuda_graph: true,
        ..InferenceSettings::default()
    };
    for device in ["auto", "cpu", "tensorrt"] {
        settings.device = device.to_string();
        let refused = Engine::acquire(&sum(), &settings).err().expect("refused");
        assert!(refused.to_string().contains("cuda-graph"), "{refused}");
    }
}
