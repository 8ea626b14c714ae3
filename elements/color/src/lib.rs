// SPDX-License-Identifier: Apache-2.0
//! Tables of colours, for effects and enhancement alike.
//!
//! * [`cube`]: `.cube` files;
//! * [`table`]: tables of three dimensions in fixed point, and the kernel that looks colours up,
//!   interpolating in tetrahedra;
//! * [`planes`]: the same over 4:2:0 pictures of eight or ten bits;
//! * [`level`]: which instructions the machine has.

pub mod cube;
pub mod level;
pub mod planes;
pub mod table;
