// SPDX-License-Identifier: Apache-2.0
//! Engines: results, sharing, batching, isolation, ending.

use std::{thread, time::Duration};

use aivideo_core::{
    engine::{ElementType, Engine, EngineError, ModelSource, Pending, Tensor},
    settings::Precision,
};

use crate::{
    support::{acquire, assert_says, child, cpu, floats, is_child, named, pair},
    testmodel::{self, Dim, ty},
};

const FREE: Dim = Dim::Free("n");

#[test]
fn a_model_describes_itself_and_runs() {
    let bytes = testmodel::add(1.0, FREE);
    let hash = aivideo_core::model::sha256(&bytes);
    let engine = acquire(bytes, &named("describe")).unwrap();
    assert_eq!(engine.inputs().len(), 1);
    assert_eq!(engine.inputs()[0].name, "x");
    assert_eq!(engine.inputs()[0].shape, [None, Some(2)]);
    assert_eq!(engine.inputs()[0].ty, ElementType::F32);
    assert_eq!(engine.outputs()[0].name, "y");
    assert_eq!(engine.metadata("test.key").as_deref(), Some("test value"));
    assert_eq!(engine.metadata("missing"), None);
    assert_eq!(engine.model_hash(), &hash);
    assert_eq!(engine.device_in_use(), "cpu");
    assert!(engine.warnings().is_empty());

    // Other shapes, and the same again: outputs are right whatever ran before.
    for rows in [1usize, 3, 1, 1, 3, 2] {
        let input: Vec<f32> = (0..rows * 2).map(|i| i as f32).collect();
        let wanted: Vec<f32> = input.iter().map(|v| v + 1.0).collect();
        let outputs = engine
            .run(vec![("x", Tensor::f32([rows, 2], input))])
            .unwrap();
        assert_eq!(outputs[0].0, "y");
        assert_eq!(outputs[0].1.shape, [rows, 2]);
        assert_eq!(outputs[0].1.as_f32().unwrap(), wanted);
    }
    let stats = engine.stats();
    assert_eq!((stats.frames, stats.batches, stats.failed), (6, 6, 0));
    assert!(stats.latency_p99_us >= stats.latency_p50_us && stats.latency_p50_us > 0);
    assert_eq!(stats.model, aivideo_core::model::hex(&hash));
}

#[test]
fn every_element_type_passes_unchanged() {
    let dims = [Dim::Free("n")];
    let mut model = testmodel::Model::new();
    let types = [
        ("u8", ty::U8),
        ("u16", ty::U16),
        ("i8", ty::I8),
        ("i16", ty::I16),
        ("i32", ty::I32),
        ("i64", ty::I64),
        ("f32", ty::F32),
        ("f16", ty::F16),
    ];
    let outputs: Vec<String> = types
        .iter()
        .map(|(name, _)| format!("out-{name}"))
        .collect();
    for ((name, element), output) in types.iter().zip(&outputs) {
        model = model
            .input(name, *element, &dims)
            .output(output, *element, &dims)
            .node("Identity", &[name], &[output], &[]);
    }
    let engine = acquire(model.finish(), &named("types")).unwrap();
    let halves = [-1.5f32, 0.0, 2.25].map(half::f16::from_f32).to_vec();
    let inputs = vec![
        ("u8", Tensor::u8([3], vec![0, 7, 255])),
        ("u16", Tensor::u16([3], vec![0, 1023, u16::MAX])),
        ("i8", Tensor::i8([3], vec![-128, 0, 127])),
        ("i16", Tensor::i16([3], vec![i16::MIN, 0, i16::MAX])),
        ("i32", Tensor::i32([3], vec![i32::MIN, 0, i32::MAX])),
        ("i64", Tensor::i64([3], vec![i64::MIN, 0, i64::MAX])),
        ("f32", Tensor::f32([3], vec![-1.5, 0.0, f32::MAX])),
        ("f16", Tensor::f16([3], halves)),
    ];
    for _ in 0..3 {
        let results = engine.run(inputs.clone()).unwrap();
        assert_eq!(results.len(), inputs.len());
        for ((name, input), (output, result)) in inputs.iter().zip(&results) {
            assert_eq!(*output, format!("out-{name}"));
            assert_eq!(result, input);
        }
    }
}

