// SPDX-License-Identifier: Apache-2.0
// Planes of red, green and blue to P010.

RGB_TO_SEMIPLANAR(rgb_to_p010, f32, u16, 6)
RGB_TO_SEMIPLANAR(rgb_to_p010, f16, u16, 6)
