/* A CUDA driver without a GPU: what the `cuda` device calls, with the driver's rules about order and ownership.
 *
 * Memory is host memory, streams do their work at once, graphs are lists of copies. It keeps books (`stub_count`), a
 * log of creations and destructions (`stub_log`), and fails a call on demand (`stub_fail`, or STUB_CUDA_FAIL in the
 * environment as "cuInit=100,cuMemAlloc=2"). A sticky code once returned is returned by every later call, as it is by
 * the driver, until `stub_reset`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int CUresult;
enum {
    OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400, NOT_FOUND = 500, CONTEXT_IS_DESTROYED = 709, CAPTURE_UNSUPPORTED = 900,
    CAPTURE_UNMATCHED = 903, INVALID_CONFIGURATION = 915
};

/* As in cuda.h 13.0: 144 bytes. The padding is the driver's own; here it says which split a group came from. */
typedef struct {
    int type;
    struct { int split; int chunk; unsigned char rest[84]; } own;
    struct { unsigned sms, smallest, alignment; unsigned char rest[36]; } sm;
} Resource;
_Static_assert(sizeof(Resource) == 144, "CUdevResource has another size");
_Static_assert(offsetof(Resource, sm) == 96, "CUdevResource.sm is elsewhere");

typedef struct { uint64_t mask; unsigned sms; } Descriptor;
typedef struct { int live, id, streams; uint64_t mask; } Green;
typedef struct Copy { void *to; const void *from; size_t size; struct Copy *next; } Copy;
typedef struct { int id; Copy *first, **last; } Graph;
typedef struct { int live, id; Green *green; Graph *capture; pthread_t capturer; } Stream;
typedef struct { int live, recorded; double at_ms; } Event;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialised, splits, primaries, greens, streams, events, graphs, allocations, captures, captures_peak, lost;
static int next_id, fail_code, fail_after;
static size_t used_bytes;
static char fail_call[64], journal[1 << 16];
static int primary_context;
static __thread void *current;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}
static unsigned total_sms(void) { return (unsigned)setting("STUB_CUDA_SMS", 132); }
static size_t total_bytes(void) { return (size_t)setting("STUB_CUDA_MEMORY_MIB", 16384) << 20; }

static void note(const char *format, ...) {
    size_t used = strlen(journal);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(journal + used, sizeof journal - used, format, arguments);
    va_end(arguments);
}

static int is_sticky(int code) { return code == 700 || code == 702 || (code >= 714 && code <= 719) || code == 999; }

/* What a call returns before it does anything. */
static CUresult before(const char *call) {
    char wanted[80];
    const char *setting_text = getenv("STUB_CUDA_FAIL"), *found;
    if (lost) return lost;
    snprintf(wanted, sizeof wanted, "%s=", call);
    if (setting_text && (found = strstr(setting_text, wanted))) return atoi(found + strlen(wanted));
    if (fail_code && !strcmp(fail_call, call) && fail_after-- <= 0) {
        int code = fail_code;
        fail_code = 0;
        if (is_sticky(code)) lost = code;
        return code;
    }
    if (!initialised && strcmp(call, "cuInit") && strcmp(call, "cuDriverGetVersion")) return NOT_INITIALIZED;
    return OK;
}
#define ENTER() \
    pthread_mutex_lock(&lock); \
    CUresult result = before(__func__); \
    if (result) { pthread_mutex_unlock(&lock); return result; }
#define LEAVE(code) do { CUresult left = (code); pthread_mutex_unlock(&lock); return left; } while (0)