/// The places of what is not zero: as many as the content has.
#[test]
fn outputs_whose_shape_depends_on_the_content_are_right() {
    let model = testmodel::Model::new()
        .input("x", ty::F32, &[Dim::Fixed(4)])
        .output("y", ty::I64, &[Dim::Fixed(1), Dim::Free("k")])
        .node("NonZero", &["x"], &["y"], &[])
        .finish();
    let engine = acquire(model, &named("nonzero")).unwrap();
    for (input, places) in [
        ([0.0, 1.0, 0.0, 2.0], vec![1, 3]),
        ([0.0, 1.0, 3.0, 0.0], vec![1, 2]),
        ([5.0, 1.0, 3.0, 2.0], vec![0, 1, 2, 3]),
        ([0.0, 0.0, 0.0, 0.0], vec![]),
        ([0.0, 0.0, 1.0, 0.0], vec![2]),
    ] {
        let outputs = engine
            .run(vec![("x", Tensor::f32([4], input.to_vec()))])
            .unwrap();
        assert_eq!(outputs[0].1.shape, [1, places.len()]);
        assert_eq!(outputs[0].1.as_i64().unwrap(), places);
    }
}

#[test]
fn equal_settings_share_and_others_do_not() {
    // A constant of its own, so that no other test shares.
    let bytes = || testmodel::add(101.0, FREE);
    let a = acquire(bytes(), &cpu(|_| {})).unwrap();
    let b = acquire(bytes(), &cpu(|_| {})).unwrap();
    assert!(a.is_same(&b) && a.is_same(&a.clone()));
    let threads = acquire(bytes(), &cpu(|s| s.num_threads = 2)).unwrap();
    assert!(!a.is_same(&threads));
    let other = acquire(testmodel::add(102.0, FREE), &cpu(|_| {})).unwrap();
    assert!(!a.is_same(&other));
    let id = acquire(bytes(), &named("share-1")).unwrap();
    assert!(!a.is_same(&id));
    assert!(id.is_same(&acquire(bytes(), &named("share-1")).unwrap()));
    assert!(!id.is_same(&acquire(bytes(), &named("share-2")).unwrap()));

    // Counters are the engine's, not the handle's.
    a.run(pair(0.0, 0.0)).unwrap();
    assert_eq!(b.stats().frames, 1);
    assert_eq!(id.stats().frames, 0);
}

#[test]
fn one_id_with_other_settings_is_refused_until_it_is_free() {
    let bytes = || testmodel::add(1.0, FREE);
    let engine = acquire(bytes(), &named("conflict")).unwrap();
    let mut settings = named("conflict");
    settings.num_threads = 2;
    let Err(err) = acquire(bytes(), &settings) else {
        panic!("conflicting threads were accepted");
    };
    assert!(matches!(err, EngineError::Conflict { .. }));
    assert_says(
        &err.to_string(),
        &["'conflict'", "num-threads", "1 there, 2 here"],
    );
    let Err(err) = acquire(testmodel::add(2.0, FREE), &named("conflict")) else {
        panic!("another model was accepted");
    };
    assert_says(&err.to_string(), &["'conflict'", "model", "SHA-256"]);
    // The first user is not disturbed, and its end frees the id.
    engine.run(pair(0.0, 0.0)).unwrap();
    drop(engine);
    let engine = acquire(bytes(), &settings).unwrap();
    assert_eq!(floats(engine.run(pair(0.0, 1.0)).unwrap()), [1.0, 2.0]);
}

#[test]
fn external_weights_come_from_the_models_own_folder() {
    let model = testmodel::Model::new()
        .input("x", ty::F32, &[FREE, Dim::Fixed(2)])
        .output("y", ty::F32, &[FREE, Dim::Fixed(2)])
        .external_f32("c", 2, "weights.bin")
        .node("Add", &["x", "c"], &["y"], &[])
        .finish();
    let dirs = [1.0f32, 5.0].map(|weight| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.onnx"), &model).unwrap();
        let weights = [weight.to_le_bytes(), (weight * 2.0).to_le_bytes()].concat();
        std::fs::write(dir.path().join("weights.bin"), weights).unwrap();
        dir
    });
    let open = |dir: &tempfile::TempDir, id: Option<&str>| {
        let source = ModelSource::File(dir.path().join("m.onnx"));
        let settings = cpu(|s| s.model_instance_id = id.map(ToString::to_string));
        Engine::acquire(&source, &settings)
    };
    // The same ONNX file with other weights is another model.
    let engines = [open(&dirs[0], None).unwrap(), open(&dirs[1], None).unwrap()];
    assert!(!engines[0].is_same(&engines[1]));
    assert_eq!(floats(engines[0].run(pair(0.0, 0.0)).unwrap()), [1.0, 2.0]);
    assert_eq!(floats(engines[1].run(pair(0.0, 0.0)).unwrap()), [5.0, 10.0]);
    let _user = open(&dirs[0], Some("external")).unwrap();
    let Err(err) = open(&dirs[1], Some("external")) else {
        panic!("other weights were accepted under the same id");
    };
    assert_says(&err.to_string(), &["'external'", "folder of external data"]);
    // Missing weights are a bad model.
    std::fs::remove_file(dirs[0].path().join("weights.bin")).unwrap();
    let Err(err) = open(&dirs[0], Some("external-missing")) else {
        panic!("missing weights were accepted");
    };
    assert_says(&err.to_string(), &["m.onnx", "weights.bin"]);
}

