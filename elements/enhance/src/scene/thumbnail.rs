// SPDX-License-Identifier: Apache-2.0
//! What is kept of a picture: means of its fields, and how often each level occurs.

/// Fields across and down.
pub const COLUMNS: usize = 32;
pub const ROWS: usize = 18;
const FIELDS: usize = COLUMNS * ROWS;
/// Samples of a field, across and down.
const SAMPLES: usize = 4;
const BINS: usize = 32;

/// One component of a picture: samples `step` bytes apart, rows `stride` bytes apart.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    pub data: &'a [u8],
    pub width: usize,
    pub height: usize,
    pub step: usize,
    pub stride: usize,
}

impl Component<'_> {
    fn sample(&self, x: usize, y: usize) -> u8 {
        let at = y * self.stride + x * self.step;
        self.data.get(at).copied().unwrap_or_default()
    }
}

/// A picture in a few numbers. Means of fields hardly change with small motion, and neither does
/// the histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail {
    /// Luma and both chromas.
    fields: [[u8; FIELDS]; 3],
    /// Share of samples in each bin of luma, then of the chromas.
    histogram: [f32; 3 * BINS],
}

impl Thumbnail {
    /// Of luma alone, or of luma and two chromas.
    pub fn new(components: &[Component<'_>]) -> Self {
        let mut fields = [[128_u8; FIELDS]; 3];
        let mut counts = [0_u32; 3 * BINS];
        for ((n, component), fields) in components.iter().enumerate().zip(&mut fields) {
            if component.width == 0 || component.height == 0 {
                continue;
            }
            for (place, field) in fields.iter_mut().enumerate() {
                let (column, row) = (place % COLUMNS, place / COLUMNS);
                let mut sum = 0;
                for j in 0..SAMPLES {
                    let y = (2 * (row * SAMPLES + j) + 1) * component.height / (2 * ROWS * SAMPLES);
                    for i in 0..SAMPLES {
                        let x = (2 * (column * SAMPLES + i) + 1) * component.width
                            / (2 * COLUMNS * SAMPLES);
                        let value = component.sample(x, y);
                        counts[n * BINS + usize::from(value) * BINS / 256] += 1;
                        sum += u32::from(value);
                    }
                }
                *field = (sum / (SAMPLES * SAMPLES) as u32) as u8;
            }
        }
        let all = (FIELDS * SAMPLES * SAMPLES) as f32;
        Self {
            fields,
            histogram: counts.map(|count| count as f32 / all),
        }
    }

    /// How different two pictures are, in steps of 255: the mean change of fields, chroma counting
    /// as much as luma because it moves less.
    pub fn difference(&self, other: &Self) -> f32 {
        let change = |n: usize| {
            let sum: u32 = self.fields[n]
                .iter()
                .zip(&other.fields[n])
                .map(|(a, b)| u32::from(a.abs_diff(*b)))
                .sum();
            sum as f32 / FIELDS as f32
        };
        change(0) + (change(1) + change(2)) / 2.0
    }

    /// How differently levels are spread, 0 to 1: half the summed difference, the mean of luma and
    /// the chroma that changed more.
    pub fn spread(&self, other: &Self) -> f32 {
        let change = |n: usize| {
            let bins = n * BINS..(n + 1) * BINS;
            let sum: f32 = self.histogram[bins.clone()]
                .iter()
                .zip(&other.histogram[bins])
                .map(|(a, b)| (a - b).abs())
                .sum();
            sum / 2.0
        };
        (change(0) + change(1).max(change(2))) / 2.0
    }

    /// Mean luma.
    pub fn brightness(&self) -> f32 {
        self.fields[0].iter().map(|v| u32::from(*v)).sum::<u32>() as f32 / FIELDS as f32
    }

    /// How much neighbouring fields differ: little in blurred, dark or blank pictures.
    pub fn detail(&self) -> f32 {
        let luma = &self.fields[0];
        let across = luma
            .chunks_exact(COLUMNS)
            .flat_map(|row| row.windows(2))
            .map(|pair| u32::from(pair[0].abs_diff(pair[1])))
            .sum::<u32>();
        across as f32 / (ROWS * (COLUMNS - 1)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn grey(level: u8) -> Thumbnail {
        let data = vec![level; 64 * 36];
        Thumbnail::new(&[Component {
            data: &data,
            width: 64,
            height: 36,
            step: 1,
            stride: 64,
        }])
    }

    #[test]
    fn equal_pictures_do_not_differ_and_others_do() {
        assert_eq!(grey(50).difference(&grey(50)), 0.0);
        assert_eq!(grey(50).spread(&grey(50)), 0.0);
        assert_eq!(grey(50).difference(&grey(90)), 40.0);
        assert_eq!(grey(50).spread(&grey(90)), 0.5);
        assert_eq!(grey(90).brightness(), 90.0);
        assert_eq!(grey(90).detail(), 0.0);
    }

    #[test]
    fn any_layout_and_size_can_be_read() {
        // YUY2 of two pixels, and a component that is shorter than it says.
        let data = [10, 128, 20, 128];
        let luma = Component {
            data: &data,
            width: 2,
            height: 1,
            step: 2,
            stride: 4,
        };
        assert_eq!(Thumbnail::new(&[luma]).brightness(), 15.0);
        let short = Component { height: 9, ..luma };
        Thumbnail::new(&[short]);
        let none = Component { width: 0, ..luma };
        Thumbnail::new(&[none, none, none]);
    }
}
