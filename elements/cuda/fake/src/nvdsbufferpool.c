// SPDX-License-Identifier: Apache-2.0
// DeepStream's pool of frames in NVMM, for tests: the one function that GStreamer's nvcodec and the suite call. A
// buffer's memory is a description, as nvbufsurface.h lays it out, of a picture in the driver's memory, in the primary
// context; its rows are 256 bytes apart, or a multiple. As with DeepStream's, nobody has filled it when it is new.
//
// It takes nothing but what it is told in every field: caps in NVMM, the size of a description, a batch of one picture,
// memory of the device, and the GPU.

#include <dlfcn.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint32_t num_planes, width[4], height[4], pitch[4], offset[4], psize[4], bytes_per_pixel[4];
                 void *reserved[16]; } PlaneParams;
typedef struct { uint32_t width, height, pitch; int color_format, layout; uint64_t desc; uint32_t data_size;
                 void *data; PlaneParams planes; void *mapped[9], *extended, *reserved[3]; } Params;
typedef struct { uint32_t gpu_id, batch_size, num_filled; bool is_contiguous; int mem_type; Params *list;
                 bool imported; void *reserved[3]; } Surface;
G_STATIC_ASSERT(sizeof(Surface) == 64);

// The description and what it points to.
typedef struct { Surface surface; Params params; } Frame;

typedef unsigned long long Address;
static int (*retain)(void **, int), (*push)(void *), (*pop)(void **), (*allocate)(Address *, size_t), (*release)(Address);

static int driver(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library) return 0;
  *(void **)&retain = dlsym(library, "cuDevicePrimaryCtxRetain");
  *(void **)&push = dlsym(library, "cuCtxPushCurrent_v2");
  *(void **)&pop = dlsym(library, "cuCtxPopCurrent_v2");
  *(void **)&allocate = dlsym(library, "cuMemAlloc_v2");
  *(void **)&release = dlsym(library, "cuMemFree_v2");
  return retain && push && pop && allocate && release;
}

typedef struct { GstBufferPool parent; GstVideoInfo info; guint gpu; } FakePool;
typedef struct { GstBufferPoolClass parent_class; } FakePoolClass;
G_DEFINE_TYPE(FakePool, fake_pool, GST_TYPE_BUFFER_POOL)

static gboolean set_config(GstBufferPool *base, GstStructure *config) {
  FakePool *pool = (FakePool *)base;
  GstCaps *caps = NULL;
  guint size, least, most, memtype, batch;
  if (!gst_buffer_pool_config_get_params(config, &caps, &size, &least, &most) || !caps) return FALSE;
  if (!gst_caps_features_contains(gst_caps_get_features(caps, 0), "memory:NVMM")) return FALSE;
  if (!gst_structure_get_uint(config, "memtype", &memtype) || memtype != 2) return FALSE;
  if (!gst_structure_get_uint(config, "batch-size", &batch) || batch != 1) return FALSE;
  if (!gst_structure_get_uint(config, "gpu-id", &pool->gpu)) return FALSE;
  if (size != sizeof(Surface) || !gst_video_info_from_caps(&pool->info, caps)) return FALSE;
  return GST_BUFFER_POOL_CLASS(fake_pool_parent_class)->set_config(base, config);
}

static void destroy(gpointer data) {
  Frame *frame = data;
  void *context;
  if (!retain(&context, (int)frame->surface.gpu_id) && !push(context)) {
    release((Address)(uintptr_t)frame->params.data);
    pop(&context);
  }
  g_free(frame);
}

static GstFlowReturn alloc_buffer(GstBufferPool *base, GstBuffer **buffer, GstBufferPoolAcquireParams *params) {
  FakePool *pool = (FakePool *)base;
  const GstVideoInfo *info = &pool->info;
  Frame *frame = g_new0(Frame, 1);
  PlaneParams *planes = &frame->params.planes;
  (void)params;
  planes->num_planes = GST_VIDEO_INFO_N_PLANES(info);
  size_t bytes = 0;
  for (guint i = 0; i < planes->num_planes; i++) {
    // The first component of a plane has its height.
    guint component = 0;
    while ((guint)GST_VIDEO_INFO_COMP_PLANE(info, component) != i) component++;
    planes->width[i] = (guint)GST_VIDEO_INFO_COMP_WIDTH(info, component);
    planes->height[i] = (guint)GST_VIDEO_INFO_COMP_HEIGHT(info, component);
    planes->pitch[i] = ((guint)GST_VIDEO_INFO_PLANE_STRIDE(info, i) + 255) / 256 * 256;
    planes->offset[i] = (guint)bytes;
    planes->psize[i] = planes->pitch[i] * planes->height[i];
    bytes += planes->psize[i];
  }
  void *context;
  Address at;
  if (!retain || retain(&context, (int)pool->gpu) || push(context)) return g_free(frame), GST_FLOW_ERROR;
  int failed = allocate(&at, bytes);
  pop(&context);
  if (failed) return g_free(frame), GST_FLOW_ERROR;
  frame->params.width = (guint)GST_VIDEO_INFO_WIDTH(info);
  frame->params.height = (guint)GST_VIDEO_INFO_HEIGHT(info);
  frame->params.pitch = planes->pitch[0];
  frame->params.data_size = (uint32_t)bytes;
  frame->params.data = (void *)(uintptr_t)at;
  frame->surface = (Surface){ .gpu_id = pool->gpu, .batch_size = 1, .is_contiguous = true, .mem_type = 2,
                              .list = &frame->params };
  *buffer = gst_buffer_new();
  gst_buffer_append_memory(*buffer, gst_memory_new_wrapped(0, frame, sizeof(Surface), 0, sizeof(Surface), frame, destroy));
  return GST_FLOW_OK;
}

static void fake_pool_class_init(FakePoolClass *class) {
  GstBufferPoolClass *pool = GST_BUFFER_POOL_CLASS(class);
  pool->set_config = set_config;
  pool->alloc_buffer = alloc_buffer;
}
static void fake_pool_init(FakePool *pool) { (void)pool; }

__attribute__((visibility("default"))) GstBufferPool *gst_nvds_buffer_pool_new(void) {
  if (!driver()) return NULL;
  return g_object_ref_sink(g_object_new(fake_pool_get_type(), NULL));
}