/* for the tests */
void stub_fail(const char *call, int code, int after) {
    snprintf(fail_call, sizeof fail_call, "%s", call);
    fail_code = code;
    fail_after = after;
}
void stub_reset(void) {
    splits = primaries = greens = streams = events = graphs = allocations = captures = captures_peak = lost = 0;
    fail_code = next_id = 0;
    used_bytes = 0;
    journal[0] = 0;
}
const char *stub_log(void) { return journal; }
long stub_count(const char *what) {
    struct { const char *name; long value; } books[] = {
        {"splits", splits}, {"primaries", primaries}, {"contexts", greens}, {"streams", streams}, {"events", events},
        {"graphs", graphs}, {"allocations", allocations}, {"captures_peak", captures_peak},
        {"used_mib", (long)(used_bytes >> 20)}};
    for (size_t i = 0; i < sizeof books / sizeof *books; i++)
        if (!strcmp(books[i].name, what)) return books[i].value;
    return -1;
}

/* the device */
CUresult cuInit(unsigned flags) { ENTER(); initialised = 1; LEAVE(flags ? INVALID_VALUE : OK); }
CUresult cuDriverGetVersion(int *version) { ENTER(); *version = 13000; LEAVE(OK); }
CUresult cuDeviceGetCount(int *count) { ENTER(); *count = (int)setting("STUB_CUDA_DEVICES", 1); LEAVE(OK); }
CUresult cuDeviceGet(int *device, int index) {
    ENTER();
    *device = index;
    LEAVE(index < setting("STUB_CUDA_DEVICES", 1) ? OK : INVALID_DEVICE);
}
CUresult cuDeviceGetName(char *name, int length, int device) {
    ENTER(); (void)device;
    snprintf(name, (size_t)length, "Stub H200");
    LEAVE(OK);
}
CUresult cuDeviceGetPCIBusId(char *name, int length, int device) {
    ENTER(); (void)device;
    snprintf(name, (size_t)length, "0000:01:00.0");
    LEAVE(OK);
}
CUresult cuDeviceTotalMem(size_t *size, int device) { ENTER(); (void)device; *size = total_bytes(); LEAVE(OK); }
CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    ENTER(); (void)device;
    primaries++;
    note("primary+\n");
    *context = &primary_context;
    LEAVE(OK);
}
CUresult cuDevicePrimaryCtxRelease(int device) { ENTER(); (void)device; primaries--; note("primary-\n"); LEAVE(OK); }
CUresult cuCtxSetCurrent(void *context) { ENTER(); current = context; LEAVE(OK); }
CUresult cuMemGetInfo(size_t *left, size_t *total) {
    ENTER();
    if (!current) LEAVE(INVALID_CONTEXT);
    *total = total_bytes();
    *left = *total - used_bytes - ((size_t)setting("STUB_CUDA_OTHERS_MIB", 0) << 20);
    LEAVE(OK);
}

