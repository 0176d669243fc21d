// CUDA's execution model on the CPU: fibres for threads, watched memory, a device for the backend.
#include "gpu/gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

harness_dim threadIdx, blockIdx, blockDim, gridDim;
harness_place harness_now;

enum { STACK_BYTES = 64 << 10, LARGEST_GRID = 2147483647 };
enum { BEFORE_LAUNCHES = 1 }; // a cell's launch number where the host wrote it
enum state { READY, AT_BARRIER, IN_WARP, DONE };

struct fibre {
    ucontext_t context; // to begin with
    jmp_buf at;         // where it waits: these jumps cost no system call
    bool begun;
    char *stack;
    int thread; // that it runs now
};

struct thread {
    state where;
    int line; // of the barrier or warp function it waits in
    int kind, lanes;
    uint64_t value, result;
    fibre *on;
};

// What is known to be over: of each stream, launches up to that number.
typedef std::map<int, uint32_t> clocks;
typedef std::vector<std::function<void(gpu *)>> tape;
struct gpu_capture {
    tape what;
};
struct gpu_device {
    int stream;
    clocks over;          // before whatever is enqueued from now on
    gpu_capture *capture; // NULL: nothing is captured
};
struct gpu_event {
    clocks over;
};

// One launch at a time, whichever thread of the program asks for it.
static std::recursive_mutex one_launch;
static std::vector<int> stream_of(BEFORE_LAUNCHES + 1, -1); // by launch
static clocks over_for_host;
static int n_streams;
static const gpu_device *running; // whose launch it is
static struct {
    gpu *g;
    const char *kernel;
    void (*body)(void *);
    void *argument;
    int n_threads, next; // threads begin from the last to the first; next: how many have
    thread threads[HARNESS_MAX_THREADS];
    fibre fibres[HARNESS_MAX_THREADS];
    int n_fibres;
    fibre *idle[HARNESS_MAX_THREADS];
    int n_idle;
    jmp_buf scheduler;
} h = {};

// ---- mistakes: the first one is kept

static void mistake(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void mistake(const char *format, ...) {
    if (!h.g || h.g->failed) return;
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gpu_fail(h.g, "%s: block %d, thread %d: %s", h.kernel, harness_now.block, harness_now.thread,
             text);
}

void harness_out_of_bounds(int64_t index, int64_t n) {
    mistake("element %lld of a buffer of %lld", (long long)index, (long long)n);
}

void harness_mistake(harness_rule rule, const harness_cell *c, int64_t index) {
    const long long i = (long long)index;
    const uint32_t launch = rule == WRITES_READ ? c->read_launch : c->written_launch;
    if (rule != UNWRITTEN && launch != harness_now.launch) {
        mistake("race: %s element %lld, which another stream %s; no event between",
                rule == READS_WRITTEN ? "reads" : "writes", i,
                rule == WRITES_READ ? "read" : "wrote");
        return;
    }
    switch (rule) {
    case UNWRITTEN:
        mistake("reads element %lld, which nothing has written", i);
        break;
    case READS_WRITTEN:
        mistake("race: reads element %lld, which block %d, thread %d wrote; no barrier between", i,
                c->written_block, c->written_thread);
        break;
    case WRITES_WRITTEN:
        mistake("race: writes element %lld, which block %d, thread %d wrote; no barrier between", i,
                c->written_block, c->written_thread);
        break;
    case WRITES_READ:
        mistake("race: writes element %lld, which block %d, thread %d read; no barrier between", i,
                c->read_block, c->read_thread);
        break;
    }
}

// ---- streams

static void merge(clocks *into, const clocks &from) {
    for (const auto &c : from)
        if (c.second > (*into)[c.first]) (*into)[c.first] = c.second;
}

bool harness_is_over(uint32_t launch) {
    const int stream = stream_of[launch];
    if (stream < 0 || stream == running->stream) return true;
    const auto known = running->over.find(stream);
    return known != running->over.end() && launch <= known->second;
}

// A launch, or a copy of the host's that goes through the stream.
static void begin_launch(gpu *g, const char *what) {
    gpu_device *d = g->device;
    merge(&d->over, over_for_host);
    stream_of.push_back(d->stream);
    harness_now.launch = (uint32_t)stream_of.size() - 1;
    d->over[d->stream] = harness_now.launch;
    running = d;
    h.g = g;
    h.kernel = what;
}

gpu_event *gpu_event_new(gpu *g) {
    (void)g;
    return new gpu_event{};
}
void gpu_event_free(gpu_event *e) { delete e; }

bool gpu_record(gpu *g, gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    merge(&g->device->over, over_for_host);
    e->over = g->device->over;
    return true;
}

bool gpu_await(gpu *g, const gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    merge(&g->device->over, e->over);
    return true;
}

bool gpu_event_finish(gpu *g, const gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) gpu_fail(g, "the host waits while a graph is captured");
    merge(&over_for_host, e->over);
    return !g->failed;
}

