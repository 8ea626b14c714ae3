// SPDX-License-Identifier: Apache-2.0
//! The scenes of a stream, and what was found in them.

use serde::{Deserialize, Serialize};

use super::thumbnail::Thumbnail;

/// Candidates for the picture that stands for a scene; more are thinned out.
const CANDIDATES: usize = 32;

/// A label and how sure or how frequent it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    pub label: String,
    pub score: f64,
}

/// A scene. Times are nanoseconds of the stream's time stamps, ends are exclusive.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scene {
    pub index: usize,
    pub start: u64,
    pub end: u64,
    pub start_frame: u64,
    pub end_frame: u64,
    /// Time of the picture that stands for the scene.
    pub representative: u64,
    /// How many times more than its neighbours the first picture changed; 0 for the first scene.
    pub strength: f64,
    /// What a classifier said, the mean of its scores, best first.
    pub labels: Vec<Label>,
    /// What a detector found, as the mean number in a picture, most first.
    pub objects: Vec<Label>,
}

/// The scenes of a stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SceneList {
    /// Pictures a second, as a fraction; 0/1 where it varies.
    pub frame_rate: String,
    pub scenes: Vec<Scene>,
}

impl SceneList {
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Scores of labels, summed up.
#[derive(Debug, Clone, Default)]
struct Tally(Vec<Label>);

impl Tally {
    fn add(&mut self, label: &str, score: f64) {
        match self.0.iter_mut().find(|l| l.label == label) {
            Some(known) => known.score += score,
            None => self.0.push(Label {
                label: label.to_owned(),
                score,
            }),
        }
    }