/* SMs: groups of eight, as on sm_90 */
CUresult cuDeviceGetDevResource(int device, Resource *resource, int type) {
    ENTER(); (void)device;
    memset(resource, 0, sizeof *resource);
    resource->type = type;
    resource->sm.sms = total_sms();
    resource->sm.smallest = resource->sm.alignment = 8;
    LEAVE(type == 1 ? OK : INVALID_VALUE);
}
CUresult cuDevSmResourceSplitByCount(
    Resource *groups, unsigned *count, const Resource *input, Resource *rest, unsigned flags, unsigned smallest) {
    ENTER();
    unsigned size = (smallest + 7) / 8 * 8, most = input->sm.sms / (size ? size : 8);
    if (flags || !smallest || input->own.split) LEAVE(INVALID_VALUE);
    if (!groups) { *count = most; LEAVE(OK); }
    if (*count > most) *count = most;
    splits++;
    for (unsigned i = 0; i < *count; i++) {
        groups[i] = *input;
        groups[i].sm.sms = size;
        groups[i].own.split = splits;
        groups[i].own.chunk = (int)i;
    }
    if (rest) { *rest = *input; rest->sm.sms = input->sm.sms - *count * size; rest->own.split = -1; }
    LEAVE(OK);
}
CUresult cuDevResourceGenerateDesc(Descriptor **descriptor, const Resource *resources, unsigned count) {
    ENTER();
    static Descriptor kept[4096];
    static int next;
    Descriptor *made = &kept[next++ % 4096];
    memset(made, 0, sizeof *made);
    for (unsigned i = 0; i < count; i++) {
        uint64_t bit = 1ull << resources[i].own.chunk;
        if (resources[i].own.split != resources[0].own.split || resources[i].own.split < 1 || made->mask & bit)
            LEAVE(INVALID_CONFIGURATION);
        made->mask |= bit;
        made->sms += resources[i].sm.sms;
    }
    *descriptor = made;
    LEAVE(count ? OK : INVALID_VALUE);
}
CUresult cuGreenCtxCreate(Green **green, const Descriptor *descriptor, int device, unsigned flags) {
    ENTER(); (void)device;
    if (flags != 1) LEAVE(INVALID_VALUE);
    if (!primaries) LEAVE(INVALID_CONTEXT); /* the real one would make and drop a primary context each time */
    *green = calloc(1, sizeof **green);
    **green = (Green){.live = 1, .id = ++next_id, .mask = descriptor->mask};
    greens++;
    note("context+ %d %llx\n", (*green)->id, (unsigned long long)descriptor->mask);
    LEAVE(OK);
}
CUresult cuGreenCtxDestroy(Green *green) {
    ENTER();
    if (!green->live) LEAVE(CONTEXT_IS_DESTROYED);
    green->live = 0;
    greens--;
    note("context- %d%s\n", green->id, green->streams ? " LEAKS" : "");
    LEAVE(OK);
}

/* streams and events */
CUresult cuGreenCtxStreamCreate(Stream **stream, Green *green, unsigned flags, int priority) {
    ENTER(); (void)priority;
    if (flags != 1) LEAVE(INVALID_VALUE);
    if (!green->live) LEAVE(CONTEXT_IS_DESTROYED);
    *stream = calloc(1, sizeof **stream);
    **stream = (Stream){.live = 1, .id = ++next_id, .green = green};
    green->streams++;
    streams++;
    note("stream+ %d on %d\n", (*stream)->id, green->id);
    LEAVE(OK);
}
static CUresult usable(const Stream *stream) {
    if (!stream || !stream->live) return INVALID_HANDLE;
    return stream->green->live ? OK : CONTEXT_IS_DESTROYED;
}
CUresult cuStreamSynchronize(Stream *stream) {
    ENTER();
    if (usable(stream)) LEAVE(usable(stream));
    note("drain %d\n", stream->id);
    LEAVE(stream->capture ? CAPTURE_UNSUPPORTED : OK);
}
CUresult cuStreamDestroy(Stream *stream) {
    ENTER();
    if (usable(stream)) LEAVE(usable(stream));
    stream->live = 0;
    stream->green->streams--;
    streams--;
    note("stream- %d\n", stream->id);
    LEAVE(OK);
}
CUresult cuEventCreate(Event **event, unsigned flags) {
    ENTER(); (void)flags;
    if (!current) LEAVE(INVALID_CONTEXT);
    *event = calloc(1, sizeof **event);
    (*event)->live = 1;
    events++;
    LEAVE(OK);
}
CUresult cuEventRecord(Event *event, Stream *stream) {
    struct timespec now;
    ENTER();
    if (usable(stream)) LEAVE(usable(stream));
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->at_ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
    event->recorded = 1;
    LEAVE(event->live ? OK : INVALID_HANDLE);
}
CUresult cuEventSynchronize(Event *event) { ENTER(); LEAVE(event->live ? OK : INVALID_HANDLE); }
CUresult cuEventElapsedTime(float *ms, Event *start, Event *end) {
    ENTER();
    if (!start->recorded || !end->recorded) LEAVE(INVALID_HANDLE);
    *ms = (float)(end->at_ms - start->at_ms);
    LEAVE(OK);
}
CUresult cuEventDestroy(Event *event) {
    ENTER();
    if (!event->live) LEAVE(INVALID_HANDLE);
    event->live = 0;
    events--;
    LEAVE(OK);
}