struct gpu_timer { // a launch is over when it is enqueued: the host's clock
    std::chrono::steady_clock::time_point ends[2];
};
gpu_timer *gpu_timer_new(gpu *g) {
    (void)g;
    return new gpu_timer{};
}
void gpu_timer_free(gpu_timer *t) { delete t; }
bool gpu_timer_mark(gpu *g, gpu_timer *t, int end) {
    t->ends[end] = std::chrono::steady_clock::now();
    return !g->failed;
}
double gpu_timer_between(gpu *g, gpu_timer *from, int end, gpu_timer *to, int end_of_to) {
    (void)g;
    const std::chrono::duration<double, std::milli> d = to->ends[end_of_to] - from->ends[end];
    return d.count();
}
double gpu_timer_ms(gpu *g, gpu_timer *t) { return gpu_timer_between(g, t, 0, t, 1); }

// ---- capture: what would be enqueued is kept instead

bool gpu_capture_begin(gpu *g) {
    if (g->device->capture) gpu_fail(g, "two captures at once");
    if (!g->failed) g->device->capture = new gpu_capture{};
    return !g->failed;
}

gpu_capture *gpu_capture_end(gpu *g) {
    gpu_capture *c = g->device->capture;
    g->device->capture = nullptr;
    if (!g->failed) return c;
    delete c;
    return nullptr;
}

void gpu_capture_free(gpu_capture *c) { delete c; }

int64_t gpu_capture_nodes(const gpu_capture *c) { return c ? (int64_t)c->what.size() : 0; }
void gpu_hold(gpu *g, int microseconds) { (void)g, (void)microseconds; }

bool gpu_replay(gpu *g, const gpu_capture *c) {
    for (const auto &step : c->what)
        if (!g->failed) step(g);
    return !g->failed;
}

bool harness_capture(gpu *g, std::function<void(gpu *)> what) {
    if (!g->device->capture) return false;
    g->device->capture->what.push_back(what);
    return true;
}

// What a captured graph cannot hold.
static bool may(gpu *g, const char *what) {
    if (g->device->capture) gpu_fail(g, "%s while a graph is captured", what);
    return !g->failed;
}

// ---- fibres

// From the scheduler to a fibre, until it waits.
static void resume(fibre *f) {
    if (_setjmp(h.scheduler)) return;
    if (f->begun) _longjmp(f->at, 1);
    f->begun = true;
    setcontext(&f->context);
}

// From a fibre back to the scheduler.
static void pause_fibre(fibre *f) {
    if (!_setjmp(f->at)) _longjmp(h.scheduler, 1);
}

static void enter(int t) {
    harness_now.thread = t;
    threadIdx.x = (uint32_t)t;
}

// A fibre takes one thread after the other, until one has to wait: kernels without barriers need
// one fibre for all threads.
static void fibre_main(unsigned low, unsigned high) {
    fibre *f = (fibre *)((uintptr_t)low | (uintptr_t)high << 32);
    for (;;) {
        while (h.next < h.n_threads) {
            const int t = h.n_threads - 1 - h.next++;
            f->thread = t;
            h.threads[t].on = f;
            enter(t);
            h.body(h.argument);
            h.threads[t].where = DONE;
        }
        h.idle[h.n_idle++] = f;
        pause_fibre(f);
    }
}

