// SPDX-License-Identifier: Apache-2.0
// A CUDA driver on the host's memory, for tests: the part of libcuda.so.1 that the suite, GStreamer's
// libgstcuda call. It is stricter than a GPU where a GPU forgives:
//
// * Streams are lazy. What is started on one happens when somebody waits for it, and not before: a
//   result that is read without waiting is the old one, always.
// * Memory is closed (PROT_NONE) except while the driver works: host code that touches it crashes.
//   Behind each allocation lies a closed page.
// * Memory belongs to the context that it was made in. Copies and kernels that use another context's
//   memory, other than a peer copy that names both, end the process with a message.
//
// Kernels are shared objects made by nvrtc.c.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int Result;
typedef unsigned long long Address;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600, NOT_SUPPORTED = 801 };
#define API __attribute__((visibility("default"))) Result
#define PAGE 4096ull

typedef struct Stream Stream;
typedef struct { int primary; } Context;
typedef struct { Stream *stream; uint64_t at; } Event;
typedef struct Op { void (*run)(struct Op *); struct Op *next; Address to, from; size_t bytes; int value;
                    Stream *other; uint64_t at; void (*kernel)(const void *, unsigned, unsigned);
                    unsigned width, height; unsigned char args[1024]; } Op;
struct Stream { Op *first, *last; uint64_t issued, done; int blocking; Stream *next; };
typedef struct Block { Address at; size_t bytes, mapped; Context *context; struct Block *next; } Block;

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
#define LOCK pthread_mutex_lock(&mutex)
#define UNLOCK pthread_mutex_unlock(&mutex)

static Context primary = { 1 };
static int retained;
static Stream *streams;
static Block *blocks;
static int opened;
static __thread Context *stack[32];
static __thread int depth;

// What happened, for tests.
static struct { const char *name; uint64_t value; } counters[] = {
    { "to-device", 0 }, { "to-host", 0 }, { "on-device", 0 }, { "peer", 0 }, { "launches", 0 },
    { "waits", 0 }, { "blocks", 0 }, { "allocations", 0 }, { 0, 0 } };
enum { TO_DEVICE, TO_HOST, ON_DEVICE, PEER, LAUNCHES, WAITS, BLOCKS, ALLOCATIONS };

__attribute__((visibility("default"))) uint64_t fake_cuda_count(const char *name) {
  uint64_t value = ~0ull;
  LOCK;
  for (int i = 0; counters[i].name; i++)
    if (!strcmp(counters[i].name, name)) value = counters[i].value;
  UNLOCK;
  return value;
}

static void die(const char *what) {
  fprintf(stderr, "fake CUDA driver: %s\n", what);
  abort();
}

static Context *current(void) { return depth ? stack[depth - 1] : NULL; }

static Block *block_of(Address at) {
  for (Block *b = blocks; b; b = b->next)
    if (at >= b->at && at < b->at + b->bytes) return b;
  return NULL;
}

static void protect(int flags) {
  for (Block *b = blocks; b; b = b->next)
    if (mprotect((void *)b->at, b->mapped, flags)) die("mprotect");
}

static void open_memory(void) {
  if (opened++ == 0) protect(PROT_READ | PROT_WRITE);
}

static void close_memory(void) {
  if (--opened == 0) protect(PROT_NONE);
}

// The block with these bytes, which must be the context's.
static void check(Address at, size_t bytes, Context *context, const char *what) {
  Block *b = block_of(at);
  if (!b || at + bytes > b->at + b->bytes) die(what);
  if (context && b->context != context) {
    fprintf(stderr, "fake CUDA driver: %s: ", what);
    die("memory of another context");
  }
}

static void drain(Stream *s, uint64_t upto) {
  while (s->done < upto && s->first) {
    Op *op = s->first;
    s->first = op->next;
    if (!s->first) s->last = NULL;
    s->done++;
    open_memory();
    op->run(op);
    close_memory();
    free(op);
  }
}

static void drain_all(int blocking_only) {
  for (Stream *s = streams; s; s = s->next)
    if (s->blocking || !blocking_only) drain(s, s->issued);
}

// Puts an operation into a stream, or runs it at once in the legacy stream, which waits for others.
static void issue(Stream *s, Op op) {
  if (!s) {
    drain_all(1);
    open_memory();
    op.run(&op);
    close_memory();
    return;
  }
  Op *kept = malloc(sizeof op);
  *kept = op;
  kept->next = NULL;
  if (s->last) s->last->next = kept;
  else s->first = kept;
  s->last = kept;
  s->issued++;
}

