// SPDX-License-Identifier: Apache-2.0
//! Where scenes begin and end, without GStreamer.
//!
//! * [`thumbnail`]: what is kept of a picture;
//! * [`cuts`]: which pictures are the first of a scene;
//! * [`list`]: the scenes, and what was found in them;
//! * [`edl`]: the list as an edit decision list (CMX 3600).

pub mod cuts;
pub mod edl;
pub mod list;
pub mod thumbnail;

pub use cuts::{Cut, CutFinder, Sensitivity};
pub use list::{Scene, SceneList};
pub use thumbnail::Thumbnail;