#[test]
fn simultaneous_users_get_one_engine() {
    let bytes = testmodel::add(3.5, FREE);
    let engines: Vec<Engine> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| acquire(bytes.clone(), &named("rush")).unwrap()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(engines.iter().all(|engine| engine.is_same(&engines[0])));
}

#[test]
fn users_in_threads_share_batches() {
    let settings = {
        let mut settings = named("batch");
        settings.batch_size = 4;
        // Long enough that the batch closes because it is full.
        settings.batch_timeout = 10_000_000;
        settings
    };
    let a = acquire(testmodel::add(1.0, FREE), &settings).unwrap();
    let b = acquire(testmodel::add(1.0, FREE), &settings).unwrap();
    assert!(a.warnings().is_empty());
    thread::scope(|scope| {
        for i in 0..8 {
            let engine = if i % 2 == 0 { &a } else { &b };
            scope.spawn(move || {
                let v = i as f32;
                let result = floats(engine.run(pair(v, v * 10.0)).unwrap());
                assert_eq!(result, [v + 1.0, v * 10.0 + 1.0]);
            });
        }
    });
    let stats = a.stats();
    assert_eq!((stats.frames, stats.batches), (8, 2));
}

#[test]
fn an_incomplete_batch_waits_no_longer_than_its_timeout() {
    let mut settings = named("timeout");
    settings.batch_size = 4;
    settings.batch_timeout = 20_000;
    let engine = acquire(testmodel::add(1.0, FREE), &settings).unwrap();
    assert_eq!(floats(engine.run(pair(1.0, 2.0)).unwrap()), [2.0, 3.0]);
    assert_eq!(engine.stats().batches, 1);
}

#[test]
fn a_model_of_fixed_batch_is_filled_up() {
    let mut settings = named("fixed");
    settings.batch_size = 4;
    settings.batch_timeout = 0;
    let engine = acquire(testmodel::add(1.0, Dim::Fixed(4)), &settings).unwrap();
    assert!(engine.warnings().is_empty());
    let outputs = engine.run(pair(1.0, 2.0)).unwrap();
    assert_eq!(outputs[0].1.shape, [1, 2]);
    assert_eq!(floats(outputs), [2.0, 3.0]);
    // Without batch-size=4 the model wants whole batches.
    let engine = acquire(testmodel::add(1.0, Dim::Fixed(4)), &named("whole")).unwrap();
    let err = engine.run(pair(1.0, 2.0)).unwrap_err().to_string();
    assert_says(&err, &["'x'", "float32[4,2]", "float32[1, 2]"]);
}

#[test]
fn a_model_that_cannot_batch_says_so_and_runs() {
    let mut settings = named("unbatchable");
    settings.batch_size = 4;
    settings.batch_timeout = 10_000_000;
    let engine = acquire(testmodel::add(1.0, Dim::Fixed(1)), &settings).unwrap();
    assert_says(
        &engine.warnings().join("\n"),
        &["batch-size=4 has no effect", "'x'", "float32[1,2]"],
    );
    // And nobody waits for a batch that cannot be.
    assert_eq!(floats(engine.run(pair(1.0, 2.0)).unwrap()), [2.0, 3.0]);
}

#[test]
fn a_failing_request_fails_alone() {
    let mut settings = named("failing");
    settings.batch_size = 3;
    settings.batch_timeout = 10_000_000;
    let engine = acquire(testmodel::lookup(FREE), &settings).unwrap();
    let bystander = acquire(testmodel::add(1.0, FREE), &named("bystander")).unwrap();
    let submit = |index: i64| {
        engine
            .submit(vec![("x", Tensor::i64([1], vec![index]))])
            .unwrap()
    };
    let (good, bad, also_good) = (submit(1), submit(77), submit(3));
    assert_eq!(floats(good.wait().unwrap()), [11.0]);
    let err = bad.wait().unwrap_err();
    assert!(matches!(err, EngineError::Run { .. }));
    assert_says(&err.to_string(), &["embedded model 'test'", "failed"]);
    assert_eq!(floats(also_good.wait().unwrap()), [13.0]);
    assert_eq!(floats(bystander.run(pair(0.0, 1.0)).unwrap()), [1.0, 2.0]);
    // The engine goes on.
    let again: Vec<Pending> = (0..3).map(submit).collect();
    for (i, pending) in again.into_iter().enumerate() {
        assert_eq!(floats(pending.wait().unwrap()), [10.0 + i as f32]);
    }
    assert_eq!(engine.stats().failed, 1);
}

