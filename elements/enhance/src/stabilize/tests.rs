// SPDX-License-Identifier: Apache-2.0

use aivideo_core::pixels::PlaneRef;

use super::{MotionFinder, similarity::Similarity, warp::View};
use crate::testing::{Random, noisy};

/// Blocks and blobs with detail at several scales.
fn texture(w: usize, h: usize) -> Vec<u8> {
    let mut random = Random::new(11);
    let cells: Vec<f32> = (0..4096).map(|_| random.gaussian()).collect();
    let smooth = |x: f32, y: f32| {
        let at = |i: i32, j: i32| cells[((i * 57 + j * 131) & 4095) as usize];
        let (i, j) = (x.floor() as i32, y.floor() as i32);
        let (u, v) = (x - x.floor(), y - y.floor());
        let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
        let top = at(i, j) * (1.0 - u) + at(i + 1, j) * u;
        let low = at(i, j + 1) * (1.0 - u) + at(i + 1, j + 1) * u;
        top * (1.0 - v) + low * v
    };
    (0..w * h)
        .map(|n| {
            let (x, y) = ((n % w) as f32, (n / w) as f32);
            let value = 25.0 * smooth(x / 7.0, y / 7.0) + 25.0 * smooth(x / 19.0 + 40.0, y / 19.0);
            (120.0 + value).clamp(0.0, 255.0) as u8
        })
        .collect()
}

fn moved(source: &[u8], w: usize, h: usize, by: Similarity) -> Vec<u8> {
    let mut out = vec![0; source.len()];
    View::new(by, 1.0).render(PlaneRef::packed(source, w, h), 1.0, &mut out);
    out
}

#[test]
fn motion_is_found_to_parts_of_a_pixel() {
    for (w, h) in [(640, 360), (1280, 720)] {
        let source = texture(w, h);
        for by in [
            Similarity {
                x: 0.4,
                y: -0.3,
                angle: 0.0,
                log_scale: 0.0,
            },
            Similarity {
                x: 12.5,
                y: 7.25,
                angle: 0.01,
                log_scale: 0.0,
            },
            Similarity {
                x: -30.0,
                y: 18.0,
                angle: -0.02,
                log_scale: 0.01,
            },
        ] {
            let mut finder = MotionFinder::default();
            finder.next(PlaneRef::packed(&source, w, h));
            let shown = noisy(&moved(&source, w, h, by), 3.0, 5);
            let motion = finder.next(PlaneRef::packed(&shown, w, h));
            assert!(motion.agreeing >= 30, "{motion:?}");
            let error = (motion.movement.x - by.x).hypot(motion.movement.y - by.y);
            assert!(error < 0.15, "{w}: {by:?} found as {motion:?}");
            assert!((motion.movement.angle - by.angle).abs() < 5e-4);
            assert!((motion.movement.log_scale - by.log_scale).abs() < 1e-3);
        }
    }
}

#[test]
fn flat_and_tiny_pictures_do_not_move() {
    for (w, h) in [(320, 180), (16, 16), (1, 1), (2, 300)] {
        let flat = vec![128; w * h];
        let mut finder = MotionFinder::default();
        for _ in 0..3 {
            let motion = finder.next(PlaneRef::packed(&flat, w, h));
            assert_eq!(motion.movement, Similarity::IDENTITY);
        }
    }
}

#[test]
fn another_size_begins_anew() {
    let mut finder = MotionFinder::default();
    let (a, b) = (texture(320, 180), texture(640, 360));
    finder.next(PlaneRef::packed(&a, 320, 180));
    assert_eq!(finder.next(PlaneRef::packed(&b, 640, 360)).points, 0);
    finder.reset();
    assert_eq!(finder.next(PlaneRef::packed(&b, 640, 360)).points, 0);
}
