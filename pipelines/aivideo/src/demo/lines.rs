// SPDX-License-Identifier: Apache-2.0
//! The two `gst-launch-1.0` lines of the main job. The README shows them, `aivideo demo` runs them.

use std::path::Path;

/// Operations of aienhance in the main job.
pub const OPERATIONS: &str = "denoise,upscale";
/// Effects of fxfilter in the main job.
pub const EFFECTS: &str = "posterize:num-levels=25";

/// What the two lines are filled with.
pub struct Link<'a> {
    pub video: &'a Path,
    pub width: u32,
    pub height: u32,
    pub quality: u32,
    pub port: u16,
    pub output: &'a Path,
    /// Weights of the codec instead of the built-in ones.
    pub model: Option<&'a Path>,
}

/// One line a row; joined by blanks it is the argument list of gst-launch-1.0.
/// `-m` prints messages: the classifier's results, and that no packet has come for two seconds.
/// `-e` turns an interrupt into an end of stream, which completes the MP4.
const RECEIVER: &[&str] = &[
    "-e -m udpsrc port={port} buffer-size=2000000 timeout=2000000000",
    "! application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96",
    "! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0",
    "! rtpjitterbuffer mode=none ! rtpaicodecdepay ! aicodecdec {model} ! vjepa2classify",
    "! aienhance operations={operations} ! fxfilter effects={effects}",
    "! videoconvert ! x264enc speed-preset=veryfast ! h264parse ! mp4mux ! filesink location={output}",
];

const SENDER: &[&str] = &[
    "-e filesrc location={video} ! decodebin ! videoconvert ! videoscale",
    "! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1",
    "! aicodecenc quality={quality} {model} ! rtpaicodecpay ! udpsink host=127.0.0.1 port={port}",
];

/// Arguments of the receiver's gst-launch-1.0.
pub fn receiver(link: &Link) -> Vec<String> {
    rows(RECEIVER, link).concat()
}

/// Arguments of the sender's gst-launch-1.0.
pub fn sender(link: &Link) -> Vec<String> {
    rows(SENDER, link).concat()
}

/// The receiver's line as a person types it.
pub fn receiver_text(link: &Link) -> String {
    text(&rows(RECEIVER, link))
}

/// The sender's line as a person types it.
pub fn sender_text(link: &Link) -> String {
    text(&rows(SENDER, link))
}

fn rows(template: &[&str], link: &Link) -> Vec<Vec<String>> {
    let fill = |word: &str| {
        word.replace("{video}", &link.video.display().to_string())
            .replace("{width}", &link.width.to_string())
            .replace("{height}", &link.height.to_string())
            .replace("{quality}", &link.quality.to_string())
            .replace("{port}", &link.port.to_string())
            .replace("{operations}", OPERATIONS)
            .replace("{effects}", EFFECTS)
            .replace("{output}", &link.output.display().to_string())
    };
    let model = link
        .model
        .map(|path| format!("model-location={}", path.display()));
    // Split before filling, so that blanks in a path stay inside their word.
    let words = |row: &str| {
        row.split(' ')
            .filter_map(|word| {
                if word == "{model}" {
                    model.clone()
                } else {
                    Some(fill(word))
                }
            })
            .collect()
    };
    template.iter().map(|row| words(row)).collect()
}

fn text(rows: &[Vec<String>]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|word| quote(word))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    format!("gst-launch-1.0 {}", rows.join(" \\\n  "))
}

/// Quotes a word where the shell would read it otherwise. A lone `!` needs none.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%!".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link<'a>(video: &'a Path) -> Link<'a> {
        Link {
            video,
            width: 640,
            height: 272,
            quality: super::super::DEFAULT_QUALITY,
            port: super::super::DEFAULT_PORT,
            output: Path::new("demo-out/demo.mp4"),
            model: None,
        }
    }

    #[test]
    fn the_readme_shows_what_the_demo_runs() {
        let readme = include_str!("../../../../README.md");
        let link = link(Path::new(".deps/clips/bikes.mp4"));
        for line in [receiver_text(&link), sender_text(&link)] {
            assert!(
                readme.contains(&line),
                "README.md does not contain this line of the demo:\n{line}"
            );
        }
    }

    #[test]
    fn blanks_and_quotes_in_a_path_stay_in_one_argument() {
        let path = Path::new("my holiday's clip.mp4");
        assert!(sender(&link(path)).contains(&"location=my holiday's clip.mp4".to_owned()));
        assert!(sender_text(&link(path)).contains(r"'location=my holiday'\''s clip.mp4'"));
    }
}
