// SPDX-License-Identifier: Apache-2.0
// A decoder's library that decodes nothing: GStreamer's plugin nvcodec has cudaupload and cudadownload
// only where there is one.

#define NONE(NAME) __attribute__((visibility("default"))) int cuvid##NAME(void) { return 801; }
NONE(CreateDecoder)
NONE(CreateVideoParser)
NONE(CtxLock)
NONE(CtxLockCreate)
NONE(CtxLockDestroy)
NONE(CtxUnlock)
NONE(DecodePicture)
NONE(DestroyDecoder)
NONE(DestroyVideoParser)
NONE(GetDecoderCaps)
NONE(MapVideoFrame64)
NONE(ParseVideoData)
NONE(UnmapVideoFrame64)
