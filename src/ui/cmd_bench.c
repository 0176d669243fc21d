// workbench bench: what there is to measure; the training update and the emulator, as text or JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/run/bench/bench.h"
#include "engine/run/device.h"
#include "ui/cmd_bench.h"

static void print_train(const char *preset, const struct bench_train_result *r) {
    const struct {
        const char *name;
        const struct bench_timing *t;
    } rows[] = {
        {"full update", &r->full}, {"world model", &r->world_model}, {"behaviour", &r->behaviour}};
    printf("preset %s, %d threads, %d updates\n", preset, r->n_threads, r->updates);
    for (int i = 0; i < 3 && rows[i].t->median_ms > 0; i++)
        printf("%-12s median %.2f ms, min %.2f ms\n", rows[i].name, rows[i].t->median_ms,
               rows[i].t->min_ms);
    printf("%lld parameters, activations %.1f MB, graphs built in %.0f ms\n",
           (long long)r->n_weights, (double)r->n_nodes_slab_bytes / 1e6, r->build_ms);
    if (r->launches)
        printf("%lld launches an update, replayed as one graph\n", (long long)r->launches);
    cmd_print_kernels(&r->kernels);
    if (!r->n_parts) return;
    printf("\n%-24s %10s %10s %10s %14s\n", "part", "ms", "GFLOP", "GFLOP/s", "in products");
    double ms = 0, gflop = 0;
    for (int i = 0; i < r->n_parts; i++) {
        const struct bench_part *p = &r->parts[i];
        printf("%-24s %10.2f %10.3f %10.1f %14.1f\n", p->name, p->ms, p->gflop,
               p->ms > 0 ? p->gflop * 1e3 / p->ms : 0,
               p->product_ms > 0 ? p->gflop * 1e3 / p->product_ms : 0);
        ms += p->ms;
        gflop += p->gflop;
    }
    const double rate = gflop * 1e3 / ms;
    printf("%-24s %10.2f %10.3f %10.1f   ", "all", ms, gflop, rate);
    if (rate > r->peak_gflops)
        printf("more than the %.0f GFLOP/s measured now, beside other load\n", r->peak_gflops);
    else
        printf("= %.0f %% of this machine's %.0f GFLOP/s\n", 100 * rate / r->peak_gflops,
               r->peak_gflops);
    printf("beside it: a batch from the replay %.3f ms, a policy step of one emulator %.2f ms\n",
           r->replay_ms, r->emulator_ms);
    printf("\n%-24s %10s\n", "kind of node", "ms");
    for (int i = 0; i < r->n_ops; i++) printf("%-24s %10.2f\n", r->ops[i].op, r->ops[i].ms);
}

static void add_timing(cJSON *median, cJSON *min, const char *name, const struct bench_timing *t) {
    json_add_double(median, name, t->median_ms);
    json_add_double(min, name, t->min_ms);
}

static void add_profile(cJSON *o, const struct bench_train_result *r) {
    if (!r->n_parts) return;
    json_add_double(o, "peak_gflops", r->peak_gflops);
    json_add_double(o, "replay_batch_ms", r->replay_ms);
    json_add_double(o, "emulator_step_ms", r->emulator_ms);
    cJSON *parts = json_add_object(o, "parts"), *ops = json_add_object(o, "ops_ms");
    for (int i = 0; i < r->n_parts; i++) {
        cJSON *p = json_add_object(parts, r->parts[i].name);
        json_add_double(p, "ms", r->parts[i].ms);
        json_add_double(p, "gflop", r->parts[i].gflop);
        json_add_double(p, "product_ms", r->parts[i].product_ms);
    }
    for (int i = 0; i < r->n_ops; i++) json_add_double(ops, r->ops[i].op, r->ops[i].ms);
}

static int bench_train_command(const struct cli *cli) {
    struct bench_train_opts opts = {.preset = cli->preset,
                                    .device = cli->device,
                                    .n_threads = cli->threads,
                                    .profile = cli->profile,
                                    .kernels = cli->kernels,
                                    .updates = cli->steps ? cli->steps : cli->updates,
                                    .settings = cli->settings,
                                    .n_settings = cli->n_settings};
    struct bench_train_result r;
    struct error e = {0};
    if (!bench_train(&opts, &r, &e)) return cli_fail(&e);
    const char *preset = cli->preset ? cli->preset : "tiny";
    if (!cli->json) {
        print_train(preset, &r);
        bench_kernels_free(&r.kernels);
        return 0;
    }
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "bench", "train");
    json_add_string(o, "preset", preset);
    json_add_count(o, "threads", r.n_threads);
    json_add_count(o, "updates", r.updates);
    json_add_count(o, "parameters", r.n_weights);
    json_add_count(o, "activation_bytes", r.n_nodes_slab_bytes);
    json_add_double(o, "build_ms", r.build_ms);
    cJSON *median = json_add_object(o, "median_ms"), *min = json_add_object(o, "min_ms");
    add_timing(median, min, "full", &r.full);
    if (r.behaviour.median_ms > 0) { // an update with halves
        add_timing(median, min, "world_model", &r.world_model);
        add_timing(median, min, "behaviour", &r.behaviour);
    }
    if (r.launches) json_add_count(o, "launches", r.launches);
    add_profile(o, &r);
    cmd_add_kernels(o, &r.kernels);
    bench_kernels_free(&r.kernels);
    json_print_and_free(stdout, o);
    return 0;
}

