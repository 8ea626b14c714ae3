// SPDX-License-Identifier: Apache-2.0
//! Objects as the regions of interest that buffers carry.

use aivideo_meta::Detection;

use super::track::Tracked;

/// An object, in pixels of a picture of `size`, in whole ones; nothing where none is left of it.
pub fn region(tracked: &Tracked, label: String, size: (u32, u32)) -> Option<Detection> {
    let o = &tracked.object;
    let side = |value: f32, most: u32| (value.round().max(0.0) as u32).min(most);
    let (x, y) = (side(o.x0, size.0), side(o.y0, size.1));
    let (width, height) = (
        side(o.x1, size.0).saturating_sub(x),
        side(o.y1, size.1).saturating_sub(y),
    );
    (width > 0 && height > 0).then(|| Detection {
        label,
        label_id: i32::try_from(o.class).ok(),
        confidence: Some(f64::from(o.score)),
        x,
        y,
        width,
        height,
        object_id: tracked.id,
        attributes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Object, *};

    #[test]
    fn boxes_end_at_the_picture() {
        let object = Object {
            x0: -3.0,
            y0: 10.4,
            x1: 70.0,
            y1: 20.6,
            score: 0.5,
            class: 2,
        };
        let tracked = Tracked {
            object,
            id: Some(7),
        };
        let d = region(&tracked, "bus".into(), (64, 32)).expect("inside");
        assert_eq!((d.x, d.y, d.width, d.height), (0, 10, 64, 11));
        assert_eq!((d.label_id, d.object_id), (Some(2), Some(7)));
        assert!(region(&tracked, "bus".into(), (64, 10)).is_none());
    }
}