static void run_copy(Op *op) { memmove((void *)op->to, (void *)op->from, op->bytes); }
static void run_set(Op *op) { memset((void *)op->to, op->value, op->bytes); }
static void run_wait(Op *op) { drain(op->other, op->at); }
static void run_kernel(Op *op) { op->kernel(op->args, op->width, op->height); }

// For the ONNX Runtime of this folder, which computes at once where a GPU would in its stream.
__attribute__((visibility("default"))) void fake_cuda_enter(void *stream) {
  LOCK;
  if (stream) drain(stream, ((Stream *)stream)->issued);
  open_memory();
  UNLOCK;
}
__attribute__((visibility("default"))) void fake_cuda_leave(void) {
  LOCK;
  close_memory();
  UNLOCK;
}
__attribute__((visibility("default"))) int fake_cuda_is_device(const void *at) {
  LOCK;
  int is = block_of((Address)at) != NULL;
  UNLOCK;
  return is;
}

API cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
API cuDriverGetVersion(int *v) { return *v = 13000, SUCCESS; }
API cuDeviceGetCount(int *n) { return *n = 1, SUCCESS; }
API cuDeviceGet(int *d, int n) { return n ? INVALID_DEVICE : (*d = 0, SUCCESS); }
API cuDeviceGetName(char *text, int n, int d) { return snprintf(text, n, "Fake GPU %d", d), SUCCESS; }
API cuDeviceTotalMem_v2(size_t *n, int d) { return (void)d, *n = 1ull << 32, SUCCESS; }
API cuDeviceCanAccessPeer(int *can, int a, int b) { return (void)a, (void)b, *can = 0, SUCCESS; }
API cuDeviceGetAttribute(int *v, int attribute, int d) {
  (void)d;
  switch (attribute) {
  case 14: *v = 512; break;                // texture alignment
  case 41: *v = 1; break;                  // unified addressing
  case 75: *v = 9; break;                  // compute capability
  case 115: *v = 1; break;                 // memory in the order of streams
  default: *v = 0;
  }
  return SUCCESS;
}
API cuGetErrorString(Result r, const char **text) { return (void)r, *text = "an error of the fake driver", SUCCESS; }
API cuGetErrorName(Result r, const char **text) { return (void)r, *text = "CUDA_ERROR_FAKE", SUCCESS; }

API cuDevicePrimaryCtxRetain(Context **c, int d) { return (void)d, retained++, *c = &primary, SUCCESS; }
API cuDevicePrimaryCtxRelease_v2(int d) { return (void)d, retained-- > 0 ? SUCCESS : INVALID_CONTEXT; }
API cuCtxCreate_v2(Context **c, unsigned flags, int d) {
  (void)flags, (void)d;
  *c = calloc(1, sizeof **c);
  stack[depth++] = *c;
  return SUCCESS;
}
// Not freed: its address must not come again.
API cuCtxDestroy_v2(Context *c) {
  if (current() == c) depth--;
  return SUCCESS;
}
API cuCtxPushCurrent_v2(Context *c) { return depth < 32 ? (stack[depth++] = c, SUCCESS) : INVALID_VALUE; }
API cuCtxPopCurrent_v2(Context **c) {
  if (!depth) return INVALID_CONTEXT;
  Context *top = stack[--depth];
  if (c) *c = top;
  return SUCCESS;
}
API cuCtxGetCurrent(Context **c) { return *c = current(), SUCCESS; }
API cuCtxSetCurrent(Context *c) {
  if (depth) stack[depth - 1] = c;
  else stack[depth++] = c;
  return SUCCESS;
}
API cuCtxSynchronize(void) {
  LOCK;
  drain_all(0);
  counters[WAITS].value++;
  UNLOCK;
  return SUCCESS;
}
API cuCtxEnablePeerAccess(Context *c, unsigned flags) { return (void)c, (void)flags, NOT_SUPPORTED; }
API cuCtxDisablePeerAccess(Context *c) { return (void)c, NOT_SUPPORTED; }

