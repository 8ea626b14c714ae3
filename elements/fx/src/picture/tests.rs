// SPDX-License-Identifier: Apache-2.0

use super::*;

fn memory(format: PixelFormat, w: usize, h: usize, padding: usize) -> Vec<(Vec<u8>, usize)> {
    (0..format.plane_count())
        .map(|plane| {
            let (row, rows) = format.plane_size(plane, w, h);
            let stride = row + padding;
            let data = (0..stride * rows)
                .map(|i| (i * 7 + plane * 31) as u8)
                .collect();
            (data, stride)
        })
        .collect()
}

fn frame(format: PixelFormat, w: usize, h: usize, planes: &mut [(Vec<u8>, usize)]) -> RawFrame<'_> {
    let planes = planes
        .iter_mut()
        .map(|(d, s)| (d.as_mut_slice(), *s))
        .collect();
    RawFrame::new(format, w, h, Colorimetry::BT601, planes).unwrap()
}

/// A band and a picture must show the same components, and touching nothing must change
/// nothing: so unpacking and packing are inverses.
#[test]
fn bands_and_pictures_agree_and_leave_memory_alone() {
    for format in PixelFormat::ALL {
        for (w, h) in [(1, 1), (2, 3), (17, 9), (34, 5), (64, 4)] {
            for padding in [0, 5] {
                let mut planes = memory(format, w, h, padding);
                let before = planes.clone();
                let mut whole: Vec<Vec<u8>> = Vec::new();
                frame(format, w, h, &mut planes).with_picture(
                    &mut PictureScratch::default(),
                    |picture| {
                        for plane in &picture.planes {
                            whole.push(plane.rows().flatten().copied().collect());
                        }
                    },
                );
                let mut bands = vec![Vec::new(); whole.len()];
                for mut part in frame(format, w, h, &mut planes).split(3) {
                    part.for_bands(&mut BandScratch::default(), true, |band| {
                        bands[0].extend_from_slice(band.luma[0]);
                        bands[0].extend_from_slice(band.luma[1]);
                        if bands.len() > 1 {
                            bands[1].extend_from_slice(band.chroma[0]);
                            bands[2].extend_from_slice(band.chroma[1]);
                        }
                    });
                }
                assert_eq!(whole, bands, "{format:?} {w}x{h}");
                assert_eq!(planes, before, "{format:?} {w}x{h}");
            }
        }
    }
}

/// The pattern and the unpacking must name the same bytes.
#[test]
fn patterns_match_the_components() {
    for format in PixelFormat::ALL {
        let (w, h) = (6, 4);
        let mut planes = memory(format, w, h, 3);
        let mut expected = vec![Vec::new(); 3];
        for (index, (data, stride)) in planes.iter().enumerate() {
            let (row, rows) = format.plane_size(index, w, h);
            let pattern = format.pattern(index);
            for y in 0..rows {
                for (x, value) in data[y * stride..][..row].iter().enumerate() {
                    if let Some(component) = pattern[x % pattern.len()] {
                        expected[component].push(*value);
                    }
                }
            }
        }
        frame(format, w, h, &mut planes).with_picture(&mut PictureScratch::default(), |picture| {
            for (component, plane) in picture.planes.iter().enumerate() {
                let got: Vec<u8> = plane.rows().flatten().copied().collect();
                assert_eq!(got, expected[component], "{format:?} {component}");
            }
        });
    }
}

#[test]
fn memory_that_is_too_small_is_refused() {
    let mut y = vec![0; 16];
    let color = Colorimetry::BT601;
    let error = RawFrame::new(PixelFormat::Gray8, 4, 4, color, vec![(&mut y, 3)]).err();
    assert_eq!(
        error,
        Some(FrameError::Stride {
            plane: 0,
            stride: 3,
            row: 4
        })
    );
    let error = RawFrame::new(PixelFormat::Gray8, 4, 4, color, vec![(&mut y, 5)]).err();
    assert_eq!(
        error,
        Some(FrameError::Short {
            plane: 0,
            len: 16,
            needed: 19
        })
    );
    let error = RawFrame::new(PixelFormat::Nv12, 4, 4, color, vec![(&mut y, 4)]).err();
    assert_eq!(error, Some(FrameError::PlaneCount(PixelFormat::Nv12, 2, 1)));
}

#[test]
fn colour_conversion_is_invertible_and_knows_black_and_white() {
    for color in [
        Colorimetry::BT601,
        Colorimetry::BT709,
        Colorimetry {
            limited: false,
            ..Colorimetry::BT709
        },
    ] {
        let (black, range) = color.luma_range();
        for (rgb, y) in [([0.0; 3], black), ([1.0; 3], black + range)] {
            let code = color.encode(rgb);
            assert!((code[0] - y).abs() < 1e-3);
            assert!((code[1] - 128.0).abs() < 1e-3 && (code[2] - 128.0).abs() < 1e-3);
        }
        let rgb = [0.2, 0.7, 0.4];
        let back = color.decode(color.encode(rgb));
        for (a, b) in rgb.iter().zip(back) {
            assert!((a - b).abs() < 1e-5);
        }
    }
    // Pure red in BT.601 limited range, from the recommendation: 81, 90, 240.
    let red = Colorimetry::BT601.encode([1.0, 0.0, 0.0]).map(f32::round);
    assert_eq!(red, [81.0, 90.0, 240.0]);
}
