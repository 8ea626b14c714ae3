// SPDX-License-Identifier: Apache-2.0
// NV12 to planes of red, green and blue.

SEMIPLANAR_TO_RGB(nv12_to_rgb, f32, u8, 0)
SEMIPLANAR_TO_RGB(nv12_to_rgb, f16, u8, 0)
