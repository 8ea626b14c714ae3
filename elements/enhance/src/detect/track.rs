// SPDX-License-Identifier: Apache-2.0
//! The same object in one picture after the other, after SORT: a Kalman filter for each box, and
//! the assignment of least cost between predicted and found boxes.

use super::Object;

/// Found and predicted boxes that overlap less are not the same object.
const LEAST_OVERLAP: f32 = 0.25;
/// Sightings before an object gets its number; one that is seen once only is often none.
const CONFIRMED: u32 = 2;

/// One number with its speed, by a Kalman filter of constant velocity.
#[derive(Debug, Clone, Copy)]
struct Motion {
    at: f32,
    speed: f32,
    /// Covariance: of place, of both, of speed.
    p: [f32; 3],
}

impl Motion {
    fn new(at: f32, deviation: f32) -> Self {
        let v = deviation * deviation;
        Self {
            at,
            speed: 0.0,
            p: [v, 0.0, 10.0 * v],
        }
    }

    /// One picture later.
    fn predict(&mut self, deviation: f32) {
        let noise = deviation * deviation;
        self.at += self.speed;
        self.p[0] += 2.0 * self.p[1] + self.p[2] + noise / 4.0;
        self.p[1] += self.p[2];
        self.p[2] += noise / 20.0;
    }

    fn correct(&mut self, seen: f32, deviation: f32) {
        let s = self.p[0] + deviation * deviation;
        let (k0, k1) = (self.p[0] / s, self.p[1] / s);
        let error = seen - self.at;
        self.at += k0 * error;
        self.speed += k1 * error;
        self.p = [
            (1.0 - k0) * self.p[0],
            (1.0 - k0) * self.p[1],
            self.p[2] - k1 * self.p[1],
        ];
    }
}

/// An object that is followed.
#[derive(Debug, Clone)]
struct Track {
    id: Option<i32>,
    /// Centre and size.
    motion: [Motion; 4],
    object: Object,
    sightings: u32,
    /// Pictures since the last one.
    unseen: u32,
}

fn measures(object: &Object) -> [f32; 4] {
    [
        (object.x0 + object.x1) / 2.0,
        (object.y0 + object.y1) / 2.0,
        object.x1 - object.x0,
        object.y1 - object.y0,
    ]
}

/// Places are as uncertain as boxes are large.
fn deviation(object: &Object) -> f32 {
    (0.05 * ((object.x1 - object.x0) + (object.y1 - object.y0)) / 2.0).max(0.5)
}

impl Track {
    fn new(object: Object) -> Self {
        let deviation = deviation(&object);
        Self {
            id: None,
            motion: measures(&object).map(|at| Motion::new(at, deviation)),
            object,
            sightings: 1,
            unseen: 0,
        }
    }

    fn predict(&mut self) {
        let deviation = deviation(&self.object);
        for motion in &mut self.motion {
            motion.predict(deviation);
        }
        // A box that shrinks to nothing stops there.
        for size in &mut self.motion[2..] {
            if size.at < 1.0 {
                size.at = 1.0;
                size.speed = 0.0;
            }
        }
        let [cx, cy, w, h] = self.motion.map(|m| m.at);
        self.object = Object {
            x0: cx - w / 2.0,
            y0: cy - h / 2.0,
            x1: cx + w / 2.0,
            y1: cy + h / 2.0,
            ..self.object
        };
        self.unseen += 1;
    }

    fn see(&mut self, object: Object) {
        let deviation = deviation(&object);
        for (motion, seen) in self.motion.iter_mut().zip(measures(&object)) {
            motion.correct(seen, deviation);
        }
        self.object = object;
        self.sightings += 1;
        self.unseen = 0;
    }
}

/// An object with the number that it has in every picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    pub object: Object,
    pub id: Option<i32>,
}

/// Follows objects of each class for itself.
#[derive(Debug, Clone)]
pub struct Tracker {
    tracks: Vec<Track>,
    /// Pictures that an object may be out of sight.
    patience: u32,
    next: i32,
}

impl Tracker {
    pub fn new(patience: u32) -> Self {
        Self {
            tracks: Vec::new(),
            patience,
            next: 1,
        }
    }

    /// The stream jumps: nothing is followed on. Numbers are not used again.
    pub fn reset(&mut self) {
        self.tracks.clear();
    }

