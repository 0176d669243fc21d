// workbench bench: speed of the world-model update and of the emulator, as text or JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/run/bench.h"
#include "ui/cli.h"

static void print_json(cJSON *o) {
    char *text = cJSON_Print(o);
    puts(text);
    free(text);
    cJSON_Delete(o);
}

static int bench_train_command(const struct cli *cli) {
    struct bench_train_opts opts = {.preset = cli->preset, .n_threads = cli->threads,
                                    .updates = cli->steps ? cli->steps : cli->updates,
                                    .settings = cli->settings, .n_settings = cli->n_settings};
    struct bench_train_result r;
    struct error e = {0};
    if (!bench_train(&opts, &r, &e)) return cli_fail(&e);
    const char *preset = cli->preset ? cli->preset : "tiny";
    if (!cli->json) {
        printf("world-model update, preset %s, %d threads: median %.2f ms, min %.2f ms over %d updates\n"
               "%lld parameters, activations %.1f MB, graph built in %.0f ms\n",
               preset, r.n_threads, r.median_ms, r.min_ms, r.updates, (long long)r.n_weights,
               (double)r.n_nodes_slab_bytes / 1e6, r.build_ms);
        return 0;
    }
    cJSON *o = cJSON_CreateObject(), *median = NULL, *min = NULL;
    json_add_string(o, "bench", "train");
    json_add_string(o, "preset", preset);
    json_add_count(o, "threads", r.n_threads);
    json_add_count(o, "updates", r.updates);
    json_add_count(o, "parameters", r.n_weights);
    json_add_count(o, "activation_bytes", r.n_nodes_slab_bytes);
    json_add_double(o, "build_ms", r.build_ms);
    median = json_add_object(o, "median_ms");
    json_add_double(median, "world_model", r.median_ms);
    min = json_add_object(o, "min_ms");
    json_add_double(min, "world_model", r.min_ms);
    print_json(o);
    return 0;
}

static int bench_emu_command(const struct cli *cli) {
    struct bench_emu_opts opts = {.rom_path = cli->rom, .task = cli->task, .n_envs = cli->envs,
                                  .n_threads = cli->threads, .steps = cli->steps, .draw = cli->draw};
    struct bench_emu_result r;
    struct error e = {0};
    if (!bench_emu(&opts, &r, &e)) return cli_fail(&e);
    if (!cli->json) {
        printf("emulator, %d machines, %d threads: %.0f frames/s (%lld frames in %.3f s)\n", r.n_envs, r.n_threads,
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
    print_json(o);
    return 0;
}

int cmd_bench(const struct cli *cli) {
    const char *what = cli->n_words == 1 ? cli->words[0] : "";
    if (strcmp(what, "train") == 0) return bench_train_command(cli);
    if (strcmp(what, "emu") == 0) return bench_emu_command(cli);
    fprintf(stderr, "workbench: bench%s%s: say what to measure: workbench bench train|emu\n", what[0] ? " " : "", what);
    return STATUS_USAGE;
}
