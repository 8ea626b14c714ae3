// SPDX-License-Identifier: Apache-2.0
//! Threads and spare memory for effects.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::picture::Plane;

/// Threads that share the rows of a picture.
pub struct Workers {
    /// None: everything runs on the caller's thread.
    pool: Option<rayon::ThreadPool>,
}

impl Workers {
    /// `threads` threads, 0 for one a core.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            threads => threads,
        };
        let pool = if threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("fxfilter-{index}"))
                .build()?;
            Some(pool)
        } else {
            None
        };
        Ok(Self { pool })
    }

    pub fn threads(&self) -> usize {
        self.pool
            .as_ref()
            .map_or(1, |pool| pool.current_num_threads())
    }

    /// Runs `f` on each item, in parallel when there are threads.
    pub fn each<T: Send>(&self, items: Vec<T>, f: impl Fn(T) + Sync) {
        match &self.pool {
            Some(pool) if items.len() > 1 => pool.scope(|scope| {
                for item in items {
                    let f = &f;
                    scope.spawn(move |_| f(item));
                }
            }),
            _ => items.into_iter().for_each(f),
        }
    }

    /// Like [`Workers::each`] for many small items, which threads take in runs.
    pub fn each_many<T: Send>(&self, items: Vec<T>, f: impl Fn(T) + Sync) {
        let Some(pool) = &self.pool else {
            return items.into_iter().for_each(f);
        };
        let run = items.len().div_ceil(pool.current_num_threads()).max(1);
        let mut items = items.into_iter();
        pool.scope(|scope| {
            while items.len() > 0 {
                let (run, f) = (items.by_ref().take(run).collect::<Vec<_>>(), &f);
                scope.spawn(move |_| run.into_iter().for_each(f));
            }
        });
    }
}

/// What an effect remembers: values of 256 for 1, by plane.
pub type Memory = Vec<Vec<u16>>;

/// What whole-picture effects work with.
pub struct Tools {
    pub workers: Workers,
    spare: Mutex<Vec<Vec<u8>>>,
    /// What effects remember from frame to frame, by their salt, and whether the latest frame
    /// made use of it. It outlives the effects, which are built anew when a parameter moves.
    memories: Mutex<HashMap<u64, (Memory, bool)>>,
}

/// A copy of a plane with its edges repeated left and right.
pub struct Padded {
    data: Vec<u8>,
    stride: usize,
    height: usize,
}

impl Padded {
    /// A row with its padding; rows beyond the edges are the first and last one.
    pub fn row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize;
        &self.data[y * self.stride..][..self.stride]
    }
}

impl Tools {
    pub fn new(workers: Workers) -> Self {
        Self {
            workers,
            spare: Mutex::new(Vec::new()),
            memories: Mutex::new(HashMap::new()),
        }
    }

    /// A buffer of at least `len` bytes with any contents. Fresh memory costs a page fault every
    /// 4 KiB, so buffers are kept for the next frame.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let mut buffer = spare.unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }

    pub fn give(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(|e| e.into_inner());
        if spare.len() < 8 {
            spare.push(buffer);
        }
    }

    /// What the effect of this salt left with [`Tools::remember`] at the frame before.
    pub fn recall(&self, salt: u64) -> Option<Memory> {
        let mut memories = self.memories.lock().unwrap_or_else(|e| e.into_inner());
        memories.remove(&salt).map(|(memory, _)| memory)
    }

    pub fn remember(&self, salt: u64, memory: Memory) {
        let mut memories = self.memories.lock().unwrap_or_else(|e| e.into_inner());
        memories.insert(salt, (memory, true));
    }

    /// Drops the memory of effects that had no part in this frame.
    pub fn end_frame(&self) {
        let mut memories = self.memories.lock().unwrap_or_else(|e| e.into_inner());
        memories.retain(|_, (_, used)| std::mem::replace(used, false));
    }

    pub fn forget(&self) {
        let mut memories = self.memories.lock().unwrap_or_else(|e| e.into_inner());
        memories.clear();
    }

    /// A copy of a plane with `pad` more bytes on either side.
    pub fn padded(&self, plane: &Plane, pad: usize) -> Padded {
        let (width, height) = (plane.width, plane.height);
        let stride = width + 2 * pad;
        let mut data = self.take(stride * height);
        for (to, from) in data.chunks_mut(stride.max(1)).zip(plane.rows()) {
            to[pad..pad + width].copy_from_slice(from);
            to[..pad].fill(from[0]);
            to[pad + width..].fill(from[width - 1]);
        }
        Padded {
            data,
            stride,
            height,
        }
    }

    pub fn give_padded(&self, padded: Padded) {
        self.give(padded.data);
    }

    /// Calls `f` with horizontal strips of a plane, one a thread, and the row each begins at.
    /// Strips begin at multiples of `step` rows.
    pub fn strips(&self, plane: &mut Plane, step: usize, f: impl Fn(usize, &mut Plane) + Sync) {
        let (stride, width, height) = (plane.stride, plane.width, plane.height);
        let step = step.max(1);
        let steps = height.div_ceil(step);
        let rows = steps.div_ceil(self.workers.threads()) * step;
        if width == 0 || height == 0 {
            return;
        }
        let strips = plane
            .data
            .chunks_mut(rows * stride)
            .enumerate()
            .take(height.div_ceil(rows))
            .map(|(index, data)| {
                let first = index * rows;
                let strip = Plane {
                    data,
                    stride,
                    width,
                    height: rows.min(height - first),
                };
                (first, strip)
            })
            .collect();
        self.workers
            .each(strips, |(first, mut strip)| f(first, &mut strip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_cover_every_row_once() {
        for threads in [1, 3] {
            let tools = Tools::new(Workers::new(threads).unwrap());
            assert_eq!(tools.workers.threads(), threads);
            for height in [1, 2, 7, 32, 33] {
                for step in [1, 2, 16, 64] {
                    // The last row has no padding, as in mapped frames.
                    let mut data = vec![0u8; 7 * (height - 1) + 5];
                    let mut plane = Plane {
                        data: &mut data,
                        stride: 7,
                        width: 5,
                        height,
                    };
                    tools.strips(&mut plane, step, |first, strip| {
                        assert_eq!(first % step, 0);
                        for (y, row) in strip.rows_mut().enumerate() {
                            row.fill((first + y + 1) as u8);
                        }
                    });
                    for y in 0..height {
                        assert_eq!(plane.row(y), [(y + 1) as u8; 5]);
                    }
                }
            }
        }
    }

    #[test]
    fn padding_repeats_the_edges() {
        let tools = Tools::new(Workers::new(1).unwrap());
        tools.give(vec![9; 100]);
        let mut data = vec![1, 2, 3, 4, 5, 6];
        let plane = Plane {
            data: &mut data,
            stride: 3,
            width: 3,
            height: 2,
        };
        let padded = tools.padded(&plane, 2);
        assert_eq!(padded.row(-5), [1, 1, 1, 2, 3, 3, 3]);
        assert_eq!(padded.row(7), [4, 4, 4, 5, 6, 6, 6]);
    }
}
