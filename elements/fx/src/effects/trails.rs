// SPDX-License-Identifier: Apache-2.0
//! Motion trails: what was there fades slowly.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::Picture;
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "trails",
    aliases: &["motion-trails"],
    nick: "Motion trails",
    blurb: "Moving things draw a trail: each frame keeps a share of those before",
    params: &[Param {
        name: "persistence",
        nick: "Persistence",
        blurb: "Share of what was shown that stays with each frame; 0 keeps the picture",
        kind: Kind::Float {
            min: 0.0,
            max: 0.99,
            default: 0.8,
        },
    }],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let keep = (values.float("persistence") * 65536.0).round() as u32;
    if keep == 0 {
        return Pass::Nothing;
    }
    Pass::Picture(Box::new(Trails {
        keep,
        salt: build.salt,
    }))
}

struct Trails {
    /// Of 65536.
    keep: u32,
    salt: u64,
}

impl PicturePass for Trails {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        // Eight more bits than a frame has, or trails would never end.
        let planes = &mut picture.planes;
        let known = tools.recall(self.salt).filter(|memory| {
            let sizes = planes.iter().map(|plane| plane.width * plane.height);
            memory.iter().map(Vec::len).eq(sizes)
        });
        let mut memory = known.unwrap_or_else(|| {
            let fresh = planes.iter().map(|plane| {
                let bytes = plane.rows().flatten();
                bytes.map(|v| u16::from(*v) << 8).collect()
            });
            fresh.collect()
        });
        for (plane, memory) in planes.iter_mut().zip(&mut memory) {
            let width = plane.width.max(1);
            let rows = plane.rows_mut().zip(memory.chunks_mut(width)).collect();
            tools.workers.each_many(rows, |(row, memory)| {
                kernels::follow(row, memory, self.keep);
            });
        }
        tools.remember(self.salt, memory);
    }
}

#[cfg(test)]
mod tests {
    use crate::chain::{Chain, Renderer, registry_defaults, resolve};
    use crate::parse::parse;
    use crate::pass::Moment;
    use crate::picture::{Colorimetry, PixelFormat, RawFrame};

    fn show(chain: &Chain, renderer: &mut Renderer, value: u8) -> u8 {
        let mut data = vec![value; 64];
        let planes = vec![(data.as_mut_slice(), 8)];
        let color = Colorimetry::BT601;
        let frame = RawFrame::new(PixelFormat::Gray8, 8, 8, color, planes).unwrap();
        chain.run(frame, &Moment::default(), renderer);
        assert!(data.iter().all(|v| *v == data[0]));
        data[0]
    }

    fn chain(text: &str) -> Chain {
        let effects = resolve(&parse(text).unwrap(), &registry_defaults());
        Chain::new(&effects, 1.0, PixelFormat::Gray8, 8, 8, Colorimetry::BT601)
    }

    #[test]
    fn trails_fade_and_end() {
        let mut renderer = Renderer::new(1).unwrap();
        let half = chain("trails:persistence=0.5");
        let seen: Vec<u8> = [200, 0, 0, 0]
            .map(|v| show(&half, &mut renderer, v))
            .to_vec();
        assert_eq!(seen, [200, 100, 50, 25]);
        // A parameter that moves makes another chain, which goes on where the first one was.
        let slow = chain("trails:persistence=0.9");
        assert_eq!(show(&slow, &mut renderer, 0), 22);
        for _ in 0..200 {
            show(&slow, &mut renderer, 0);
        }
        assert_eq!(show(&slow, &mut renderer, 0), 0, "nothing stays for ever");
    }

    #[test]
    fn jumps_and_frames_without_it_end_the_trail() {
        let mut renderer = Renderer::new(1).unwrap();
        let half = chain("trails:persistence=0.5");
        show(&half, &mut renderer, 200);
        renderer.forget();
        assert_eq!(show(&half, &mut renderer, 10), 10);
        show(&chain("blur"), &mut renderer, 99);
        assert_eq!(show(&half, &mut renderer, 40), 40);
    }
}
