// SPDX-License-Identifier: Apache-2.0
//! `.cube` files: colour tables of one or three dimensions, as video programs exchange them.
//!
//! The format is text: keywords (`TITLE`, `LUT_1D_SIZE`, `LUT_3D_SIZE`, `DOMAIN_MIN`, `DOMAIN_MAX`,
//! `LUT_1D_INPUT_RANGE`, `LUT_3D_INPUT_RANGE`), then a line of red, green and blue for each entry,
//! red changing fastest. `#` begins a comment.

use std::io::Read;
use std::path::Path;

/// Largest number of entries along an axis of three.
const MAX_3D: usize = 129;
const MAX_1D: usize = 65_536;
/// Text of the largest table with room to spare.
const MAX_BYTES: u64 = 128 << 20;

/// Why a file is no table.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CubeError {
    #[error("cannot read {path}: {error}; give the path of a .cube file")]
    Open { path: String, error: String },
    #[error("{path}, line {line}: {problem}")]
    Line {
        path: String,
        line: usize,
        problem: String,
    },
    #[error("{path} is no .cube file: {problem}")]
    Whole { path: String, problem: String },
}

/// A colour table. Entries are red, green and blue of 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Cube {
    pub title: String,
    /// Entries along an axis.
    pub size: usize,
    /// With three axes there are `size³` entries, else `size`.
    pub three: bool,
    pub min: [f32; 3],
    pub max: [f32; 3],
    pub entries: Vec<[f32; 3]>,
}