    /// The next picture's objects.
    pub fn update(&mut self, objects: &[Object]) -> Vec<Tracked> {
        for track in &mut self.tracks {
            track.predict();
        }
        let mut known = vec![None; objects.len()];
        let cost: Vec<Vec<f32>> = objects
            .iter()
            .map(|object| {
                self.tracks
                    .iter()
                    .map(|track| {
                        let same = track.object.class == object.class;
                        let overlap = track.object.overlap(object);
                        match same && overlap >= LEAST_OVERLAP {
                            true => 1.0 - overlap,
                            false => FORBIDDEN,
                        }
                    })
                    .collect()
            })
            .collect();
        for (n, place) in assign(&cost).into_iter().enumerate() {
            if let Some(place) = place
                && cost[n][place] < FORBIDDEN
            {
                self.tracks[place].see(objects[n]);
                known[n] = Some(place);
            }
        }
        for (n, object) in objects.iter().enumerate() {
            if known[n].is_none() {
                self.tracks.push(Track::new(*object));
                known[n] = Some(self.tracks.len() - 1);
            }
        }
        for track in &mut self.tracks {
            if track.id.is_none() && track.sightings >= CONFIRMED {
                track.id = Some(self.next);
                self.next = self.next.checked_add(1).unwrap_or(1);
            }
        }
        let found = objects
            .iter()
            .zip(known)
            .map(|(object, place)| Tracked {
                object: *object,
                id: place.and_then(|place| self.tracks[place].id),
            })
            .collect();
        let patience = self.patience;
        self.tracks
            .retain(|track| track.unseen <= if track.id.is_some() { patience } else { 1 });
        found
    }

    /// Where the confirmed objects of the last picture should be now, for a picture that the model
    /// did not look at.
    pub fn predict(&mut self) -> Vec<Tracked> {
        for track in &mut self.tracks {
            track.predict();
        }
        let patience = self.patience;
        self.tracks.retain(|track| track.unseen <= patience);
        self.tracks
            .iter()
            .filter(|track| track.id.is_some())
            .map(|track| Tracked {
                object: track.object,
                id: track.id,
            })
            .collect()
    }
}

/// More than any sum of real costs of as many boxes as models give.
const FORBIDDEN: f32 = 1e4;

