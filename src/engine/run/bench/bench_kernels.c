// Benchmark of an update on a device, taken apart: time of each kind of kernel beside its floor.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/graph/program.h"
#include "engine/run/bench/bench.h"

enum { PASSES = 9, MAX_KERNELS = 1024 };

// Some milliseconds each on a large GPU; a copy and products that no cache holds.
static const struct backend_rates large_probes = {.copy_bytes = (int64_t)1 << 30,
                                                  .fma_blocks = 4096,
                                                  .fma_steps = 8192,
                                                  .product = 8192,
                                                  .repetitions = 7};
static const struct backend_rates small_probes = {
    .copy_bytes = 4096, .fma_blocks = 2, .fma_steps = 4, .product = 16, .repetitions = 2};

// A device that the CPU plays is not measured at length.
struct backend_rates bench_probes(bool quick) {
    return quick || strcmp(backend_chosen()->name, "cuda") != 0 ? small_probes : large_probes;
}

struct listing {
    struct bench_kernels *out;
    bool tf32;
};

static double floor_ms(const struct bench_kernels *k, const struct program_item *item, bool tf32) {
    const struct backend_rates *r = &k->rates;
    const double flops = item->bf16 ? r->product_flops[2]
                         : tf32     ? r->product_flops[1]
                                    : r->fma_flops;
    const double by_bytes = r->copy_bytes_per_s > 0 ? item->bytes / r->copy_bytes_per_s : 0;
    const double by_flop = flops > 0 ? item->flop / flops : 0;
    return 1e3 * (by_bytes > by_flop ? by_bytes : by_flop);
}

static void add_item(void *ctx, const struct program_item *item) {
    const struct listing *l = ctx;
    struct bench_kernels *k = l->out;
    int i = 0;
    while (i < k->n && strcmp(k->list[i].text, item->text) != 0) i++;
    CHECK(i < MAX_KERNELS, "more than %d kinds of kernel", MAX_KERNELS);
    if (i == k->n) memcpy(k->list[k->n++].text, item->text, sizeof item->text);
    struct bench_kernel *one = &k->list[i];
    const double at_least = floor_ms(k, item, l->tf32);
    one->count++;
    one->launches += item->launches;
    one->ms += item->ms;
    one->floor_ms += at_least;
    one->bytes += item->bytes;
    one->flop += item->flop;
    k->launches += item->launches;
    k->ms += item->ms;
    k->floor_ms += at_least;
}

// A node of the CPU's, in one of `updates` updates; packing of weights too.
struct host_listing {
    struct listing listing;
    int updates;
};

static void add_node(void *ctx, const struct node_time *t) {
    const struct host_listing *l = ctx;
    struct program_item item = {.ms = (double)t->ns * 1e-6 / l->updates};
    if (t->n_runs == 0) return;
    node_work(t->node, item.text, (int)sizeof item.text, &item.bytes, &item.flop);
    add_item((void *)&l->listing, &item);
}

static int dearest_first(const void *a, const void *b) {
    const struct bench_kernel *x = a, *y = b;
    if (x->ms != y->ms) return x->ms < y->ms ? 1 : -1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return strcmp(x->text, y->text);
}

bool bench_kernels(struct dreamer *d, bool tf32, bool quick, struct bench_kernels *out,
                   struct error *e) {
    char why[BACKEND_MESSAGE_SIZE];
    struct program *p = dreamer_program(d);
    *out = (struct bench_kernels){.rates = bench_probes(quick)};
    if (!p) return error_set(e, STATUS_USAGE, "--kernels: this update is no program of a device");
    if (!backend_chosen()->rates(&out->rates, why, sizeof why))
        return error_set(e, STATUS_FAILED, "bench train: %s", why);
    out->list = mem_alloc(MAX_KERNELS * sizeof *out->list);
    program_items(p, quick ? 1 : PASSES, add_item, &(struct listing){out, tf32});
    out->graph_nodes = program_graph_nodes(p);
    qsort(out->list, (size_t)out->n, sizeof *out->list, dearest_first);
    return true;
}

void bench_shapes(struct dreamer *d, int updates, double peak_gflops, double memory_gbytes,
                  struct bench_kernels *out) {
    struct host_listing l = {{out, false}, updates};
    *out = (struct bench_kernels){
        .rates = {.copy_bytes_per_s = 1e9 * memory_gbytes, .fma_flops = 1e9 * peak_gflops}};
    out->list = mem_alloc(MAX_KERNELS * sizeof *out->list);
    executor_node_times(wm_executor(dreamer_world(d)), add_node, &l);
    if (!dreamer_is_joint(d))
        executor_node_times(behaviour_executor(dreamer_behaviour(d)), add_node, &l);
    qsort(out->list, (size_t)out->n, sizeof *out->list, dearest_first);
}

void bench_kernels_free(struct bench_kernels *k) {
    free(k->list);
    k->list = NULL;
}
