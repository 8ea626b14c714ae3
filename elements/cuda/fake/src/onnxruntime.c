// SPDX-License-Identifier: Apache-2.0
// The machine's ONNX Runtime, which computes on the CPU, dressed as a build with a CUDA provider for the
// driver of this folder. Only what a provider adds is here; REAL is the library that does the work.
//
// * The provider takes its options and computes on the CPU, over memory that the driver opens for it.
// * A tensor must be said to lie where it does: "Cuda" memory is the driver's, all other is not.
// * A run does what the session's stream holds before. Other streams wait for nobody.
// * With CUDA graphs, runs under one id must come with the addresses that the first one had: a GPU would
//   replay those.
//
// The places of functions in the API's structure come from the Rust side (ONNX_AT_...).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *Status;
typedef void (*Any)(void);
typedef struct { void *stream; int graph; } Provider;
typedef struct { const void *(*get)(uint32_t); const char *(*version)(void); } Base;

static _Alignas(16) unsigned char api[ONNX_API_BYTES];
static const unsigned char *real;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
#define LOCK pthread_mutex_lock(&mutex)
#define UNLOCK pthread_mutex_unlock(&mutex)

#define AT(NAME) (ONNX_AT_##NAME)
#define REAL_FN(NAME, TYPE) (*(__typeof__(TYPE) const *)(real + AT(NAME)))
#define SET(NAME, FN) (*(Any *)(api + AT(NAME)) = (Any)(FN))

// Driver of this folder.
static void (*enter)(void *);
static void (*leave)(void);
static int (*is_device)(const void *);

typedef Status (*CreateStatusFn)(int, const char *);
static Status failure(const char *text) { return REAL_FN(CreateStatus, CreateStatusFn)(11, text); }

// Objects of the real library and what is known of them.
typedef struct { const void *key; char name[48]; char value[48]; Provider provider; } Note;
static Note notes[4096];

static Note *note(const void *key, const char *name, int make) {
  Note *free_one = NULL;
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
    if (notes[i].key == key && !strcmp(notes[i].name, name)) return &notes[i];
    if (!notes[i].key && !free_one) free_one = &notes[i];
  }
  if (!make) return NULL;
  if (!free_one) abort();
  memset(free_one, 0, sizeof *free_one);
  free_one->key = key;
  snprintf(free_one->name, sizeof free_one->name, "%s", name);
  return free_one;
}

static void forget(const void *key) {
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
    if (notes[i].key == key) notes[i].key = NULL;
}

static uint64_t bound_runs, synced_runs, graph_runs;
__attribute__((visibility("default"))) uint64_t fake_onnx_count(const char *name) {
  if (!strcmp(name, "unwaited-runs")) return bound_runs;
  if (!strcmp(name, "waited-runs")) return synced_runs;
  if (!strcmp(name, "graph-runs")) return graph_runs;
  return ~0ull;
}

static Status providers(char ***out, int *n) {
  static char *names[] = { "CUDAExecutionProvider", "CPUExecutionProvider" };
  return *out = names, *n = 2, NULL;
}
static Status no_providers(char **list, int n) { return (void)list, (void)n, NULL; }

static Status options_new(Provider **p) { return *p = calloc(1, sizeof **p), NULL; }
static void options_free(Provider *p) { free(p); }
static Status options_set(Provider *p, const char *const *keys, const char *const *values, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!strcmp(keys[i], "user_compute_stream")) p->stream = (void *)strtoull(values[i], NULL, 10);
    if (!strcmp(keys[i], "enable_cuda_graph")) p->graph = strchr("1tT", values[i][0]) != NULL;
  }
  return NULL;
}
static Status append(void *options, const Provider *p) {
  LOCK;
  note(options, "provider", 1)->provider = *p;
  UNLOCK;
  return NULL;
}

typedef Status (*CreateSession)(const void *, const void *, size_t, const void *, void **);
static Status session_new(const void *env, const void *data, size_t n, const void *options, void **out) {
  Status status = REAL_FN(CreateSessionFromArray, CreateSession)(env, data, n, options, out);
  LOCK;
  Note *from = note(options, "provider", 0);
  if (!status && from) {
    Provider provider = from->provider;
    from->key = NULL;
    note(*out, "provider", 1)->provider = provider;
  }
  UNLOCK;
  return status;
}
static void session_free(void *session) {
  LOCK;
  forget(session);
  UNLOCK;
  REAL_FN(ReleaseSession, void (*)(void *))(session);
}

typedef Status (*CreateInfo)(const char *, int, int, int, void **);
static Status info_new(const char *name, int type, int id, int memory, void **out) {
  int cuda = !strcmp(name, "Cuda");
  Status status = REAL_FN(CreateMemoryInfo, CreateInfo)(cuda ? "Cpu" : name, type, cuda ? 0 : id, memory, out);
  LOCK;
  if (!status && cuda) note(*out, "cuda", 1);
  UNLOCK;
  return status;
}
static Status info_name(const void *info, const char **out) {
  LOCK;
  int cuda = note(info, "cuda", 0) != NULL;
  UNLOCK;
  if (cuda) return *out = "Cuda", NULL;
  return REAL_FN(MemoryInfoGetName, Status (*)(const void *, const char **))(info, out);
}
static void info_free(void *info) {
  LOCK;
  forget(info);
  UNLOCK;
  REAL_FN(ReleaseMemoryInfo, void (*)(void *))(info);
}