/// The assignment of rows to columns of least cost (Kuhn and Munkres, with potentials).
fn assign(cost: &[Vec<f32>]) -> Vec<Option<usize>> {
    let rows = cost.len();
    let columns = cost.first().map_or(0, Vec::len);
    if rows == 0 || columns == 0 {
        return vec![None; rows];
    }
    // Square, with rows and columns that cost the same everywhere.
    let n = rows.max(columns);
    let at = |i: usize, j: usize| {
        f64::from(
            cost.get(i)
                .and_then(|r| r.get(j))
                .copied()
                .unwrap_or(FORBIDDEN),
        )
    };
    let (mut u, mut v) = (vec![0.0_f64; n + 1], vec![0.0_f64; n + 1]);
    // Row that each column belongs to; 0 is none, so both count from 1.
    let mut owner = vec![0_usize; n + 1];
    let mut way = vec![0_usize; n + 1];
    for i in 1..=n {
        owner[0] = i;
        let mut j0 = 0;
        let mut least = vec![f64::INFINITY; n + 1];
        let mut used = vec![false; n + 1];
        loop {
            used[j0] = true;
            let i0 = owner[j0];
            let (mut delta, mut j1) = (f64::INFINITY, 0);
            for j in 1..=n {
                if used[j] {
                    continue;
                }
                let reduced = at(i0 - 1, j - 1) - u[i0] - v[j];
                if reduced < least[j] {
                    least[j] = reduced;
                    way[j] = j0;
                }
                if least[j] < delta {
                    delta = least[j];
                    j1 = j;
                }
            }
            for j in 0..=n {
                if used[j] {
                    u[owner[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            j0 = j1;
            if owner[j0] == 0 {
                break;
            }
        }
        while j0 != 0 {
            let j1 = way[j0];
            owner[j0] = owner[j1];
            j0 = j1;
        }
    }
    let mut result = vec![None; rows];
    for (j, row) in owner.iter().enumerate().skip(1) {
        if *row >= 1 && *row <= rows && j <= columns {
            result[row - 1] = Some(j - 1);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f32, y: f32, class: usize) -> Object {
        Object {
            x0: x,
            y0: y,
            x1: x + 20.0,
            y1: y + 30.0,
            score: 0.8,
            class,
        }
    }

    #[test]
    fn two_objects_that_cross_keep_their_numbers() {
        let mut tracker = Tracker::new(10);
        let mut ids = Vec::new();
        for n in 0..40 {
            let x = n as f32 * 4.0;
            let found = tracker.update(&[at(x, 40.0, 0), at(160.0 - x, 62.0, 0)]);
            ids.push((found[0].id, found[1].id));
        }
        assert_eq!(ids[0], (None, None));
        assert_eq!(ids[1], (Some(1), Some(2)));
        assert!(ids[1..].iter().all(|i| *i == (Some(1), Some(2))), "{ids:?}");
    }

    #[test]
    fn an_object_that_is_hidden_for_a_while_is_found_again() {
        let mut tracker = Tracker::new(10);
        let mut last = None;
        for n in 0..30 {
            let objects = if (12..18).contains(&n) {
                vec![]
            } else {
                vec![at(n as f32 * 3.0, 10.0, 1)]
            };
            if let Some(found) = tracker.update(&objects).first() {
                last = found.id;
            }
        }
        assert_eq!(last, Some(1));
    }

    #[test]
    fn classes_are_apart_and_time_runs_out() {
        let mut tracker = Tracker::new(3);
        for _ in 0..3 {
            tracker.update(&[at(5.0, 5.0, 0)]);
        }
        let other: Vec<_> = (0..2).map(|_| tracker.update(&[at(5.0, 5.0, 1)])).collect();
        assert_eq!(other[1][0].id, Some(2));
        for _ in 0..6 {
            tracker.update(&[]);
        }
        assert!(tracker.predict().is_empty());
    }

    #[test]
    fn between_two_looks_boxes_move_on() {
        let mut tracker = Tracker::new(10);
        for n in 0..12 {
            tracker.update(&[at(n as f32 * 5.0, 0.0, 0)]);
        }
        let predicted = tracker.predict();
        assert!((predicted[0].object.x0 - 60.0).abs() < 2.0, "{predicted:?}");
        assert_eq!(predicted[0].id, Some(1));
    }

    proptest! {
        #[test]
        fn the_assignment_is_the_cheapest(
            cost in (1_usize..5, 1_usize..5).prop_flat_map(|(r, c)| {
                proptest::collection::vec(proptest::collection::vec(0.0_f32..1.0, c), r)
            }),
        ) {
            fn cheapest(cost: &[Vec<f32>], row: usize, used: &mut Vec<bool>, left: usize) -> f32 {
                if row == cost.len() {
                    return 0.0;
                }
                let mut best = f32::INFINITY;
                // Rows may only stay empty when there are more of them than columns.
                if left > 0 {
                    best = cheapest(cost, row + 1, used, left - 1);
                }
                for column in 0..used.len() {
                    if !used[column] {
                        used[column] = true;
                        best = best.min(cost[row][column] + cheapest(cost, row + 1, used, left));
                        used[column] = false;
                    }
                }
                best
            }
            let (rows, columns) = (cost.len(), cost[0].len());
            let found = assign(&cost);
            let sum: f32 = found.iter().enumerate().filter_map(|(n, p)| Some(cost[n][(*p)?])).sum();
            let taken: std::collections::HashSet<_> = found.iter().flatten().collect();
            prop_assert_eq!(taken.len(), rows.min(columns));
            let best = cheapest(&cost, 0, &mut vec![false; columns], rows.saturating_sub(columns));
            prop_assert!((sum - best).abs() < 1e-4, "{} {}", sum, best);
        }

        #[test]
        fn no_boxes_make_it_panic(
            frames in proptest::collection::vec(proptest::collection::vec((-1e6_f32..1e6, -1e6_f32..1e6), 0..6), 0..8),
        ) {
            let mut tracker = Tracker::new(2);
            for frame in frames {
                let objects: Vec<_> = frame.iter().map(|(x, y)| at(*x, *y, 0)).collect();
                prop_assert_eq!(tracker.update(&objects).len(), objects.len());
            }
        }
    }
}