/* memory */
CUresult cuMemAlloc(uintptr_t *address, size_t size) {
    ENTER();
    if (!current) LEAVE(INVALID_CONTEXT);
    if (used_bytes + size > total_bytes()) LEAVE(NO_MEMORY);
    size_t *block = malloc(size + 64);
    *block = size;
    used_bytes += size;
    allocations++;
    *address = (uintptr_t)block + 64;
    LEAVE(OK);
}
CUresult cuMemFree(uintptr_t address) {
    ENTER();
    size_t *block = (size_t *)(address - 64);
    used_bytes -= *block;
    allocations--;
    free(block);
    LEAVE(OK);
}
static CUresult copy(Stream *stream, void *to, const void *from, size_t size) {
    if (usable(stream)) return usable(stream);
    if (!stream->capture) { memcpy(to, from, size); return OK; }
    Copy *made = malloc(sizeof *made);
    *made = (Copy){to, from, size, NULL};
    *stream->capture->last = made;
    stream->capture->last = &made->next;
    return OK;
}
CUresult cuMemcpyHtoDAsync(uintptr_t to, const void *from, size_t size, Stream *stream) {
    ENTER();
    LEAVE(copy(stream, (void *)to, from, size));
}
CUresult cuMemcpyDtoHAsync(void *to, uintptr_t from, size_t size, Stream *stream) {
    ENTER();
    LEAVE(copy(stream, to, (const void *)from, size));
}
CUresult cuMemcpyDtoDAsync(uintptr_t to, uintptr_t from, size_t size, Stream *stream) {
    ENTER();
    LEAVE(copy(stream, (void *)to, (const void *)from, size));
}

/* graphs */
CUresult cuStreamBeginCapture(Stream *stream, int mode) {
    ENTER();
    if (usable(stream)) LEAVE(usable(stream));
    if (mode != 1 || stream->capture) LEAVE(INVALID_VALUE); /* thread-local is the one mode others can live with */
    stream->capture = calloc(1, sizeof *stream->capture);
    stream->capture->id = stream->id;
    stream->capture->last = &stream->capture->first;
    stream->capturer = pthread_self();
    if (++captures > captures_peak) captures_peak = captures;
    LEAVE(OK);
}
CUresult cuStreamEndCapture(Stream *stream, Graph **graph) {
    ENTER();
    if (!stream->capture || !pthread_equal(stream->capturer, pthread_self())) LEAVE(CAPTURE_UNMATCHED);
    *graph = stream->capture;
    stream->capture = NULL;
    captures--;
    LEAVE(OK);
}
CUresult cuGraphInstantiateWithFlags(Graph **made, Graph *graph, unsigned long long flags) {
    ENTER(); (void)flags;
    *made = graph;
    graphs++;
    note("graph+ of %d\n", graph->id);
    LEAVE(OK);
}
CUresult cuGraphDestroy(Graph *graph) { ENTER(); (void)graph; LEAVE(OK); }
CUresult cuGraphLaunch(Graph *graph, Stream *stream) {
    ENTER();
    if (usable(stream)) LEAVE(usable(stream));
    for (Copy *each = graph->first; each; each = each->next) memcpy(each->to, each->from, each->size);
    LEAVE(OK);
}
CUresult cuGraphExecDestroy(Graph *graph) { ENTER(); note("graph- of %d\n", graph->id); graphs--; LEAVE(OK); }

/* The bindings ask for everything by name, and do without what is not there until it is called. */
CUresult cuGetProcAddress_v2(const char *name, void **address, int version, uint64_t flags, int *status) {
    (void)version; (void)flags;
    Dl_info here;
    dladdr((void *)cuGetProcAddress_v2, &here);
    void *self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *address = dlsym(self, name);
    if (status) *status = *address ? 0 : 1;
    return *address ? OK : NOT_FOUND;
}
