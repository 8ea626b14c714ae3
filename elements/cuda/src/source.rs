// SPDX-License-Identifier: Apache-2.0
//! The kernels' text.

/// What every kernel begins with.
pub const COMMON: &str = include_str!("../kernels/common.h");

/// A file of kernels.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's name without its ending.
    pub name: &'static str,
    body: &'static str,
    /// The kernels in it.
    pub entries: &'static [&'static str],
}

impl Source {
    /// The text to compile, for NVRTC or a C compiler. Errors name the lines of the two files.
    pub fn text(&self) -> String {
        format!(
            "#line 1 \"common.h\"\n{COMMON}\n#line 1 \"{}.cu\"\n{}",
            self.name, self.body
        )
    }
}

macro_rules! sources {
    ($($name:literal: $($entry:literal),+;)+) => {
        /// Every file.
        pub const SOURCES: &[Source] = &[$(Source {
            name: $name,
            body: include_str!(concat!("../kernels/", $name, ".cu")),
            entries: &[$($entry),+],
        }),+];
    };
}

sources! {
    "nv12_to_rgb": "nv12_to_rgb_f32", "nv12_to_rgb_f16";
    "p010_to_rgb": "p010_to_rgb_f32", "p010_to_rgb_f16";
    "rgba_to_rgb": "rgba_to_rgb_f32", "rgba_to_rgb_f16";
    "rgb_to_nv12": "rgb_to_nv12_f32", "rgb_to_nv12_f16";
    "rgb_to_p010": "rgb_to_p010_f32", "rgb_to_p010_f16";
    "rgb_to_rgba": "rgb_to_rgba_f32", "rgb_to_rgba_f16";
    "classify": "classify_rows", "classify_finish_f32", "classify_finish_f16";
    "codec_unshuffle": "codec_unshuffle_f32", "codec_unshuffle_f16";
    "codec_shuffle": "codec_shuffle_f32", "codec_shuffle_f16";
    "codec_round": "codec_round_i8_f32", "codec_round_i8_f16", "codec_round_i16_f32", "codec_round_i16_f16";
    "codec_scatter": "codec_scatter";
    "codec_predict": "codec_predict_8", "codec_predict_10";
    "codec_add": "codec_add_8", "codec_add_10", "codec_add_large_8", "codec_add_large_10", "codec_add_fine_8", "codec_add_fine_10";
    "codec_merge": "codec_merge_8", "codec_merge_10";
    "codec_filter": "codec_bend_8", "codec_bend_10", "codec_filter_8", "codec_filter_10",
        "codec_judge_8", "codec_judge_10", "codec_tally", "codec_pick";
    "codec_show": "codec_show";
    "codec_load": "codec_load";
    "codec_errors": "codec_errors_8", "codec_errors_10", "codec_spread_8", "codec_spread_10";
    "codec_gather": "codec_count", "codec_sum", "codec_gather";
    "codec_half": "codec_eight", "codec_half";
    "codec_coarse": "codec_coarse";
    "codec_motion": "codec_start", "codec_settle", "codec_refine", "codec_refine_parts", "codec_divide";
    "lut3d": "lut3d_rgba", "lut3d_planes";
    "point": "point_8", "point_10";
    "detect": "detect_f32", "detect_u8";
    "upscale": "upscale_pad", "upscale_crop", "upscale_chroma";
    "picture_copy": "picture_copy";
    "picture_sums": "picture_sums";
    "noise": "noise";
    "temporal": "temporal";
    "clahe": "clahe_count", "clahe_curves", "clahe_apply";
    "light": "light";
    "image": "image_cut_f32", "image_cut_u8", "image_paste_f32", "image_paste_u8", "image_luma", "image_colours", "image_enlarge";
    "blur": "blur_sum", "blur_mean", "blur_convolve", "blur_merge", "blur_input";
    "steady": "steady_reduce", "steady_warp";
    "restore_read": "restore_read";
    "restore_change": "restore_change";
}

/// The file that has this kernel.
pub fn of(entry: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|s| s.entries.contains(&entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_with_names_of_its_own() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".cu").map(str::to_string))
            .collect();
        files.sort();
        let mut listed: Vec<&str> = SOURCES.iter().map(|s| s.name).collect();
        listed.sort();
        assert_eq!(files, listed);
        let mut entries: Vec<&str> = SOURCES.iter().flat_map(|s| s.entries).copied().collect();
        let count = entries.len();
        entries.sort();
        entries.dedup();
        assert_eq!(entries.len(), count);
        assert!(entries.iter().all(|entry| of(entry).is_some()));
        assert!(of("nothing").is_none());
    }
}