static fibre *fibre_take(void) {
    if (h.n_idle) return h.idle[--h.n_idle];
    if (!h.fibres[h.n_fibres].stack) h.fibres[h.n_fibres].stack = (char *)malloc(STACK_BYTES);
    getcontext(&h.fibres[h.n_fibres].context);
    fibre *f = &h.fibres[h.n_fibres++];
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = nullptr;
    f->begun = false;
    const uintptr_t p = (uintptr_t)f;
    makecontext(&f->context, (void (*)())fibre_main, 2, (unsigned)p, (unsigned)((uint64_t)p >> 32));
    return f;
}

static void wait_as(state where, int line) {
    thread *t = &h.threads[harness_now.thread];
    t->where = where;
    t->line = line;
    fibre *f = t->on;
    pause_fibre(f);
    enter(f->thread);
}

void harness_barrier(int line) { wait_as(AT_BARRIER, line); }

uint64_t harness_warp(int kind, uint64_t value, int lanes, int line) {
    thread *t = &h.threads[harness_now.thread];
    t->kind = kind;
    t->value = value;
    t->lanes = lanes;
    wait_as(IN_WARP, line);
    return h.threads[harness_now.thread].result;
}

// ---- scheduler

static bool run_ready(void) {
    bool any = false;
    for (int t = h.n_threads - 1, begun = h.n_threads - h.next; t >= begun; t--)
        if (h.threads[t].where == READY) {
            any = true;
            resume(h.threads[t].on);
        }
    while (h.next < h.n_threads) {
        any = true;
        resume(fibre_take());
    }
    return any;
}

// All lanes of a warp wait in the same warp function: each gets its result.
static bool release_warp(int first) {
    thread *w = h.threads + first;
    uint32_t votes = 0;
    for (int i = 0; i < WARP; i++) {
        if (w[i].where != IN_WARP || w[i].line != w[0].line || w[i].kind != w[0].kind) return false;
        if (w[i].value) votes |= 1u << i;
    }
    for (int i = 0; i < WARP; i++) {
        w[i].result = w[i].kind == 1 ? votes : w[(i ^ w[i].lanes) % WARP].value;
        w[i].where = READY;
    }
    return true;
}

static bool release_barrier(void) {
    for (int t = 0; t < h.n_threads; t++)
        if (h.threads[t].where != AT_BARRIER || h.threads[t].line != h.threads[0].line)
            return false;
    for (int t = 0; t < h.n_threads; t++) h.threads[t].where = READY;
    harness_now.phase++;
    return true;
}

static bool all_done(void) {
    for (int t = 0; t < h.n_threads; t++)
        if (h.threads[t].where != DONE) return false;
    return true;
}

static void report_stuck(void) {
    static const char *const names[] = {"ready", "at the barrier", "in the warp function", "done"};
    int a = 0, b = 0;
    for (int t = 0; t < h.n_threads; t++)
        if (h.threads[t].where != DONE) a = t;
    for (int t = 0; t < h.n_threads; t++)
        if (h.threads[t].where != h.threads[a].where || h.threads[t].line != h.threads[a].line)
            b = t;
    harness_now.thread = a;
    mistake("waits %s of line %d for ever: thread %d is %s (line %d)", names[h.threads[a].where],
            h.threads[a].line, b, names[h.threads[b].where], h.threads[b].line);
    h.n_fibres = h.n_idle = 0; // their stacks begin anew
}

static bool run_block(void) {
    harness_now.phase = 1;
    h.next = 0;
    for (int t = 0; t < h.n_threads; t++) h.threads[t].where = READY;
    for (;;) {
        run_ready();
        if (all_done()) return true;
        bool released = release_barrier();
        for (int t = 0; t + WARP <= h.n_threads; t += WARP) released |= release_warp(t);
        if (!released) {
            report_stuck();
            return false;
        }
    }
}

void harness_launch(gpu *g, const char *kernel, int64_t grid, int64_t block, void (*body)(void *),
                    void *context) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    begin_launch(g, kernel);
    h.body = body;
    h.argument = context;
    h.n_threads = (int)block;
    blockDim = {(uint32_t)block, 1, 1};
    gridDim = {(uint32_t)grid, 1, 1};
    for (int64_t b = 0; b < grid && !g->failed; b++) {
        harness_now.block = (int)b;
        blockIdx = {(uint32_t)b, 0, 0};
        if (!run_block()) break;
    }
    h.g = nullptr;
}

// ---- the device: memory of its own with a cell for every four bytes

struct allocation {
    char *at;
    size_t bytes;
    harness_cell *cells;
    allocation *next;
};
static allocation *allocations;