/// A request that keeps the worker busy for a while.
fn slow_engine(id: &str) -> (Engine, impl Fn() -> Vec<(&'static str, Tensor)>) {
    let engine = acquire(testmodel::picture(8), &named(id)).unwrap();
    let request = || vec![("x", Tensor::u8([1, 3, 360, 640], vec![9; 3 * 360 * 640]))];
    (engine, request)
}

#[test]
fn a_full_queue_refuses_and_counts() {
    let (engine, request) = slow_engine("full");
    let mut pending = Vec::new();
    let mut refused = 0;
    for _ in 0..12 {
        match engine.try_submit(request()).unwrap() {
            Some(answer) => pending.push(answer),
            None => refused += 1,
        }
    }
    assert!(refused > 0, "a bounded queue took 12 requests at once");
    assert!(engine.stats().queue_depth > 0);
    assert_eq!(engine.stats().dropped, refused);
    let taken = pending.len() as u64;
    for answer in pending {
        answer.wait().unwrap();
    }
    assert_eq!(engine.stats().frames, taken);
}

#[test]
fn abandoned_requests_cost_nothing() {
    let (engine, request) = slow_engine("abandoned");
    let first = engine.submit(request()).unwrap();
    for _ in 0..3 {
        drop(engine.submit(request()).unwrap()); // as a flush does, while the first one runs
    }
    let last = engine.submit(request()).unwrap();
    first.wait().unwrap();
    last.wait().unwrap();
    assert!(
        engine.stats().batches < 5,
        "every abandoned request was run"
    );
}

#[test]
fn results_can_be_polled() {
    let (engine, request) = slow_engine("poll");
    let mut pending = engine.submit(request()).unwrap();
    let outputs = loop {
        match pending.try_take() {
            Some(answer) => break answer.unwrap(),
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    assert_eq!(outputs[0].1.shape, [1, 3, 360, 640]);
    assert!(pending.try_take().is_some_and(|again| again.is_err()));
}

#[test]
fn a_pending_request_keeps_its_engine() {
    let (engine, request) = slow_engine("outlive");
    let pending = engine.submit(request()).unwrap();
    drop(engine);
    assert_eq!(pending.wait().unwrap().len(), 1);
}

/// Threads of this process with the worker's name. The kernel keeps 15 characters.
fn workers(suffix: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == format!("aie-{suffix}"))
        })
        .count()
}

#[test]
fn the_worker_ends_with_its_last_user() {
    let bytes = testmodel::add(77.0, FREE);
    let hash = aivideo_core::model::hex(&aivideo_core::model::sha256(&bytes));
    let suffix = &hash[..8];
    assert_eq!(workers(suffix), 0);
    let a = acquire(bytes.clone(), &named("end")).unwrap();
    let b = acquire(bytes, &named("end")).unwrap();
    a.run(pair(0.0, 0.0)).unwrap(); // a thread names itself when it starts
    assert_eq!(workers(suffix), 1);
    drop(a);
    assert_eq!(workers(suffix), 1);
    drop(b);
    assert_eq!(workers(suffix), 0);
}

#[test]
fn starting_and_stopping_in_many_threads_leaves_nothing_behind() {
    let bytes = testmodel::add(78.0, FREE);
    let hash = aivideo_core::model::hex(&aivideo_core::model::sha256(&bytes));
    thread::scope(|scope| {
        for user in 0..4 {
            let bytes = &bytes;
            scope.spawn(move || {
                for round in 0..40 {
                    // Sometimes shared, sometimes alone, sometimes ended with work under way.
                    let mut settings = named("restart");
                    settings.model_instance_id = (round % 3 == 0).then(|| "restart".to_string());
                    let engine = acquire(bytes.clone(), &settings).unwrap();
                    let v = (user * 100 + round) as f32;
                    let pending = engine.submit(pair(v, 0.0)).unwrap();
                    drop(engine.submit(pair(0.0, 0.0)).unwrap());
                    drop(engine);
                    assert_eq!(floats(pending.wait().unwrap()), [v + 78.0, 78.0]);
                }
            });
        }
    });
    assert_eq!(workers(&hash[..8]), 0);
}

/// Resident memory of this process in MiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / (1 << 20)
}

#[test]
fn memory_does_not_grow() {
    child("engine::child_of_memory_does_not_grow", |_| {});
}

