// workbench bench replay: rows a second of the replay ring, as text or JSON.
#include <stdio.h>

#include "base/json.h"
#include "engine/run/bench/bench.h"
#include "engine/run/device.h"
#include "ui/cmd_bench.h"

static double share(const struct bench_replay_result *r, const struct bench_replay_part *p) {
    return r->memory_bytes_per_s > 0 ? p->bytes_per_second / r->memory_bytes_per_s : 0;
}

static void print_text(const char *where, const struct bench_replay_result *r) {
    printf("replay of %d environment%s x %lld rows, batches of %d x %d, %s\n", r->n_envs,
           r->n_envs == 1 ? "" : "s", (long long)r->rows, r->length, r->batch, where);
    printf("%-24s %14s %10s %14s\n", "rows", "rows/s", "GB/s", "of bandwidth");
    for (int i = 0; i < r->n_parts; i++) {
        const struct bench_replay_part *p = &r->part[i];
        printf("%-24s %14.0f", p->name, p->rows_per_second);
        if (p->bytes_per_second > 0)
            printf(" %10.2f %12.0f %%", p->bytes_per_second * 1e-9, 100 * share(r, p));
        putchar('\n');
    }
    printf("bandwidth measured beside it: %.1f GB/s\n", r->memory_bytes_per_s * 1e-9);
}

static void print_json(const char *device, const struct bench_replay_result *r) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "bench", "replay");
    json_add_string(o, "device", device);
    json_add_count(o, "threads", r->n_threads);
    json_add_count(o, "envs", r->n_envs);
    json_add_count(o, "rows", r->rows);
    json_add_count(o, "sequence_length", r->length);
    json_add_count(o, "batch_size", r->batch);
    json_add_double(o, "memory_bytes_per_second", r->memory_bytes_per_s);
    cJSON *list = cJSON_AddArrayToObject(o, "parts");
    for (int i = 0; i < r->n_parts; i++) {
        const struct bench_replay_part *p = &r->part[i];
        cJSON *one = json_add_item(list);
        json_add_string(one, "rows", p->name);
        json_add_double(one, "rows_per_second", p->rows_per_second);
        json_add_double(one, "bytes_per_second", p->bytes_per_second);
    }
    json_print_and_free(stdout, o);
}

int cmd_bench_replay(const struct cli *cli) {
    struct bench_replay_opts opts = {.preset = cli->preset,
                                     .n_envs = cli->envs,
                                     .n_threads = cli->threads,
                                     .steps = cli->steps,
                                     .settings = cli->settings,
                                     .n_settings = cli->n_settings};
    struct bench_replay_result r;
    struct error e = {0};
    struct device device;
    char threads[48];
    if (!device_choose(cli->device ? cli->device : "cpu", &device, &e)) return cli_fail(&e);
    const bool on_device = backend_chosen() != NULL;
    if (on_device && cli->threads) {
        error_set(&e, STATUS_USAGE, "--threads: the device's ring has none; leave it out");
        return cli_fail(&e);
    }
    if (!(on_device ? bench_replay_device : bench_replay)(&opts, &r, &e)) return cli_fail(&e);
    snprintf(threads, sizeof threads, "unpacked on %d thread%s", r.n_threads,
             r.n_threads == 1 ? "" : "s");
    if (cli->json)
        print_json(on_device ? device.why : "cpu", &r);
    else
        print_text(on_device ? device.why : threads, &r);
    return 0;
}
