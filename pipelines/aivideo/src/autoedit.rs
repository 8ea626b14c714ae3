// SPDX-License-Identifier: Apache-2.0
//! `aivideo autoedit`: finds the scenes of a clip, chooses some, and cuts the clip to them.

use std::path::{Path, PathBuf};

use aivideo_enhance::scene::{Scene, SceneList};
use anyhow::{Context, Result, bail};
use clap::Args;

use crate::environment;
use crate::ffmpeg::{Ffmpeg, words};
use crate::gstrun;

#[derive(Args)]
pub struct Options {
    /// The clip
    clip: PathBuf,
    /// The file to write; its extension chooses the container (default: only the list is shown)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Scenes by number, from 1, as in 1,3,5-7
    #[arg(long, value_parser = ranges)]
    scenes: Option<Ranges>,
    /// Scenes with this among their three best labels, or with such an object (a part of the name)
    #[arg(long)]
    label: Option<String>,
    /// The longest scenes, so many
    #[arg(long)]
    longest: Option<usize>,
    /// Stop before the edit gets longer than this, in seconds; a scene that does not fit is left out
    #[arg(long)]
    max_seconds: Option<f64>,
    /// Leave out scenes shorter than this, in seconds
    #[arg(long, default_value_t = 0.0)]
    min_seconds: f64,
    /// Without labels: the classifier is the slow part
    #[arg(long)]
    no_labels: bool,
    /// Use this list (of an earlier run, or of aiscene's json-location) and do not look again
    #[arg(long)]
    list: Option<PathBuf>,
    /// Write the list of all scenes as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the chosen scenes as an edit decision list (CMX 3600)
    #[arg(long)]
    edl: Option<PathBuf>,
    /// Write the representative picture of each chosen scene into this folder, as PNG
    #[arg(long)]
    stills: Option<PathBuf>,
}

/// Numbers from 1, first and last of each range.
#[derive(Debug, Clone, PartialEq)]
struct Ranges(Vec<(usize, usize)>);

fn ranges(text: &str) -> Result<Ranges, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<usize>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("\"{text}\" is no number of a scene: they count from 1"))
    };
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("\"{part}\" ends before it begins"));
            }
            Ok((first, last))
        })
        .collect::<Result<_, _>>()
        .map(Ranges)
}

fn seconds(scene: &Scene) -> f64 {
    scene.end.saturating_sub(scene.start) as f64 / 1e9
}

/// The scenes of a clip, as `aiscene` finds them.
pub fn analyze(clip: &Path, labels: bool, json: &Path) -> Result<SceneList> {
    let mut needed = vec!["aiscene"];
    if labels {
        needed.push("vjepa2classify");
    }
    environment::require_elements(&needed)?;
    let classifier = if labels {
        "! vjepa2classify sync=true "
    } else {
        ""
    };
    // The clip's own frame rate is kept; only the first video stream is looked at.
    let line = format!(
        "filesrc location=\"{}\" ! decodebin caps=\"video/x-raw(ANY)\" ! videoconvert ! video/x-raw,format=I420 {classifier}! aiscene name=measured json-location=\"{}\" ! fakesink",
        clip.display(),
        json.display()
    );
    gstrun::run(&line, "measured", |_| ())
        .with_context(|| format!("cannot find the scenes of {}", clip.display()))?;
    read_list(json)
}

fn read_list(path: &Path) -> Result<SceneList> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the list of scenes {}", path.display()))?;
    SceneList::from_json(&text).with_context(|| {
        format!(
            "{} is no list of scenes as aiscene writes it",
            path.display()
        )
    })
}

/// The scenes that the options choose, in the order of the clip.
fn choose(scenes: &[Scene], options: &Options) -> Vec<Scene> {
    let labelled = |scene: &Scene, wanted: &str| {
        let wanted = wanted.to_lowercase();
        let best = scene.labels.iter().take(3).chain(&scene.objects);
        best.into_iter()
            .any(|l| l.label.to_lowercase().contains(&wanted))
    };
    let mut chosen: Vec<Scene> = scenes
        .iter()
        .filter(|scene| {
            let number = scene.index + 1;
            options
                .scenes
                .as_ref()
                .is_none_or(|r| r.0.iter().any(|(a, b)| (*a..=*b).contains(&number)))
        })
        .filter(|scene| options.label.as_ref().is_none_or(|l| labelled(scene, l)))
        .filter(|scene| seconds(scene) >= options.min_seconds)
        .cloned()
        .collect();
    if let Some(count) = options.longest {
        chosen.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)));
        chosen.truncate(count);
        chosen.sort_by_key(|scene| scene.index);
    }
    if let Some(most) = options.max_seconds {
        let mut total = 0.0;
        chosen.retain(|scene| {
            let fits = total + seconds(scene) <= most;
            if fits {
                total += seconds(scene);
            }
            fits
        });
    }
    chosen
}

