// SPDX-License-Identifier: Apache-2.0
//! What the cells say together: differences between curves, clip by clip, and medians by class.

use serde::Serialize;

use super::bd::{self, Curve};
use super::class::Class;
use super::clips::Clip;
use super::store::Cell;
use crate::codecs::Codec;

/// A quality that curves are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    PsnrY,
    Ssim,
    Vmaf,
    /// Our rate at 0.95 times the anchor's Y-PSNR against the anchor's rate.
    PsnrYCut,
}

/// The factor of `Metric::PsnrYCut`.
pub const CUT: f64 = 0.95;

impl Metric {
    pub const ALL: [Self; 4] = [Self::PsnrY, Self::PsnrYCut, Self::Ssim, Self::Vmaf];

    pub fn title(self) -> &'static str {
        match self {
            Self::PsnrY => "equal Y-PSNR",
            Self::PsnrYCut => "0.95 × Y-PSNR",
            Self::Ssim => "equal SSIM",
            Self::Vmaf => "equal VMAF",
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            Self::PsnrY => "psnr_y",
            Self::PsnrYCut => "psnr_y_0.95",
            Self::Ssim => "ssim",
            Self::Vmaf => "vmaf",
        }
    }

    /// The quality as it is interpolated: SSIM in decibels, because near 1 everything looks alike.
    pub fn of(self, cell: &Cell) -> f64 {
        let m = &cell.measured;
        match self {
            Self::PsnrY | Self::PsnrYCut => m.psnr_y,
            Self::Ssim => -10.0 * (1.0 - m.ssim).max(1e-10).log10(),
            Self::Vmaf => m.vmaf,
        }
    }

    /// The least overlap that is worth a figure.
    fn least(self) -> f64 {
        match self {
            Self::PsnrY | Self::PsnrYCut => 1.0,
            Self::Ssim => 0.5,
            Self::Vmaf => 3.0,
        }
    }
}

/// One clip, one pair of codecs, one metric.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub clip: String,
    pub class: Class,
    pub ours: String,
    pub anchor: String,
    pub metric: Metric,
    pub delta: Option<bd::Delta>,
    /// Why there is no figure.
    pub refused: Option<String>,
}

/// The median over the clips of a class.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub ours: String,
    pub anchor: String,
    pub metric: Metric,
    /// None for all clips.
    pub class: Option<Class>,
    pub clips: usize,
    /// Clips without a figure.
    pub refused: usize,
    /// Figures with a flag.
    pub flagged: usize,
    /// Clips with fewer bits than the anchor.
    pub wins: usize,
    pub median: Option<f64>,
    pub best: Option<f64>,
    pub worst: Option<f64>,
    pub median_reverse: Option<f64>,
}

/// Whose curves are compared with the others': ours, or the first codec in a run without ours.
pub fn subjects(codecs: &[Codec]) -> Vec<&Codec> {
    let ours: Vec<&Codec> = codecs.iter().filter(|codec| codec.is_ours()).collect();
    if ours.is_empty() {
        codecs.iter().take(1).collect()
    } else {
        ours
    }
}

pub fn curve(cells: &[Cell], clip: &str, codec: &str, metric: Metric) -> Curve {
    let points: Vec<(f64, f64)> = cells
        .iter()
        .filter(|cell| cell.clip == clip && cell.codec == codec)
        .map(|cell| (cell.measured.kbps, metric.of(cell)))
        .collect();
    Curve::new(&points)
}