typedef Status (*CreateTensor)(const void *, void *, size_t, const int64_t *, size_t, int, void **);
static Status tensor_new(const void *info, void *data, size_t n, const int64_t *shape, size_t dims, int type,
                         void **out) {
  LOCK;
  int cuda = note(info, "cuda", 0) != NULL;
  UNLOCK;
  if (cuda != is_device(data)) return failure("a tensor does not lie where its memory info says");
  return REAL_FN(CreateTensorWithDataAsOrtValue, CreateTensor)(info, data, n, shape, dims, type, out);
}

typedef Status (*AddEntry)(void *, const char *, const char *);
static Status run_option(void *options, const char *key, const char *value) {
  LOCK;
  snprintf(note(options, key, 1)->value, 48, "%s", value);
  UNLOCK;
  return REAL_FN(AddRunConfigEntry, AddEntry)(options, key, value);
}
static void run_options_free(void *options) {
  LOCK;
  forget(options);
  UNLOCK;
  REAL_FN(ReleaseRunOptions, void (*)(void *))(options);
}

// Addresses under a graph's id, as one number.
static uint64_t addresses(const void *const *values, size_t n, uint64_t sum) {
  for (size_t i = 0; i < n; i++) {
    void *at = NULL;
    if (values[i]) REAL_FN(GetTensorMutableData, Status (*)(const void *, void **))(values[i], &at);
    sum = sum * 1099511628211ull + (uint64_t)at;
  }
  return sum;
}

typedef Status (*RunFn)(void *, const void *, const char *const *, const void *const *, size_t,
                        const char *const *, size_t, void **);
static Status run(void *session, const void *options, const char *const *in_names, const void *const *in,
                  size_t n, const char *const *out_names, size_t m, void **out) {
  LOCK;
  Note *of_session = note(session, "provider", 0);
  Provider provider = of_session ? of_session->provider : (Provider){ 0 };
  Note *wait = options ? note(options, "disable_synchronize_execution_providers", 0) : NULL;
  Note *graph = options ? note(options, "gpu_graph_id", 0) : NULL;
  const char *problem = NULL;
  if (of_session && provider.graph && !(graph && !strcmp(graph->value, "-1"))) {
    uint64_t sum = addresses((const void *const *)out, m, addresses(in, n, 17));
    char name[48];
    snprintf(name, sizeof name, "graph%.40s", graph ? graph->value : "0");
    Note *recorded = note(session, name, 0);
    char text[48];
    snprintf(text, sizeof text, "%llx", (unsigned long long)sum);
    if (!recorded) snprintf(note(session, name, 1)->value, 48, "%s", text);
    else if (strcmp(recorded->value, text)) problem = "a CUDA graph is replayed with other addresses";
    graph_runs++;
  }
  if (of_session) {
    if (wait) bound_runs++;
    else synced_runs++;
  }
  UNLOCK;
  if (problem) return failure(problem);
  if (of_session) enter(provider.stream);
  Status status = REAL_FN(Run, RunFn)(session, options, in_names, in, n, out_names, m, out);
  if (of_session) leave();
  return status;
}

static Base base;
static const Base *real_base;

static const void *get_api(uint32_t version) {
  real = real_base->get(version);
  if (!real) return NULL;
  memcpy(api, real, sizeof api);
  SET(GetAvailableProviders, providers);
  SET(ReleaseAvailableProviders, no_providers);
  SET(CreateCUDAProviderOptions, options_new);
  SET(ReleaseCUDAProviderOptions, options_free);
  SET(UpdateCUDAProviderOptions, options_set);
  SET(SessionOptionsAppendExecutionProvider_CUDA_V2, append);
  SET(CreateSessionFromArray, session_new);
  SET(ReleaseSession, session_free);
  SET(CreateMemoryInfo, info_new);
  SET(MemoryInfoGetName, info_name);
  SET(ReleaseMemoryInfo, info_free);
  SET(CreateTensorWithDataAsOrtValue, tensor_new);
  SET(AddRunConfigEntry, run_option);
  SET(ReleaseRunOptions, run_options_free);
  SET(Run, run);
  return api;
}

static void *symbol(void *library, const char *name) {
  void *found = library ? dlsym(library, name) : NULL;
  if (!found) fprintf(stderr, "fake ONNX Runtime: no %s: %s\n", name, dlerror());
  return found;
}

__attribute__((visibility("default"))) const Base *OrtGetApiBase(void) {
  void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL), *driver = dlopen("libcuda.so.1", RTLD_NOW);
  const Base *(*get_base)(void);
  *(void **)&get_base = symbol(library, "OrtGetApiBase");
  *(void **)&enter = symbol(driver, "fake_cuda_enter");
  *(void **)&leave = symbol(driver, "fake_cuda_leave");
  *(void **)&is_device = symbol(driver, "fake_cuda_is_device");
  if (!get_base || !enter || !leave || !is_device) abort();
  real_base = get_base();
  base.get = get_api;
  base.version = real_base->version;
  return &base;
}