#[test]
#[ignore = "runs as a child of the test above"]
fn child_of_memory_does_not_grow() {
    if !is_child() {
        return;
    }
    let run = |engine: &Engine, height: usize| {
        let picture = vec![9; 3 * height * 640];
        let input = Tensor::u8([1, 3, height, 640], picture);
        engine.run(vec![("x", input)]).unwrap();
    };
    let restart = || {
        let engine = acquire(testmodel::picture(2), &named("memory")).unwrap();
        run(&engine, 64);
        run(&engine, 64);
    };
    (0..5).for_each(|_| restart());
    let engine = acquire(testmodel::picture(2), &named("memory-runs")).unwrap();
    // Two shapes, so that runs with known and with new shapes both happen.
    (0..10).for_each(|i| run(&engine, 180 - i % 2 * 8));
    let before = resident();
    (0..200).for_each(|i| run(&engine, 180 - i % 2 * 8));
    (0..100).for_each(|_| restart());
    let after = resident();
    // 200 pictures of 330 KiB each way would be 130 MiB, 100 models with their arenas more.
    assert!(
        after <= before + 24,
        "{before} MiB before, {after} MiB after"
    );
}

#[test]
fn reduced_precision_on_the_cpu_is_an_error() {
    let mut settings = named("precision");
    settings.precision = Precision::Fp16;
    let Err(err) = acquire(testmodel::add(1.0, FREE), &settings) else {
        panic!("fp16 was accepted on the CPU");
    };
    assert_says(&err.to_string(), &["precision=fp16", "device=cpu"]);
}

#[test]
fn results_do_not_depend_on_threads_or_optimization() {
    let picture: Vec<u8> = (0..3 * 66 * 50).map(|i| (i * 37 % 251) as u8).collect();
    let mut results = Vec::new();
    for (threads, optimize) in [(1, true), (2, true), (0, true), (1, false)] {
        let engine = acquire(
            testmodel::picture(4),
            &cpu(|s| {
                s.num_threads = threads;
                s.graph_optimization = optimize;
            }),
        )
        .unwrap();
        let input = Tensor::u8([1, 3, 50, 66], picture.clone());
        let outputs = engine.run(vec![("x", input)]).unwrap();
        results.push(outputs[0].1.as_u8().unwrap().to_vec());
    }
    for other in &results[1..] {
        let worst = results[0]
            .iter()
            .zip(other)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst <= Some(1), "{worst:?}"); // rounding of a float sum
    }
}

#[test]
fn a_user_that_asks_often_does_not_delay_the_others() {
    let (greedy, request) = slow_engine("fair");
    // Another user of the same model: handles from `acquire`, not clones, are users.
    let (modest, _) = slow_engine("fair");
    assert!(greedy.is_same(&modest));
    let mut first: Vec<Pending> = (0..4)
        .filter_map(|_| greedy.try_submit(request()).unwrap())
        .collect();
    assert_eq!(first.len(), 4);
    let other = modest
        .try_submit(request())
        .unwrap()
        .expect("room of its own");
    let before = greedy.stats().frames;
    other.wait().unwrap();
    assert!(
        greedy.stats().frames - before <= 3,
        "served after the run in progress and one of the other's, not after all"
    );
    assert!(first.last_mut().unwrap().try_take().is_none());
}

#[test]
fn an_id_can_get_another_model() {
    let settings = named("replaced");
    let old = acquire(testmodel::add(1.0, FREE), &settings).unwrap();
    let file = |value| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, testmodel::add(value, FREE)).unwrap();
        (ModelSource::File(path), folder)
    };
    let (next, _folder) = file(2.0);
    assert!(
        Engine::acquire(&next, &settings).is_err(),
        "two models under one id"
    );
    let new = Engine::replace(&next, &settings).unwrap();
    assert!(!new.is_same(&old));
    assert!(
        Engine::acquire(&next, &settings).unwrap().is_same(&new),
        "the id is the new one's"
    );
    assert!(Engine::replace(&next, &settings).unwrap().is_same(&new));
    let one = |engine: &Engine| {
        let outputs = engine
            .run(vec![("x", Tensor::f32([1, 2], vec![0.0; 2]))])
            .unwrap();
        outputs[0].1.as_f32().unwrap()[0]
    };
    assert_eq!(
        (one(&old), one(&new)),
        (1.0, 2.0),
        "the old one serves its users"
    );
    assert!(old.is_last());
    let mut other = settings.clone();
    other.num_threads = 3;
    assert!(
        Engine::replace(&next, &other).is_err(),
        "settings still have to agree"
    );
}