pub fn compare(clips: &[Clip], codecs: &[Codec], cells: &[Cell]) -> Vec<Comparison> {
    let mut all = Vec::new();
    for clip in clips {
        for subject in subjects(codecs) {
            for anchor in codecs {
                // Two settings of ours are compared with the plain one.
                if anchor.id() == subject.id() || (anchor.is_ours() && anchor.id() != "aicodec") {
                    continue;
                }
                for metric in Metric::ALL {
                    let mut ours = curve(cells, &clip.name, &subject.id(), metric);
                    let theirs = curve(cells, &clip.name, &anchor.id(), metric);
                    if metric == Metric::PsnrYCut {
                        ours = bd::relaxed(&ours, CUT);
                    }
                    let mut found = bd::delta(&ours, &theirs, metric.least());
                    if metric == Metric::PsnrYCut
                        && let Ok(delta) = &mut found
                    {
                        // The other way round it is the anchor that may be worse.
                        let mine = curve(cells, &clip.name, &subject.id(), metric);
                        let back = bd::delta(&bd::relaxed(&theirs, CUT), &mine, metric.least());
                        delta.reverse = back.map_or(f64::NAN, |back| back.rate);
                        delta.quality = None;
                    }
                    let (delta, refused) = match found {
                        Ok(delta) => (Some(delta), None),
                        Err(error) => (None, Some(error.to_string())),
                    };
                    all.push(Comparison {
                        clip: clip.name.clone(),
                        class: clip.class,
                        ours: subject.id(),
                        anchor: anchor.id(),
                        metric,
                        delta,
                        refused,
                    });
                }
            }
        }
    }
    all
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// Medians over all clips first, then class by class.
pub fn lines(comparisons: &[Comparison]) -> Vec<Line> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for one in comparisons {
        let pair = (one.ours.as_str(), one.anchor.as_str());
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let mut all = Vec::new();
    for class in std::iter::once(None).chain(Class::ALL.map(Some)) {
        for (ours, anchor) in &pairs {
            for metric in Metric::ALL {
                let members: Vec<&Comparison> = comparisons
                    .iter()
                    .filter(|c| {
                        c.ours == *ours
                            && c.anchor == *anchor
                            && c.metric == metric
                            && class.is_none_or(|class| c.class == class)
                    })
                    .collect();
                if members.is_empty() {
                    continue;
                }
                let deltas: Vec<&bd::Delta> =
                    members.iter().filter_map(|c| c.delta.as_ref()).collect();
                let rates: Vec<f64> = deltas.iter().map(|d| d.rate).collect();
                let reverse: Vec<f64> = deltas.iter().map(|d| d.reverse).collect();
                all.push(Line {
                    ours: (*ours).to_owned(),
                    anchor: (*anchor).to_owned(),
                    metric,
                    class,
                    clips: members.len(),
                    refused: members.len() - deltas.len(),
                    flagged: deltas.iter().filter(|d| !d.flags.is_empty()).count(),
                    wins: rates.iter().filter(|rate| **rate < 0.0).count(),
                    median: median(&rates),
                    best: rates.iter().copied().reduce(f64::min),
                    worst: rates.iter().copied().reduce(f64::max),
                    median_reverse: median(&reverse),
                });
            }
        }
    }
    all
}

/// `+12 %`, or why there is no figure.
pub fn percent(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:+.0} %"),
        _ => "–".into(),
    }
}