static allocation *find(const void *at, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    for (allocation *a = allocations; a; a = a->next)
        if ((const char *)at >= a->at && (const char *)at + bytes <= a->at + a->bytes) return a;
    return nullptr;
}

harness_cell *harness_cells(const void *at, int64_t bytes) {
    const allocation *a = at ? find(at, (size_t)bytes) : nullptr;
    return a ? a->cells + ((const char *)at - a->at) / 4 : nullptr;
}

bool gpu_probe(char *text, size_t size) {
    snprintf(text, size, "test harness: the kernels run on the CPU, slowly");
    return true;
}

gpu_device *gpu_open(char *message, size_t size) {
    (void)message;
    (void)size;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    return new gpu_device{n_streams++, {}, nullptr};
}
void gpu_close(gpu_device *d) { delete d; }

void *gpu_alloc(gpu *g, size_t bytes) {
    if (!may(g, "device memory is allocated")) return nullptr;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    allocation *a = new allocation{(char *)aligned_alloc(256, (bytes + 511) / 256 * 256), bytes,
                                   nullptr, allocations};
    a->cells = (harness_cell *)calloc(bytes / 4 + 2, sizeof *a->cells);
    memset(a->at, 0xFF, bytes); // NaN
    allocations = a;
    return a->at;
}

void gpu_free(gpu_device *d, void *memory) {
    (void)d;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    for (allocation **p = &allocations; *p; p = &(*p)->next)
        if ((*p)->at == memory) {
            allocation *a = *p;
            *p = a->next;
            free(a->at);
            free(a->cells);
            delete a;
            return;
        }
}

// The host's copies are watched too: into device memory only, and nothing unwritten comes out.
static allocation *copied(gpu *g, const void *at, size_t bytes, const char *what) {
    allocation *a = find(at, bytes);
    if (!a) gpu_fail(g, "%s of %zu bytes outside device memory", what, bytes);
    return a;
}

// A copy of the host's takes its turn in the stream.
static bool touch(gpu *g, const allocation *a, const void *at, size_t bytes, const char *what,
                  bool write) {
    const size_t first = (size_t)((const char *)at - a->at) / 4;
    begin_launch(g, what);
    harness_now.block = harness_now.thread = 0;
    harness_now.phase = 1;
    for (size_t i = 0; i < (write ? (bytes + 3) / 4 : bytes / 4); i++)
        (write ? harness_write : harness_read)(a->cells + first + i, (int64_t)i, false);
    h.g = nullptr;
    return !g->failed;
}

bool gpu_upload(gpu *g, void *to, const void *from, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (!may(g, "a copy from the host")) return false;
    gpu_count_transfer(bytes);
    const allocation *a = copied(g, to, bytes, "upload");
    if (!a || !touch(g, a, to, bytes, "upload", true)) return false;
    memcpy(to, from, bytes);
    return true;
}

bool gpu_download_later(gpu *g, void *to, const void *from, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (!may(g, "a copy to the host")) return false;
    gpu_count_transfer(bytes);
    const allocation *a = copied(g, from, bytes, "download");
    if (!a || !touch(g, a, from, bytes, "download", false)) return false;
    memcpy(to, from, bytes);
    return true;
}

bool gpu_download(gpu *g, void *to, const void *from, size_t bytes) {
    return gpu_download_later(g, to, from, bytes) && gpu_finish(g);
}

bool gpu_copy(gpu *g, void *to, const void *from, size_t bytes) {
    g->launches++;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (harness_capture(g, [=](gpu *later) { gpu_copy(later, to, from, bytes); })) return true;
    const allocation *a = copied(g, from, bytes, "copy"), *b = copied(g, to, bytes, "copy");
    if (!a || !b || !touch(g, a, from, bytes, "copy", false) ||
        !touch(g, b, to, bytes, "copy", true))
        return false;
    memmove(to, from, bytes);
    return true;
}

