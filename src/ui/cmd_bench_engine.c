// workbench bench engine: the nodes of an update by kind and shape, beside what the machine can do;
// and the list of a device's kernels that bench train shows too.
#include <stdio.h>

#include "base/json.h"
#include "engine/run/bench/bench.h"
#include "engine/run/device.h"
#include "ui/cmd_bench.h"

static double ratio(double ms, double floor_ms) { return floor_ms > 0 ? ms / floor_ms : 0; }

void cmd_print_kernels(const struct bench_kernels *k) {
    enum { SHOWN = 10 };
    const struct backend_rates *r = &k->rates;
    if (!k->list) return;
    printf("\n%-48s %5s %8s %9s %9s %7s %9s %9s\n", "kernel", "count", "launches", "ms", "floor ms",
           "ratio", "GFLOP", "MB");
    for (int i = 0; i < k->n && i < SHOWN; i++) {
        const struct bench_kernel *one = &k->list[i];
        printf("%-48s %5d %8d %9.4f %9.4f %7.1f %9.3f %9.2f\n", one->text, one->count,
               one->launches, one->ms, one->floor_ms, ratio(one->ms, one->floor_ms),
               one->flop / 1e9, one->bytes / 1e6);
    }
    printf("%-48s %5s %8d %9.4f %9.4f %7.1f\n", "all, each measured alone", "", k->launches, k->ms,
           k->floor_ms, ratio(k->ms, k->floor_ms));
    printf("rates: copy %.0f GB/s, multiply-adds %.1f TFLOP/s, products %.1f (float32), %.1f "
           "(TF32), %.1f (bf16) TFLOP/s; between two marks %.4f ms\n",
           r->copy_bytes_per_s / 1e9, r->fma_flops / 1e12, r->product_flops[0] / 1e12,
           r->product_flops[1] / 1e12, r->product_flops[2] / 1e12, r->empty_ms);
}

void cmd_add_kernels(cJSON *o, const struct bench_kernels *k) {
    const struct backend_rates *r = &k->rates;
    if (!k->list) return;
    cJSON *rates = json_add_object(o, "rates"), *list = cJSON_AddArrayToObject(o, "kernels");
    json_add_double(rates, "copy_bytes_per_s", r->copy_bytes_per_s);
    json_add_double(rates, "fma_flops", r->fma_flops);
    if (k->launches > 0) { // a device
        json_add_double(rates, "product_float32_flops", r->product_flops[0]);
        json_add_double(rates, "product_tf32_flops", r->product_flops[1]);
        json_add_double(rates, "product_bf16_flops", r->product_flops[2]);
        json_add_double(rates, "empty_ms", r->empty_ms);
    }
    json_add_double(o, "kernels_ms", k->ms);
    json_add_double(o, "kernels_floor_ms", k->floor_ms);
    for (int i = 0; i < k->n; i++) {
        const struct bench_kernel *one = &k->list[i];
        cJSON *item = json_add_item(list);
        json_add_string(item, "kernel", one->text);
        json_add_count(item, "count", one->count);
        json_add_count(item, "launches", one->launches);
        json_add_double(item, "ms", one->ms);
        json_add_double(item, "floor_ms", one->floor_ms);
        json_add_double(item, "flop", one->flop);
        json_add_double(item, "bytes", one->bytes);
    }
}

// ---- bench engine

static double per_second(double amount, double ms) { return ms > 0 ? amount / ms * 1e3 : 0; }

static void print_row(const char *name, const struct bench_kernels *k,
                      const struct bench_kernel *one) {
    const double flops = per_second(one->flop, one->ms), bytes = per_second(one->bytes, one->ms);
    printf("%-50s %5d %9.4f ", name, one->count, one->ms);
    if (flops > 0)
        printf("%9.1f %5.0f %%", flops / 1e9, 100 * flops / k->rates.fma_flops);
    else
        printf("%9s %7s", "", ""); // no products in it
    printf(" %8.1f %5.0f %%\n", bytes / 1e9, 100 * bytes / k->rates.copy_bytes_per_s);
}

static void print_shapes(const char *preset, const char *where, const struct bench_kernels *k) {
    enum { SHOWN = 24 };
    struct bench_kernel all = {0}, other = {0};
    printf("an update of preset %s, %s: %d kinds and shapes of node\n", preset, where, k->n);
    printf("%-50s %5s %9s %9s %7s %8s %7s\n", "kind and shape", "count", "ms", "GFLOP/s", "of peak",
           "GB/s", "of rate");
    for (int i = 0; i < k->n; i++) {
        const struct bench_kernel *one = &k->list[i];
        struct bench_kernel *const sums[] = {&all, &other};
        for (int s = 0; s < (i < SHOWN ? 1 : 2); s++) {
            sums[s]->count += one->count;
            sums[s]->ms += one->ms;
            sums[s]->flop += one->flop;
            sums[s]->bytes += one->bytes;
        }
        if (i < SHOWN) print_row(one->text, k, one);
    }
    if (other.count) print_row("the others", k, &other);
    print_row("all", k, &all);
    printf("measured beside it: multiply-adds %.0f GFLOP/s, %s %.1f GB/s\n",
           k->rates.fma_flops / 1e9, k->launches ? "a copy" : "reads of memory",
           k->rates.copy_bytes_per_s / 1e9);
}

int cmd_bench_engine(const struct cli *cli) {
    const struct bench_train_opts opts = {.preset = cli->preset,
                                          .device = cli->device,
                                          .n_threads = cli->threads,
                                          .shapes = true,
                                          .updates = cli->steps ? cli->steps : cli->updates,
                                          .settings = cli->settings,
                                          .n_settings = cli->n_settings};
    struct bench_train_result r;
    struct error e = {0};
    char threads[32];
    if (!bench_train(&opts, &r, &e)) return cli_fail(&e);
    const char *preset = cli->preset ? cli->preset : "tiny";
    snprintf(threads, sizeof threads, "%d thread%s", r.n_threads, r.n_threads == 1 ? "" : "s");
    if (cli->json) {
        cJSON *o = cJSON_CreateObject();
        json_add_string(o, "bench", "engine");
        json_add_string(o, "preset", preset);
        json_add_count(o, "threads", r.n_threads);
        json_add_count(o, "updates", r.updates);
        cmd_add_kernels(o, &r.kernels);
        json_print_and_free(stdout, o);
    } else {
        print_shapes(preset, r.launches ? "on the device" : threads, &r.kernels);
    }
    bench_kernels_free(&r.kernels);
    return 0;
}
