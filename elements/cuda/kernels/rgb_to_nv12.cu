// SPDX-License-Identifier: Apache-2.0
// Planes of red, green and blue to NV12.

RGB_TO_SEMIPLANAR(rgb_to_nv12, f32, u8, 0)
RGB_TO_SEMIPLANAR(rgb_to_nv12, f16, u8, 0)