API cuStreamCreate(Stream **s, unsigned flags) {
  if (!current()) return INVALID_CONTEXT;
  *s = calloc(1, sizeof **s);
  LOCK;
  (*s)->blocking = !(flags & 1);
  (*s)->next = streams;
  streams = *s;
  UNLOCK;
  return SUCCESS;
}
// Not freed: events and tests may still name it.
API cuStreamDestroy_v2(Stream *s) {
  LOCK;
  drain(s, s->issued);
  UNLOCK;
  return SUCCESS;
}
API cuStreamDestroy(Stream *s) { return cuStreamDestroy_v2(s); }
// While it is held, nobody who waits gets on.
static int held;
__attribute__((visibility("default"))) void fake_cuda_hold(int hold) {
  __atomic_store_n(&held, hold, __ATOMIC_SEQ_CST);
}
static void while_held(void) {
  while (__atomic_load_n(&held, __ATOMIC_SEQ_CST)) usleep(1000);
}
API cuStreamSynchronize(Stream *s) {
  while_held();
  LOCK;
  if (s) drain(s, s->issued);
  else drain_all(1);
  counters[WAITS].value++;
  UNLOCK;
  return SUCCESS;
}
API cuStreamWaitEvent(Stream *s, Event *e, unsigned flags) {
  (void)flags;
  LOCK;
  if (e->stream) issue(s, (Op){ .run = run_wait, .other = e->stream, .at = e->at });
  UNLOCK;
  return SUCCESS;
}
API cuEventCreate(Event **e, unsigned flags) { return (void)flags, *e = calloc(1, sizeof **e), SUCCESS; }
API cuEventDestroy_v2(Event *e) { return free(e), SUCCESS; }
API cuEventRecord(Event *e, Stream *s) {
  LOCK;
  e->stream = s;
  e->at = s ? s->issued : 0;
  UNLOCK;
  return SUCCESS;
}
API cuEventSynchronize(Event *e) {
  while_held();
  LOCK;
  if (e->stream) drain(e->stream, e->at);
  counters[WAITS].value++;
  UNLOCK;
  return SUCCESS;
}
API cuEventQuery(Event *e) { return e->stream && e->stream->done < e->at ? NOT_READY : SUCCESS; }

