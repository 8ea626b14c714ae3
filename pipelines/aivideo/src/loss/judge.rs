// SPDX-License-Identifier: Apache-2.0
//! What is seen of a run.

use super::clip::Clip;

/// A picture is damaged where it differs more than this from the one without loss (dB, luma).
const SAME: f64 = 50.0;

pub(super) fn mse(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    sum as f64 / a.len() as f64
}

pub(super) fn psnr(mse: f64) -> f64 {
    (10.0 * (255.0 * 255.0 / mse.max(1e-9)).log10()).min(100.0)
}

/// What is seen of a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judged {
    pub(super) psnr: f64,
    pub(super) psnr_sent: f64,
    pub(super) frozen: usize,
    pub(super) longest_freeze: usize,
    /// Lengths, in frames, of the times in which the picture was not as sent.
    pub(super) episodes: Vec<usize>,
}

pub(super) fn judge(clip: &Clip, sent: &[Option<Vec<u8>>], shown: &[Option<Vec<u8>>]) -> Judged {
    let grey = vec![128; clip.luma[0].len()];
    let (mut last_sent, mut last_shown) = (&grey, &grey);
    let mut judged = Judged::default();
    let (mut freeze, mut episode) = (0, 0);
    for (i, source) in clip.luma.iter().enumerate() {
        last_sent = sent[i].as_ref().unwrap_or(last_sent);
        match &shown[i] {
            Some(picture) => {
                last_shown = picture;
                freeze = 0;
            }
            None => {
                judged.frozen += 1;
                freeze += 1;
            }
        }
        judged.longest_freeze = judged.longest_freeze.max(freeze);
        judged.psnr += psnr(mse(source, last_shown));
        judged.psnr_sent += psnr(mse(source, last_sent));
        if psnr(mse(last_sent, last_shown)) < SAME {
            episode += 1;
        } else if episode > 0 {
            judged.episodes.push(episode);
            episode = 0;
        }
    }
    // The end cuts the last one short.
    judged.episodes.extend((episode > 0).then_some(episode));
    let count = clip.luma.len() as f64;
    judged.psnr /= count;
    judged.psnr_sent /= count;
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_and_episodes_are_counted() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 16, 16)
            .build()
            .unwrap();
        let luma: Vec<Vec<u8>> = (0..6).map(|i| vec![100 + 10 * i; 256]).collect();
        let clip = Clip {
            name: String::new(),
            info,
            buffers: Vec::new(),
            luma: luma.clone(),
            frame: gst::ClockTime::from_mseconds(40),
        };
        let sent: Vec<_> = luma.iter().cloned().map(Some).collect();
        let all = judge(&clip, &sent, &sent);
        assert_eq!((all.psnr, all.frozen, all.episodes.len()), (100.0, 0, 0));
        let mut shown = sent.clone();
        shown[1] = None;
        shown[2] = None;
        shown[4] = Some(vec![0; 256]);
        let judged = judge(&clip, &sent, &shown);
        assert_eq!((judged.frozen, judged.longest_freeze), (2, 2));
        assert_eq!(judged.episodes, [2, 1]);
        assert!(judged.psnr < judged.psnr_sent);
    }
}