static void print_emu_device(const char *device, const struct bench_emu_device_result *r) {
    printf("emulator on %s, a picture at every step\n", device);
    printf("%10s %14s %12s %8s %10s  %s\n", "machines", "frames/s", "steps/s", "steps", "checked",
           "SHA-256, as on the CPU");
    for (int i = 0; i < r->n_sizes; i++) {
        const struct bench_emu_size *s = &r->size[i];
        printf("%10d %14.0f %12.0f %8lld %10d  %.16s\n", s->n_envs, s->frames_per_second,
               s->steps_per_second, (long long)s->steps, s->n_checked, s->hash);
    }
}

static void print_emu_device_json(const char *device, const struct bench_emu_device_result *r) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "bench", "emu");
    json_add_string(o, "device", device);
    cJSON *list = cJSON_AddArrayToObject(o, "sizes");
    for (int i = 0; i < r->n_sizes; i++) {
        const struct bench_emu_size *s = &r->size[i];
        cJSON *one = json_add_item(list);
        json_add_count(one, "envs", s->n_envs);
        json_add_count(one, "steps", s->steps);
        json_add_double(one, "seconds", s->seconds);
        json_add_double(one, "frames_per_second", s->frames_per_second);
        json_add_double(one, "steps_per_second", s->steps_per_second);
        json_add_count(one, "checked", s->n_checked);
        json_add_string(one, "sha256", s->hash);
    }
    json_print_and_free(stdout, o);
}

static int bench_emu_on_device(const struct cli *cli, const struct bench_emu_opts *opts,
                               const char *device) {
    struct bench_emu_device_result r;
    struct error e = {0};
    if (!bench_emu_device(opts, &r, &e)) return cli_fail(&e);
    (cli->json ? print_emu_device_json : print_emu_device)(device, &r);
    return 0;
}

static int bench_emu_command(const struct cli *cli) {
    struct bench_emu_opts opts = {.rom_path = cli->rom,
                                  .task = cli->task,
                                  .n_envs = cli->envs,
                                  .n_threads = cli->threads,
                                  .steps = cli->steps,
                                  .draw = cli->draw};
    struct bench_emu_result r;
    struct error e = {0};
    struct device device;
    if (!device_choose(cli->device ? cli->device : "cpu", &device, &e)) return cli_fail(&e);
    if (backend_chosen() && cli->draw) {
        error_set(&e, STATUS_USAGE, "--draw: on a device the last frame is drawn; leave it out");
        return cli_fail(&e);
    }
    if (backend_chosen()) return bench_emu_on_device(cli, &opts, device.why);
    if (!bench_emu(&opts, &r, &e)) return cli_fail(&e);
    if (!cli->json) {
        printf(
            "emulator, %d machine%s, %d thread%s: %.0f frames/s (best of five times %lld frames, "
            "%.3g s)\n",
            r.n_envs, r.n_envs == 1 ? "" : "s", r.n_threads, r.n_threads == 1 ? "" : "s",
            r.frames_per_second, (long long)r.frames, r.seconds);
        return 0;
    }
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "bench", "emu");
    json_add_count(o, "envs", r.n_envs);
    json_add_count(o, "threads", r.n_threads);
    json_add_count(o, "frames", r.frames);
    json_add_double(o, "seconds", r.seconds);
    json_add_double(o, "frames_per_second", r.frames_per_second);
    json_print_and_free(stdout, o);
    return 0;
}

int cmd_bench(const struct cli *cli) {
    static const struct {
        const char *what;
        int (*run)(const struct cli *cli);
    } list[] = {{"train", bench_train_command},
                {"emu", bench_emu_command},
                {"engine", cmd_bench_engine},
                {"env", cmd_bench_env},
                {"replay", cmd_bench_replay}};
    const char *what = cli->n_words == 1 ? cli->words[0] : "";
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(what, list[i].what) == 0) return list[i].run(cli);
    fprintf(
        stderr,
        "workbench: bench%s%s: say what to measure: workbench bench emu|env|replay|engine|train\n",
        what[0] ? " " : "", what);
    return STATUS_USAGE;
}