// Unlocked while it calls: it may wait for another thread's call.
bool gpu_outside(gpu *g, const struct gpu_outside *o) {
    const struct gpu_outside kept = *o;
    g->launches++;
    {
        std::lock_guard<std::recursive_mutex> lock(one_launch);
        if (g->failed || harness_capture(g, [=](gpu *later) { gpu_outside(later, &kept); }))
            return !g->failed;
        const allocation *a = copied(g, o->from, o->from_bytes, o->name),
                         *b = copied(g, o->to, o->to_bytes, o->name);
        if (!a || !b || !touch(g, a, o->from, o->from_bytes, o->name, false) ||
            !touch(g, b, o->to, o->to_bytes, o->name, true))
            return false;
    }
    o->call(g, o);
    return !g->failed;
}

void *gpu_pinned_new(gpu *g, size_t bytes) {
    return may(g, "pinned memory is allocated") ? malloc(bytes) : nullptr;
}
void gpu_pinned_free(void *memory) { free(memory); }

bool gpu_zero(gpu *g, void *at, size_t bytes) {
    g->launches++;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (harness_capture(g, [=](gpu *later) { gpu_zero(later, at, bytes); })) return true;
    const allocation *a = copied(g, at, bytes, "clear");
    if (!a || !touch(g, a, at, bytes, "clear", true)) return false;
    memset(at, 0, bytes);
    return true;
}

// The host waits: what it enqueues from now on, in any stream, comes after all that is in this one.
bool gpu_finish(gpu *g) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) return may(g, "the host waits");
    merge(&over_for_host, g->device->over);
    return !g->failed;
}
void *gpu_stream(const gpu *g) {
    (void)g;
    return nullptr;
}
void gpu_launched(gpu *g, const char *kernel, const char *file, int line) {
    (void)kernel;
    (void)file;
    (void)line;
    g->launches++;
}

// The limits of the chips that the library is built for.
bool gpu_may_launch(gpu *g, const char *kernel, int64_t grid, int64_t block) {
    if (g->failed) return false;
    if (block < 1 || block > HARNESS_MAX_THREADS || block % WARP || grid < 1 || grid > LARGEST_GRID)
        gpu_fail(g, "%s: a launch of %lld blocks of %lld threads is impossible", kernel,
                 (long long)grid, (long long)block);
    return !g->failed;
}

// Operands as the tensor cores take them: to the nearest with so many bits of fraction, even at
// ties.
static double rounded(float x, gpu_precision p) {
    const int dropped = p == IN_FLOAT32 ? 0 : p == IN_TF32 ? 13 : 16;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (!dropped || (bits >> 23 & 255) == 255) return (double)x;
    bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
    bits &= ~((1u << dropped) - 1);
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

// The product as one thread's loop. Every element is read once, watched, then used often.
struct product_job {
    const gpu_gemm *p;
    gpu_precision precision;
};
static void product(void *context) {
    const product_job *job = (const product_job *)context;
    const gpu_gemm *p = job->p;
    double *a = (double *)malloc((size_t)(p->m * p->k) * sizeof *a);
    double *b = (double *)malloc((size_t)(p->k * p->n) * sizeof *b);
    for (int64_t i = 0; i < p->m * p->k; i++) {
        const int64_t row = i / p->k, k = i % p->k;
        a[i] = rounded(p->a[p->a_transposed ? k * p->a_row + row : row * p->a_row + k],
                       job->precision);
    }
    for (int64_t i = 0; i < p->k * p->n; i++) {
        const int64_t k = i / p->n, j = i % p->n;
        b[i] = rounded(p->b[p->b_transposed ? j * p->b_row + k : k * p->b_row + j], job->precision);
    }
    double *row = (double *)malloc((size_t)p->n * sizeof *row);
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++)
            row[j] = p->add ? (double)(real)p->c[i * p->c_row + j] : 0;
        for (int64_t k = 0; k < p->k; k++)
            for (int64_t j = 0; j < p->n; j++) row[j] += a[i * p->k + k] * b[k * p->n + j];
        for (int64_t j = 0; j < p->n; j++) p->c[i * p->c_row + j] = (real)row[j];
    }
    free(a);
    free(b);
    free(row);
}

void gpu_product(gpu *g, const gpu_gemm *p) {
    const gpu_gemm kept = *p;
    g->launches++;
    const gpu_precision precision = g->precision;
    if (g->failed || harness_capture(g, [=](gpu *later) {
            later->precision = precision;
            gpu_product(later, &kept);
        }))
        return;
    product_job job = {p, precision};
    harness_launch(g, "product", 1, 1, product, &job);
}