/// Filters that let the chosen scenes through, video and sound.
fn filters(chosen: &[Scene]) -> (String, String) {
    // Half a frame early, so that rounded time stamps fall on the right side.
    let edge = |scene: &Scene| {
        let frames = (scene.end_frame - scene.start_frame).max(1);
        let half = seconds(scene) / frames as f64 / 2.0;
        (
            scene.start as f64 / 1e9 - half,
            scene.end as f64 / 1e9 - half,
        )
    };
    let pictures: Vec<String> = chosen
        .iter()
        .map(|scene| {
            let (start, end) = edge(scene);
            format!("gte(t,{start:.6})*lt(t,{end:.6})")
        })
        .collect();
    let sound: Vec<String> = chosen
        .iter()
        .map(|scene| {
            let (start, end) = (scene.start as f64 / 1e9, scene.end as f64 / 1e9);
            format!("gte(t,{start:.6})*lt(t,{end:.6})")
        })
        .collect();
    (
        format!("select='{}',setpts=N/FRAME_RATE/TB", pictures.join("+")),
        format!("aselect='{}',asetpts=N/SR/TB", sound.join("+")),
    )
}

pub fn run(options: &Options) -> Result<()> {
    gst::init()?;
    if !options.clip.is_file() {
        bail!("there is no clip {}", options.clip.display());
    }
    let temporary = tempfile::tempdir()?;
    let list = match &options.list {
        Some(path) => read_list(path)?,
        None => analyze(
            &options.clip,
            !options.no_labels,
            &temporary.path().join("scenes.json"),
        )?,
    };
    if list.scenes.is_empty() {
        bail!("{} has no pictures", options.clip.display());
    }
    let chosen = choose(&list.scenes, options);
    println!("scene      start        end  seconds  label");
    for scene in &list.scenes {
        let mark = if chosen.iter().any(|c| c.index == scene.index) {
            '*'
        } else {
            ' '
        };
        let label = scene.labels.first().or(scene.objects.first());
        println!(
            "{:>4}{mark} {:>10.3} {:>10.3} {:>8.2}  {}",
            scene.index + 1,
            scene.start as f64 / 1e9,
            scene.end as f64 / 1e9,
            seconds(scene),
            label.map_or(String::new(), |l| format!("{} ({:.2})", l.label, l.score))
        );
    }
    let total: f64 = chosen.iter().map(seconds).sum();
    println!(
        "{} of {} scenes are chosen (*), {total:.2} s",
        chosen.len(),
        list.scenes.len()
    );
    if let Some(path) = &options.json {
        std::fs::write(path, list.to_json()? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if chosen.is_empty() {
        bail!("no scene fits: choose others, or leave --scenes, --label and --min-seconds out");
    }
    if let Some(path) = &options.edl {
        let rate = list
            .frame_rate
            .split_once('/')
            .and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
        let title = options
            .clip
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let text = aivideo_enhance::scene::edl::write(&title, rate.unwrap_or((0, 1)), &chosen);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.stills.is_none() && options.out.is_none() {
        return Ok(());
    }
    let ffmpeg = Ffmpeg::new(environment::ffmpeg()?);
    let input = ["-i".to_owned(), options.clip.display().to_string()];
    if let Some(folder) = &options.stills {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        for scene in &chosen {
            let at = scene.representative as f64 / 1e9;
            let mut args = vec!["-ss".to_owned(), format!("{at:.6}")];
            args.extend(input.clone());
            args.extend(words("-frames:v 1"));
            args.push(
                folder
                    .join(format!("scene-{:03}.png", scene.index + 1))
                    .display()
                    .to_string(),
            );
            ffmpeg.run(&args)?;
        }
    }
    if let Some(out) = &options.out {
        let (pictures, sound) = filters(&chosen);
        let mut args = input.to_vec();
        args.extend([
            "-map".into(),
            "0:v:0".into(),
            "-map".into(),
            "0:a:0?".into(),
            "-vf".into(),
            pictures,
            "-af".into(),
            sound,
        ]);
        args.extend(words(
            "-c:v libx264 -crf 18 -preset veryfast -pix_fmt yuv420p",
        ));
        args.push(out.display().to_string());
        ffmpeg.run(&args)?;
        println!("{}: {total:.2} s", environment::shorten(out));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aivideo_enhance::scene::list::Label;

    use super::*;

    fn options(args: &[&str]) -> Options {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let args = ["autoedit", "clip.mp4"].iter().chain(args);
        <Cli as clap::Parser>::parse_from(args).options
    }

    fn scenes() -> Vec<Scene> {
        [2.0, 1.0, 4.0, 0.5, 3.0]
            .iter()
            .enumerate()
            .map(|(index, length)| Scene {
                index,
                start: index as u64 * 5_000_000_000,
                end: index as u64 * 5_000_000_000 + (length * 1e9) as u64,
                labels: vec![Label {
                    label: if index % 2 == 0 {
                        "Camera pan left"
                    } else {
                        "static"
                    }
                    .into(),
                    score: 0.5,
                }],
                ..Scene::default()
            })
            .collect()
    }

    fn numbers(args: &[&str]) -> Vec<usize> {
        choose(&scenes(), &options(args))
            .iter()
            .map(|s| s.index + 1)
            .collect()
    }

    #[test]
    fn scenes_are_chosen() {
        assert_eq!(numbers(&[]), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&["--scenes", "1,3-4"]), [1, 3, 4]);
        assert_eq!(numbers(&["--label", "pan"]), [1, 3, 5]);
        assert_eq!(numbers(&["--longest", "2"]), [3, 5]);
        assert_eq!(numbers(&["--max-seconds", "4"]), [1, 2, 4]);
        assert_eq!(numbers(&["--min-seconds", "1", "--label", "STATIC"]), [2]);
        assert_eq!(numbers(&["--scenes", "9"]), [0_usize; 0]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "0", "a", "3-1", "1,,2", "-2"] {
            assert!(ranges(text).is_err(), "{text}");
        }
    }
}
