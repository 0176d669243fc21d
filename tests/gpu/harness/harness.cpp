// CUDA's execution model on the CPU: fibres for a block's threads, and the mistakes they make.
#include "harness_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

harness_dim threadIdx, blockIdx, blockDim, gridDim;
harness_place harness_now;

enum { STACK_BYTES = 64 << 10, LARGEST_GRID = 2147483647 };
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

std::recursive_mutex one_launch;
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

void harness_bad_address(const char *why, int64_t index) {
    mistake("element %lld %s", (long long)index, why);
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

void harness_begin(gpu *g, const char *what) {
    harness_now.launch = harness_enqueue(g->device);
    h.g = g;
    h.kernel = what;
}

void harness_end(void) { h.g = nullptr; }

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

// Steps of a length that has no divisor in common with the grid, from its middle on.
int64_t harness_block(int64_t k, int64_t grid) {
    static const int64_t primes[] = {7919, 104729, 1299709, 15485863, 179424673};
    int64_t step = 1;
    for (int i = 0; i < 5 && step == 1; i++)
        if (grid % primes[i]) step = primes[i] % grid;
    return (grid / 2 + k * step) % grid;
}

void harness_launch(gpu *g, const char *kernel, int64_t grid, int64_t block, void (*body)(void *),
                    void *context) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    harness_begin(g, kernel);
    h.body = body;
    h.argument = context;
    h.n_threads = (int)block;
    blockDim = {(uint32_t)block, 1, 1};
    gridDim = {(uint32_t)grid, 1, 1};
    for (int64_t k = 0; k < grid && !g->failed; k++) {
        const int64_t b = harness_block(k, grid);
        harness_now.block = (int)b;
        blockIdx = {(uint32_t)b, 0, 0};
        if (!run_block()) break;
    }
    harness_end();
}

// The limits of the chips that the library is built for.
bool gpu_may_launch(gpu *g, const char *kernel, int64_t grid, int64_t block) {
    if (g->failed) return false;
    if (block < 1 || block > HARNESS_MAX_THREADS || block % WARP || grid < 1 || grid > LARGEST_GRID)
        gpu_fail(g, "%s: a launch of %lld blocks of %lld threads is impossible", kernel,
                 (long long)grid, (long long)block);
    return !g->failed;
}
