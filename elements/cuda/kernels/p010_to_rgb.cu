// SPDX-License-Identifier: Apache-2.0
// P010 to planes of red, green and blue.

SEMIPLANAR_TO_RGB(p010_to_rgb, f32, u16, 6)
SEMIPLANAR_TO_RGB(p010_to_rgb, f16, u16, 6)