/// The first lines of the report: against each anchor, whichever way it falls.
pub fn headline(lines: &[Line], name: impl Fn(&str) -> String) -> Vec<String> {
    let of = |like: &Line, metric| {
        lines
            .iter()
            .find(|l| {
                l.class.is_none()
                    && l.metric == metric
                    && l.ours == like.ours
                    && l.anchor == like.anchor
            })
            .and_then(|l| l.median)
    };
    lines
        .iter()
        .filter(|line| line.class.is_none() && line.metric == Metric::PsnrY)
        .map(|line| {
            let (ours, anchor) = (name(&line.ours), name(&line.anchor));
            let Some(median) = line.median else {
                return format!(
                    "{ours} and {anchor}: no figure; their curves are incomplete, or do not overlap enough, on all of {} clips.",
                    line.clips
                );
            };
            let counted = line.clips - line.refused;
            let verdict = if median < 0.0 {
                format!("needs {:.0} % fewer bits than {anchor}", -median)
            } else if median >= 100.0 {
                format!("loses to {anchor}: it needs {:.1} times the bits", 1.0 + median / 100.0)
            } else {
                format!("loses to {anchor}: it needs {median:.0} % more bits")
            };
            let mut text = format!(
                "{ours} {verdict} at equal Y-PSNR (median of {counted} clips, {} to {}; better on {} of them).",
                percent(line.best),
                percent(line.worst),
                line.wins
            );
            text.push_str(&format!(
                " At equal SSIM {}, at equal VMAF {}, at 0.95 × the anchor's PSNR {}.",
                percent(of(line, Metric::Ssim)),
                percent(of(line, Metric::Vmaf)),
                percent(of(line, Metric::PsnrYCut))
            ));
            if line.refused > 0 {
                text.push_str(&format!(" {} clips have no figure.", line.refused));
            }
            text
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::measured;
    use super::*;

    fn cells(clip: &str, codec: &str, factor: f64) -> Vec<Cell> {
        [32.0, 35.0, 38.0, 41.0]
            .iter()
            .map(|&psnr| Cell {
                key: String::new(),
                clip: clip.into(),
                codec: codec.into(),
                options: String::new(),
                value: psnr,
                matched: false,
                measured: measured(factor * 2f64.powf(psnr / 6.0), psnr),
                stream: String::new(),
                took: 0.0,
                machine: String::new(),
                load: 0.0,
            })
            .collect()
    }

    fn clip(name: &str, still: f64) -> Clip {
        let measure = super::super::class::Measure {
            luma: 120.0,
            still,
            ..Default::default()
        };
        Clip {
            name: name.into(),
            source: Default::default(),
            raw: crate::rawclip::RawClip {
                path: Default::default(),
                width: 64,
                height: 64,
                fps: (25, 1),
                frames: 25,
            },
            hash: String::new(),
            measure,
            class: measure.class(),
        }
    }

    #[test]
    fn medians_are_taken_class_by_class_and_losses_told() {
        let clips = [clip("a", 0.1), clip("b", 0.2), clip("c", 0.9)];
        let codecs = ["aicodec", "x265-medium"].map(|s| Codec::parse(s).unwrap().0);
        let mut all = Vec::new();
        for (name, factor) in [("a", 2.0), ("b", 1.5), ("c", 0.5)] {
            all.extend(cells(name, "aicodec", factor));
            all.extend(cells(name, "x265-medium", 1.0));
        }
        let comparisons = compare(&clips, &codecs, &all);
        assert_eq!(comparisons.len(), 3 * 4);
        let lines = lines(&comparisons);
        let find = |class, metric| {
            lines
                .iter()
                .find(|l| l.class == class && l.metric == metric)
                .unwrap()
        };
        let near = |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < 1e-6;
        let whole = find(None, Metric::PsnrY);
        assert!(near(whole.median, 50.0) && near(whole.best, -50.0) && near(whole.worst, 100.0));
        assert_eq!((whole.clips, whole.wins), (3, 1));
        assert!(near(find(Some(Class::General), Metric::PsnrY).median, 75.0));
        assert!(near(find(Some(Class::Static), Metric::Vmaf).median, -50.0));
        // Two decibels less are a fifth of the bits less.
        let cut = find(Some(Class::Static), Metric::PsnrYCut).median.unwrap();
        assert!(cut < -55.0, "{cut}");
        let said = headline(&lines, str::to_owned);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].contains("aicodec loses to x265-medium: it needs 50 % more bits")
                && said[0].contains("better on 1 of them"),
            "{said:?}"
        );
    }

    #[test]
    fn curves_that_do_not_meet_have_no_figure() {
        let codecs = ["aicodec", "x265-medium"].map(|s| Codec::parse(s).unwrap().0);
        let mut all = cells("a", "aicodec", 1.0);
        all.extend(cells("a", "x265-medium", 1.0).into_iter().map(|mut cell| {
            cell.measured.psnr_y += 20.0;
            cell
        }));
        let comparisons = compare(&[clip("a", 0.1)], &codecs, &all);
        assert!(comparisons[0].delta.is_none());
        assert!(comparisons[0].refused.as_ref().unwrap().contains("overlap"));
        let said = headline(&lines(&comparisons), str::to_owned);
        assert!(said[0].contains("no figure"), "{said:?}");
    }
}