impl Cube {
    /// The table's colour for one of 0 to 1, in floating point: between entries on a line, or
    /// between the corners of a tetrahedron.
    pub fn sample(&self, rgb: [f32; 3]) -> [f32; 3] {
        let last = self.size - 1;
        let place: [f32; 3] = std::array::from_fn(|c| {
            let at = (rgb[c] - self.min[c]) / (self.max[c] - self.min[c]);
            at.clamp(0.0, 1.0) * last as f32
        });
        let low = place.map(|p| (p as usize).min(last - 1));
        let part: [f32; 3] = std::array::from_fn(|c| place[c] - low[c] as f32);
        if !self.three {
            return std::array::from_fn(|c| {
                let (a, b) = (self.entries[low[c]][c], self.entries[low[c] + 1][c]);
                a + (b - a) * part[c]
            });
        }
        // From the cell's first corner to its last along the axes, the longest part first.
        let mut axes = [0, 1, 2];
        axes.sort_by(|a, b| part[*b].total_cmp(&part[*a]));
        let step = [1, self.size, self.size * self.size];
        let mut corner = low[0] + low[1] * step[1] + low[2] * step[2];
        let mut sum = self.entries[corner].map(|v| v * (1.0 - part[axes[0]]));
        for (k, axis) in axes.into_iter().enumerate() {
            corner += step[axis];
            let weight = part[axis] - axes.get(k + 1).map_or(0.0, |next| part[*next]);
            for (sum, v) in sum.iter_mut().zip(self.entries[corner]) {
                *sum += v * weight;
            }
        }
        sum
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, CubeError> {
        let name = path.display().to_string();
        let open = |error: String| CubeError::Open {
            path: name.clone(),
            error,
        };
        let file = std::fs::File::open(path).map_err(|e| open(e.to_string()))?;
        // A device or a pipe might never end.
        let kind = file.metadata().map_err(|e| open(e.to_string()))?;
        if !kind.is_file() {
            return Err(open("it is not a regular file".into()));
        }
        if kind.len() > MAX_BYTES {
            return Err(open(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|e| open(e.to_string()))?;
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|wrong| match wrong {
            (Some(line), problem) => CubeError::Line {
                path: name,
                line,
                problem,
            },
            (None, problem) => CubeError::Whole {
                path: name,
                problem,
            },
        })
    }

    /// Reads the text of a file. Errors come with their line, counted from 1.
    pub fn parse(text: &str) -> Result<Self, (Option<usize>, String)> {
        let mut cube = Self {
            title: String::new(),
            size: 0,
            three: false,
            min: [0.0; 3],
            max: [1.0; 3],
            entries: Vec::new(),
        };
        let mut wanted = 0;
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem: String| (Some(index + 1), problem);
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            if word.starts_with(|c: char| c.is_ascii_alphabetic()) && !is_number(word) {
                if !cube.entries.is_empty() {
                    return Err(wrong(format!("{word} after the table began")));
                }
                match word {
                    "TITLE" => cube.title = rest.trim_matches('"').to_string(),
                    "LUT_1D_SIZE" | "LUT_3D_SIZE" => {
                        if wanted != 0 {
                            return Err(wrong("a second size".into()));
                        }
                        cube.three = word == "LUT_3D_SIZE";
                        let most = if cube.three { MAX_3D } else { MAX_1D };
                        cube.size = rest
                            .parse()
                            .ok()
                            .filter(|size| (2..=most).contains(size))
                            .ok_or_else(|| {
                                wrong(format!("{word} takes 2 to {most}, not \"{rest}\""))
                            })?;
                        wanted = if cube.three {
                            cube.size.pow(3)
                        } else {
                            cube.size
                        };
                        cube.entries.reserve(wanted);
                    }
                    "DOMAIN_MIN" => cube.min = numbers(rest).map_err(wrong)?,
                    "DOMAIN_MAX" => cube.max = numbers(rest).map_err(wrong)?,
                    "LUT_1D_INPUT_RANGE" | "LUT_3D_INPUT_RANGE" => {
                        let [min, max] = numbers(rest).map_err(wrong)?;
                        (cube.min, cube.max) = ([min; 3], [max; 3]);
                    }
                    _ => return Err(wrong(format!("unknown keyword {word}"))),
                }
                if cube.min.iter().zip(cube.max).any(|(min, max)| max <= *min)
                    && word != "DOMAIN_MIN"
                {
                    return Err(wrong("the domain's end is not above its begin".into()));
                }
                continue;
            }
            if wanted == 0 {
                return Err(wrong("entries before LUT_1D_SIZE or LUT_3D_SIZE".into()));
            }
            if cube.entries.len() == wanted {
                return Err(wrong(format!(
                    "more than the {wanted} entries that are due"
                )));
            }
            cube.entries.push(numbers(line).map_err(wrong)?);
        }
        if wanted == 0 {
            return Err((None, "it has neither LUT_1D_SIZE nor LUT_3D_SIZE".into()));
        }
        if cube.entries.len() < wanted {
            let (found, last) = (cube.entries.len(), text.lines().count());
            return Err((
                Some(last),
                format!("the file ends after {found} of {wanted} entries"),
            ));
        }
        if cube.min.iter().zip(cube.max).any(|(min, max)| max <= *min) {
            return Err((None, "the domain's end is not above its begin".into()));
        }
        Ok(cube)
    }

    /// The text that [`Cube::parse`] reads.
    pub fn print(&self) -> String {
        let mut text = format!("TITLE \"{}\"\n", self.title);
        let dimensions = if self.three { 3 } else { 1 };
        text.push_str(&format!("LUT_{dimensions}D_SIZE {}\n", self.size));
        let mut line = |word: &str, [a, b, c]: [f32; 3]| {
            text.push_str(&format!("{word}{a} {b} {c}\n"));
        };
        line("DOMAIN_MIN ", self.min);
        line("DOMAIN_MAX ", self.max);
        for entry in &self.entries {
            line("", *entry);
        }
        text
    }
}

/// True for words that begin with a letter and are numbers to the standard library.
fn is_number(word: &str) -> bool {
    word.parse::<f32>().is_ok()
}

fn numbers<const N: usize>(text: &str) -> Result<[f32; N], String> {
    let mut numbers = [0.0; N];
    let mut words = text.split_whitespace();
    for number in &mut numbers {
        let word = words
            .next()
            .ok_or_else(|| format!("{N} numbers are due, not \"{text}\""))?;
        *number = word
            .parse()
            .ok()
            .filter(|v: &f32| v.is_finite() && v.abs() <= 1e6)
            .ok_or_else(|| format!("\"{word}\" is not a number"))?;
    }
    match words.next() {
        Some(_) => Err(format!("{N} numbers are due, not \"{text}\"")),
        None => Ok(numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TINY: &str = "# made by hand\nTITLE \"tiny\"\nLUT_3D_SIZE 2\n\n0 0 0\n1 0 0\n0 1 0\n1 1 0\n\
                        0 0 1\n1 0 1\n0 1 1\n1 1 1\n";

    #[test]
    fn tables_are_read() {
        let cube = Cube::parse(TINY).unwrap();
        assert!(cube.three && cube.size == 2 && cube.title == "tiny");
        assert_eq!(cube.entries[1], [1.0, 0.0, 0.0]);
        assert_eq!(cube.entries[4], [0.0, 0.0, 1.0]);
        let cube = Cube::parse(
            "\u{feff}LUT_1D_SIZE 2\r\nLUT_1D_INPUT_RANGE -1 2\r\n.5 0 0\r\n1e0 1 1\r\n",
        );
        let cube = cube.unwrap();
        assert!(!cube.three && cube.min == [-1.0; 3] && cube.max == [2.0; 3]);
        assert_eq!(cube.entries, [[0.5, 0.0, 0.0], [1.0; 3]]);
    }

    #[test]
    fn errors_name_the_line() {
        let wrong = |text: &str| Cube::parse(text).expect_err(text);
        let at = |text: &str, line: usize, part: &str| {
            let (found, problem) = wrong(text);
            assert_eq!(found, Some(line), "{problem}");
            assert!(problem.contains(part), "{problem}");
        };
        at("LUT_3D_SIZE 1\n", 1, "2 to 129");
        at("LUT_3D_SIZE 9999999999999999999999\n", 1, "2 to 129");
        at("TITLE \"x\"\nLUT_1D_SIZE x\n", 2, "not \"x\"");
        at("0 0 0\n", 1, "before LUT_1D_SIZE");
        at("LUT_1D_SIZE 2\n0 0 zero\n", 2, "\"zero\" is not a number");
        at("LUT_1D_SIZE 2\n0 0\n", 2, "3 numbers are due");
        at("LUT_1D_SIZE 2\n0 0 0 0\n", 2, "3 numbers are due");
        at("LUT_1D_SIZE 2\n0 0 nan\n", 2, "\"nan\" is not a number");
        at("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n1 1 1\n", 4, "more than the 2");
        at("LUT_1D_SIZE 2\n0 0 0\n", 2, "after 1 of 2");
        at("LUT_1D_SIZE 2\nLUT_1D_SIZE 2\n", 2, "a second size");
        at("LUT_1D_SIZE 2\n0 0 0\nTITLE x\n", 3, "after the table");
        at("DOMAIN_MAX 0 1 1\n", 1, "not above");
        at("COLOURS 3\n", 1, "unknown keyword COLOURS");
        assert_eq!(wrong("").0, None);
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let text = Cube::read(Path::new("/no/such.cube"))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("/no/such.cube") && text.contains("No such file"),
            "{text}"
        );
        let text = Cube::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(text.contains("not a regular file"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.cube");
        std::fs::write(&path, "LUT_3D_SIZE 2\n0 0 x\n").unwrap();
        let text = Cube::read(&path).unwrap_err().to_string();
        assert!(
            text.ends_with("bad.cube, line 2: \"x\" is not a number"),
            "{text}"
        );
    }

    proptest! {
        /// No text makes the reader panic, and what it takes prints to the same table.
        #[test]
        fn any_text_is_taken_or_refused(
            lines in proptest::collection::vec("(LUT_[13]D_SIZE [0-9]{1,3}|TITLE .{0,9}|DOMAIN_M(IN|AX) [0-9. -]{0,12}|[0-9.eE+-]{1,5} [0-9.]{1,4} [0-9]{1,3}|.{0,12})", 0..14)
        ) {
            if let Ok(cube) = Cube::parse(&lines.join("\n")) {
                let title = cube.title.contains(['"', '\r']) || cube.title.trim() != cube.title;
                if !title {
                    prop_assert_eq!(Cube::parse(&cube.print()).unwrap(), cube);
                }
            }
        }
    }
}