    fn mean(&self, count: u64) -> Vec<Label> {
        let mut labels = self.0.clone();
        for label in &mut labels {
            label.score /= count.max(1) as f64;
        }
        labels.sort_by(|a, b| b.score.total_cmp(&a.score));
        labels
    }
}

/// A picture, as far as the list is concerned.
#[derive(Debug, Clone)]
pub struct Picture {
    pub frame: u64,
    pub start: u64,
    pub end: u64,
    pub thumbnail: Thumbnail,
    /// What classifiers said on it: each result's labels with scores.
    pub results: Vec<Vec<Label>>,
    /// Labels of the objects on it.
    pub objects: Vec<String>,
}

/// Builds the list picture by picture.
#[derive(Debug, Clone, Default)]
pub struct SceneBuilder {
    done: Vec<Scene>,
    now: Option<Scene>,
    labels: Tally,
    results: u64,
    objects: Tally,
    candidates: Vec<(u64, Thumbnail)>,
    /// Every so many pictures are candidates.
    every: u64,
}

impl SceneBuilder {
    /// Adds a picture; with a strength it is the first of a scene. Answers the scene that ended.
    pub fn push(&mut self, picture: Picture, cut: Option<f32>) -> Option<Scene> {
        let ended = match (&self.now, cut) {
            (Some(_), Some(_)) => self.end(),
            _ => None,
        };
        let scene = self.now.get_or_insert_with(|| {
            self.every = 1;
            Scene {
                index: self.done.len(),
                start: picture.start,
                start_frame: picture.frame,
                strength: f64::from(cut.unwrap_or(0.0)),
                ..Scene::default()
            }
        });
        scene.end = picture.end;
        scene.end_frame = picture.frame + 1;
        for result in &picture.results {
            self.results += 1;
            for label in result {
                self.labels.add(&label.label, label.score);
            }
        }
        for object in &picture.objects {
            self.objects.add(object, 1.0);
        }
        if (picture.frame - scene.start_frame).is_multiple_of(self.every) {
            self.candidates.push((picture.start, picture.thumbnail));
            if self.candidates.len() > CANDIDATES {
                self.every *= 2;
                let mut keep = false;
                self.candidates.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
        }
        ended
    }

    /// Ends the scene that runs.
    pub fn end(&mut self) -> Option<Scene> {
        let mut scene = self.now.take()?;
        let pictures = scene.end_frame - scene.start_frame;
        scene.labels = self.labels.mean(self.results);
        scene.objects = self.objects.mean(pictures);
        scene.representative = self.representative().unwrap_or(scene.start);
        self.labels = Tally::default();
        self.objects = Tally::default();
        self.results = 0;
        self.candidates.clear();
        self.done.push(scene.clone());
        Some(scene)
    }

    /// The picture that differs least from the others, with a preference for detail: the medoid is
    /// often one that motion has blurred.
    fn representative(&self) -> Option<u64> {
        let cost = |n: usize| {
            let (_, here) = &self.candidates[n];
            let sum: f32 = self
                .candidates
                .iter()
                .map(|(_, other)| here.difference(other))
                .sum();
            sum / self.candidates.len() as f32 - 0.5 * here.detail()
        };
        (0..self.candidates.len())
            .min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
            .map(|n| self.candidates[n].0)
    }

    pub fn scenes(&self) -> &[Scene] {
        &self.done
    }

    /// Number of the scene that runs.
    pub fn current(&self) -> usize {
        self.done.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::thumbnail::Component;

    fn picture(frame: u64, level: u8) -> Picture {
        let data = [level; 4];
        let thumbnail = Thumbnail::new(&[Component {
            data: &data,
            width: 2,
            height: 2,
            step: 1,
            stride: 2,
        }]);
        Picture {
            frame,
            start: frame * 40,
            end: frame * 40 + 40,
            thumbnail,
            results: Vec::new(),
            objects: Vec::new(),
        }
    }

    #[test]
    fn scenes_join_without_gaps_and_keep_what_was_found() {
        let mut builder = SceneBuilder::default();
        for frame in 0..100 {
            let mut picture = picture(
                frame,
                if frame == 30 {
                    90
                } else {
                    (frame % 7 * 30) as u8
                },
            );
            if frame % 10 == 0 {
                let label = |name: &str, score| Label {
                    label: name.into(),
                    score,
                };
                picture.results.push(vec![
                    label("walking", 0.5),
                    label("running", if frame < 50 { 0.1 } else { 0.9 }),
                ]);
            }
            picture.objects = vec!["person".into(); 2];
            let ended = builder.push(picture, (frame == 50).then_some(7.0));
            assert_eq!(ended.is_some(), frame == 50);
        }
        builder.end();
        let scenes = builder.scenes();
        assert_eq!(scenes.len(), 2);
        assert_eq!((scenes[0].start, scenes[0].end), (0, 2000));
        assert_eq!((scenes[1].start, scenes[1].end), (2000, 4000));
        assert_eq!((scenes[1].start_frame, scenes[1].end_frame), (50, 100));
        assert_eq!(scenes[0].labels[0].label, "walking");
        assert_eq!(scenes[1].labels[0].label, "running");
        assert_eq!(scenes[0].objects[0].score, 2.0);
        assert_eq!(scenes[1].strength, 7.0);
        assert_eq!(builder.end(), None);
    }

    #[test]
    fn the_typical_picture_stands_for_the_scene() {
        let mut builder = SceneBuilder::default();
        for frame in 0..40 {
            builder.push(picture(frame, if frame < 5 { 250 } else { 80 }), None);
        }
        let scene = builder.end().unwrap();
        assert!(scene.representative >= 200, "{scene:?}");
    }

    #[test]
    fn json_comes_back() {
        let mut builder = SceneBuilder::default();
        builder.push(picture(0, 3), None);
        builder.end();
        let list = SceneList {
            frame_rate: "25/1".into(),
            scenes: builder.scenes().to_vec(),
        };
        let text = list.to_json().unwrap();
        assert!(text.contains("\"start-frame\": 0"), "{text}");
        assert_eq!(SceneList::from_json(&text).unwrap(), list);
    }
}