API cuMemAlloc_v2(Address *at, size_t bytes) {
  if (!current()) return INVALID_CONTEXT;
  if (!bytes) return INVALID_VALUE;
  size_t mapped = (bytes + PAGE - 1) / PAGE * PAGE;
  void *p = mmap(NULL, mapped + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return OUT_OF_MEMORY;
  LOCK;
  Block *b = malloc(sizeof *b);
  *b = (Block){ (Address)p, bytes, mapped, current(), blocks };
  blocks = b;
  // New memory is not zero.
  if (mprotect(p, mapped, PROT_READ | PROT_WRITE)) die("mprotect");
  memset(p, 0xa5, mapped);
  if (!opened && mprotect(p, mapped, PROT_NONE)) die("mprotect");
  counters[BLOCKS].value++;
  counters[ALLOCATIONS].value++;
  UNLOCK;
  return *at = (Address)p, SUCCESS;
}
API cuMemAllocPitch_v2(Address *at, size_t *pitch, size_t width, size_t height, unsigned element) {
  (void)element;
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc_v2(at, *pitch * height);
}
static int release(Address at) {
  Block **p = &blocks;
  while (*p && (*p)->at != at) p = &(*p)->next;
  Block *b = *p;
  if (!b) return 0;
  *p = b->next;
  // Left closed, so that late uses crash.
  mprotect((void *)b->at, b->mapped, PROT_NONE);
  free(b);
  counters[BLOCKS].value--;
  return 1;
}
API cuMemFree_v2(Address at) {
  LOCK;
  drain_all(0);
  int was = release(at);
  UNLOCK;
  return was ? SUCCESS : INVALID_VALUE;
}
// In the order of a stream. A GPU may give memory only when the stream comes there; here it is given at
// once, and taken when the stream comes to it.
static void run_free(Op *op) {
  if (!release(op->to)) die("cuMemFreeAsync: no such memory");
}
API cuMemAllocAsync(Address *at, size_t bytes, Stream *s) { return (void)s, cuMemAlloc_v2(at, bytes); }
API cuMemFreeAsync(Address at, Stream *s) {
  LOCK;
  check(at, 1, current(), "cuMemFreeAsync");
  issue(s, (Op){ .run = run_free, .to = at });
  UNLOCK;
  return SUCCESS;
}
API cuMemAllocHost_v2(void **p, size_t bytes) { return (*p = malloc(bytes)) ? SUCCESS : OUT_OF_MEMORY; }
API cuMemFreeHost(void *p) { return free(p), SUCCESS; }
API cuMemGetInfo_v2(size_t *left, size_t *all) { return *left = *all = 1ull << 32, SUCCESS; }
API cuPointerGetAttribute(void *to, int attribute, Address at) {
  LOCK;
  Block *b = block_of(at);
  if (b && attribute == 1) *(Context **)to = b->context;
  UNLOCK;
  return !b ? INVALID_VALUE : attribute == 1 ? SUCCESS : NOT_SUPPORTED;
}

API cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream *s) {
  LOCK;
  check(to, bytes, current(), "cuMemsetD8Async");
  issue(s, (Op){ .run = run_set, .to = to, .value = value, .bytes = bytes });
  UNLOCK;
  return SUCCESS;
}
static void run_set_16(Op *op) {
  for (size_t i = 0; i < op->bytes / 2; i++) ((uint16_t *)op->to)[i] = (uint16_t)op->value;
}
API cuMemsetD16Async(Address to, unsigned short value, size_t n, Stream *s) {
  LOCK;
  check(to, 2 * n, current(), "cuMemsetD16Async");
  issue(s, (Op){ .run = run_set_16, .to = to, .value = value, .bytes = 2 * n });
  UNLOCK;
  return SUCCESS;
}
// Memory of the host that is not page-locked is taken aside before the call returns.
static void run_staged(Op *op) {
  run_copy(op);
  free((void *)op->from);
}
API cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, Stream *s) {
  void *aside = malloc(bytes);
  memcpy(aside, from, bytes);
  LOCK;
  check(to, bytes, current(), "cuMemcpyHtoDAsync");
  counters[TO_DEVICE].value += bytes;
  issue(s, (Op){ .run = run_staged, .to = to, .from = (Address)aside, .bytes = bytes });
  UNLOCK;
  return SUCCESS;
}
// To such memory the call returns when the bytes are there.
API cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, Stream *s) {
  LOCK;
  check(from, bytes, current(), "cuMemcpyDtoHAsync");
  counters[TO_HOST].value += bytes;
  issue(s, (Op){ .run = run_copy, .to = (Address)to, .from = from, .bytes = bytes });
  if (s) drain(s, s->issued);
  UNLOCK;
  return SUCCESS;
}
API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream *s) {
  LOCK;
  check(to, bytes, current(), "cuMemcpyDtoDAsync");
  check(from, bytes, current(), "cuMemcpyDtoDAsync");
  counters[ON_DEVICE].value += bytes;
  issue(s, (Op){ .run = run_copy, .to = to, .from = from, .bytes = bytes });
  UNLOCK;
  return SUCCESS;
}
API cuMemcpyPeerAsync(Address to, Context *to_context, Address from, Context *from_context, size_t bytes,
                      Stream *s) {
  LOCK;
  check(to, bytes, to_context, "cuMemcpyPeerAsync");
  check(from, bytes, from_context, "cuMemcpyPeerAsync");
  counters[PEER].value += bytes;
  issue(s, (Op){ .run = run_copy, .to = to, .from = from, .bytes = bytes });
  UNLOCK;
  return SUCCESS;
}

typedef struct {
  size_t from_x, from_y;
  int from_type; // 1: host, 2: device
  const void *from_host;
  Address from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  int to_type;
  void *to_host;
  Address to_device;
  void *to_array;
  size_t to_pitch, width, height;
} Copy2D;

// At once, after what the stream holds: allowed, and enough for libgstcuda, which waits behind it.
API cuMemcpy2DAsync_v2(const Copy2D *c, Stream *s) {
  LOCK;
  if (s) drain(s, s->issued);
  else drain_all(1);
  char *to = c->to_type == 1 ? c->to_host : (char *)c->to_device;
  const char *from = c->from_type == 1 ? c->from_host : (const char *)c->from_device;
  to += c->to_y * c->to_pitch + c->to_x;
  from += c->from_y * c->from_pitch + c->from_x;
  size_t rows = c->height ? c->height - 1 : 0;
  if (c->to_type == 2) check((Address)to, rows * c->to_pitch + c->width, current(), "cuMemcpy2D");
  if (c->from_type == 2) check((Address)from, rows * c->from_pitch + c->width, current(), "cuMemcpy2D");
  int kind = c->to_type == c->from_type ? ON_DEVICE : c->to_type == 2 ? TO_DEVICE : TO_HOST;
  counters[kind].value += c->width * c->height;
  open_memory();
  for (size_t y = 0; y < c->height; y++) memcpy(to + y * c->to_pitch, from + y * c->from_pitch, c->width);
  close_memory();
  UNLOCK;
  return SUCCESS;
}
API cuMemcpy2D_v2(const Copy2D *c) { return cuMemcpy2DAsync_v2(c, NULL); }

