// SPDX-License-Identifier: Apache-2.0
//! The scene list as an edit decision list (CMX 3600), which editing programs import.

use super::list::Scene;

/// Time code without dropped frames, at a whole number of frames a second.
fn time_code(frame: u64, rate: u64) -> String {
    let (seconds, frames) = (frame / rate, frame % rate);
    format!(
        "{:02}:{:02}:{:02}:{frames:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Characters that a reader of lines would take for something else are left out.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// One cut for each scene. Time codes count frames, at the frame rate rounded up to a whole number
/// (29.97 as 30, without dropped frames); `rate` is a fraction, and 25/1 where it is unknown.
pub fn write(title: &str, (numerator, denominator): (u32, u32), scenes: &[Scene]) -> String {
    let rate = match (numerator, denominator) {
        (0, _) | (_, 0) => 25,
        (n, d) => u64::from(n.div_ceil(d)).max(1),
    };
    let title = plain(title);
    let mut text = format!("TITLE: {title}\nFCM: NON-DROP FRAME\n\n");
    for (n, scene) in scenes.iter().enumerate() {
        let [start, end] = [scene.start_frame, scene.end_frame].map(|f| time_code(f, rate));
        // Events have three digits; longer lists go on with more, as most readers allow.
        text.push_str(&format!(
            "{:03}  AX       V     C        {start} {end} {start} {end}\n* FROM CLIP NAME: {title}\n",
            n + 1
        ));
        if let Some(best) = scene.labels.first() {
            text.push_str(&format!(
                "* COMMENT: {} {:.2}\n",
                plain(&best.label),
                best.score
            ));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::list::Label;

    #[test]
    fn events_have_time_codes_and_comments() {
        let scenes = [
            Scene {
                start_frame: 0,
                end_frame: 95,
                ..Scene::default()
            },
            Scene {
                start_frame: 95,
                end_frame: 30 * 3661 + 7,
                labels: vec![Label {
                    label: "a\nb".into(),
                    score: 0.5,
                }],
                ..Scene::default()
            },
        ];
        let text = write("clip.mp4", (30000, 1001), &scenes);
        assert_eq!(
            text,
            "TITLE: clip.mp4\nFCM: NON-DROP FRAME\n\n\
             001  AX       V     C        00:00:00:00 00:00:03:05 00:00:00:00 00:00:03:05\n\
             * FROM CLIP NAME: clip.mp4\n\n\
             002  AX       V     C        00:00:03:05 01:01:01:07 00:00:03:05 01:01:01:07\n\
             * FROM CLIP NAME: clip.mp4\n* COMMENT: ab 0.50\n\n"
        );
        assert!(write("x", (0, 1), &scenes[..1]).contains("00:00:03:20"));
    }
}
