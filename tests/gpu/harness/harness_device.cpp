// The harness's device: memory of its own with a cell for every four bytes, copies, products.
#include "harness_parts.h"

#include <stdio.h>
#include <stdlib.h>

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

// For tests (memory.h): what is taken, and memory that comes to an end.
std::atomic<int64_t> n_taken;
static std::atomic<int64_t> n_left(-1);

extern "C" int64_t harness_taken(void);
extern "C" int64_t harness_taken(void) { return n_taken; }
extern "C" void harness_memory_left(int64_t n_blocks);
extern "C" void harness_memory_left(int64_t n_blocks) { n_left = n_blocks; }

bool harness_take_memory(gpu *g, size_t bytes) {
    if (n_left == 0) {
        gpu_fail(g, "device memory: out of memory, %.1f MB were asked for", (double)bytes / 1e6);
        return false;
    }
    if (n_left > 0) n_left--;
    n_taken++;
    return true;
}

void *gpu_alloc(gpu *g, size_t bytes) {
    if (!harness_may(g, "device memory is allocated")) return nullptr;
    if (!bytes) gpu_fail(g, "0 bytes of device memory, for which CUDA has no address");
    if (!bytes || !harness_take_memory(g, bytes)) return nullptr;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    allocation *a = new allocation{(char *)aligned_alloc(256, (bytes + 511) / 256 * 256), bytes,
                                   nullptr, allocations};
    a->cells = (harness_cell *)calloc(bytes / 4 + 2, sizeof *a->cells);
    memset(a->at, 0xFF, bytes); // NaN
    allocations = a;
    return a->at;
}

void gpu_free(gpu_device *d, void *memory) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (memory && d && d->capture) harness_may(d->capturer, "device memory is given back");
    for (allocation **p = &allocations; *p; p = &(*p)->next)
        if ((*p)->at == memory) {
            allocation *a = *p;
            *p = a->next;
            free(a->at);
            free(a->cells);
            delete a;
            n_taken--;
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
    harness_begin(g, what);
    harness_now.block = harness_now.thread = 0;
    harness_now.phase = 1;
    for (size_t i = 0; i < (write ? (bytes + 3) / 4 : bytes / 4); i++)
        (write ? harness_write : harness_read)(a->cells + first + i, (int64_t)i, false);
    harness_end();
    return !g->failed;
}

bool gpu_upload(gpu *g, void *to, const void *from, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (!harness_may(g, "a copy from the host")) return false;
    gpu_count_transfer(bytes);
    const allocation *a = copied(g, to, bytes, "upload");
    if (!a || !touch(g, a, to, bytes, "upload", true)) return false;
    memcpy(to, from, bytes);
    harness_send_pinned(g->device, harness_now.launch, (void *)from, from, bytes, false);
    return true;
}

bool gpu_download_later(gpu *g, void *to, const void *from, size_t bytes) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (!harness_may(g, "a copy to the host")) return false;
    gpu_count_transfer(bytes);
    const allocation *a = copied(g, from, bytes, "download");
    if (!a || !touch(g, a, from, bytes, "download", false)) return false;
    if (!harness_send_pinned(g->device, harness_now.launch, to, from, bytes, true))
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

bool gpu_zero(gpu *g, void *at, size_t bytes) {
    g->launches++;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (harness_capture(g, [=](gpu *later) { gpu_zero(later, at, bytes); })) return true;
    const allocation *a = copied(g, at, bytes, "clear");
    if (!a || !touch(g, a, at, bytes, "clear", true)) return false;
    memset(at, 0, bytes);
    return true;
}

void gpu_launched(gpu *g, const char *kernel, const char *file, int line) {
    (void)kernel;
    (void)file;
    (void)line;
    g->launches++;
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

// What cuBLAS asks of a product's sizes and of the distances between rows.
static bool may_multiply(gpu *g, const gpu_gemm *p) {
    const int64_t a_least = p->a_transposed ? p->m : p->k, b_least = p->b_transposed ? p->k : p->n,
                  most = INT32_MAX;
    if (p->m < 1 || p->n < 1 || p->k < 1 || p->a_row < a_least || p->b_row < b_least ||
        p->c_row < p->n || p->a_row > most || p->b_row > most || p->c_row > most)
        gpu_fail(g, "a product of %lld x %lld x %lld with rows of %lld, %lld, %lld is impossible",
                 (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->a_row,
                 (long long)p->b_row, (long long)p->c_row);
    return !g->failed;
}

void gpu_product(gpu *g, const gpu_gemm *p) {
    const gpu_gemm kept = *p;
    g->launches++;
    if (!may_multiply(g, p)) return;
    const gpu_precision precision = g->precision;
    if (g->failed || harness_capture(g, [=](gpu *later) {
            later->precision = precision;
            gpu_product(later, &kept);
        }))
        return;
    product_job job = {p, precision};
    harness_launch(g, "product", 1, 1, product, &job);
}