typedef struct { void (*kernel)(const void *, unsigned, unsigned); unsigned (*size)(void); } Function;

API cuModuleLoadData(void **module, const void *image) {
  if (strncmp(image, "FAKE", 4)) return INVALID_IMAGE;
  *module = dlopen((const char *)image + 4, RTLD_NOW | RTLD_LOCAL);
  return *module ? SUCCESS : INVALID_IMAGE;
}
API cuModuleUnload(void *module) { return dlclose(module) ? INVALID_VALUE : SUCCESS; }
API cuModuleGetFunction(Function **f, void *module, const char *name) {
  char size[256];
  snprintf(size, sizeof size, "%s_size", name);
  void *kernel = dlsym(module, name), *bytes = dlsym(module, size);
  if (!kernel || !bytes) return NOT_FOUND;
  *f = malloc(sizeof **f);
  memcpy(&(*f)->kernel, &kernel, sizeof kernel);
  memcpy(&(*f)->size, &bytes, sizeof bytes);
  return SUCCESS;
}
API cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Stream *s, void **params, void **extra) {
  (void)shared, (void)extra;
  Op op = { .run = run_kernel, .kernel = f->kernel, .width = gx * bx, .height = gy * by };
  size_t bytes = f->size();
  if (gz != 1 || bz != 1 || bytes > sizeof op.args || !gx || !gy) return INVALID_VALUE;
  memcpy(op.args, params[0], bytes);
  LOCK;
  // Words that are addresses must be of this context.
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    Address at;
    memcpy(&at, op.args + i, 8);
    if (block_of(at)) check(at, 1, current(), "cuLaunchKernel");
  }
  counters[LAUNCHES].value++;
  issue(s, op);
  UNLOCK;
  return SUCCESS;
}

// libgstcuda looks these up; nobody here calls them.
#define NONE(NAME) API NAME(void) { return NOT_SUPPORTED; }
NONE(cuGraphicsMapResources)
NONE(cuGraphicsUnmapResources)
NONE(cuGraphicsUnregisterResource)
NONE(cuGraphicsResourceSetMapFlags_v2)
NONE(cuGraphicsSubResourceGetMappedArray)
NONE(cuGraphicsResourceGetMappedPointer_v2)
NONE(cuGraphicsGLRegisterImage)
NONE(cuGraphicsGLRegisterBuffer)
NONE(cuGLGetDevices_v2)
NONE(cuTexObjectCreate)
NONE(cuTexObjectDestroy)
// From 1.26 on it wants these, too.
NONE(cuCtxGetLimit)
NONE(cuCtxSetLimit)
NONE(cuDestroyExternalMemory)
NONE(cuDestroyExternalSemaphore)
NONE(cuExternalMemoryGetMappedBuffer)
NONE(cuExternalMemoryGetMappedMipmappedArray)
NONE(cuImportExternalMemory)
NONE(cuImportExternalSemaphore)
NONE(cuIpcCloseMemHandle)
NONE(cuIpcGetEventHandle)
NONE(cuIpcGetMemHandle)
NONE(cuIpcOpenEventHandle)
NONE(cuIpcOpenMemHandle)
NONE(cuMemAddressFree)
NONE(cuMemAddressReserve)
NONE(cuMemAllocFromPoolAsync)
NONE(cuMemCreate)
NONE(cuMemExportToShareableHandle)
NONE(cuMemGetAccess)
NONE(cuMemGetAllocationGranularity)
NONE(cuMemGetAllocationPropertiesFromHandle)
NONE(cuMemImportFromShareableHandle)
NONE(cuMemMap)
NONE(cuMemPoolCreate)
NONE(cuMemPoolDestroy)
NONE(cuMemPoolGetAttribute)
NONE(cuMemPoolSetAttribute)
NONE(cuMemRelease)
NONE(cuMemRetainAllocationHandle)
NONE(cuMemSetAccess)
NONE(cuMemUnmap)
NONE(cuMemcpyDtoD_v2)
NONE(cuMemcpyDtoH_v2)
NONE(cuMemcpyHtoD_v2)
NONE(cuMemsetD2D16Async)
NONE(cuMemsetD2D16_v2)
NONE(cuMemsetD2D32Async)
NONE(cuMemsetD2D32_v2)
NONE(cuMemsetD2D8Async)
NONE(cuMemsetD2D8_v2)
NONE(cuSignalExternalSemaphoresAsync)
NONE(cuWaitExternalSemaphoresAsync)
