// workbench bench env: steps a second of a task's environments, as text or JSON.
#include <stdio.h>

#include "base/json.h"
#include "engine/run/bench/bench.h"
#include "engine/run/device.h"
#include "ui/cmd_bench.h"

static void print_text(const char *where, const struct bench_env_result *r, bool on_device) {
    printf("environments of %s, %s: random actions, rewards, resets, observations of %lld bytes",
           r->task, where, (long long)r->obs_bytes);
    if (r->frames_per_step) printf(", %d frames a step", r->frames_per_step);
    printf("\n%10s %12s %14s %10s %10s%s\n", "machines", "steps/s", "frames/s", "ticks", "episodes",
           on_device ? "  as the CPU's" : "");
    for (int i = 0; i < r->n_sizes; i++) {
        const struct bench_env_size *s = &r->size[i];
        printf("%10d %12.0f %14.0f %10lld %10lld", s->n_envs, s->steps_per_second,
               s->steps_per_second * r->frames_per_step, (long long)s->ticks,
               (long long)s->episodes);
        if (on_device) printf("  %d of %d checked", s->n_checked, s->n_checked);
        putchar('\n');
    }
}

static void print_json(const char *device, const struct bench_env_result *r) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "bench", "env");
    json_add_string(o, "device", device);
    json_add_string(o, "task", r->task);
    json_add_count(o, "threads", r->n_threads);
    json_add_count(o, "frames_per_step", r->frames_per_step);
    json_add_count(o, "observation_bytes", r->obs_bytes);
    cJSON *list = cJSON_AddArrayToObject(o, "sizes");
    for (int i = 0; i < r->n_sizes; i++) {
        const struct bench_env_size *s = &r->size[i];
        cJSON *one = json_add_item(list);
        json_add_count(one, "envs", s->n_envs);
        json_add_count(one, "ticks", s->ticks);
        json_add_count(one, "steps", s->steps);
        json_add_count(one, "episodes", s->episodes);
        json_add_double(one, "seconds", s->seconds);
        json_add_double(one, "steps_per_second", s->steps_per_second);
        json_add_double(one, "frames_per_second", s->steps_per_second * r->frames_per_step);
        json_add_count(one, "checked", s->n_checked);
    }
    json_print_and_free(stdout, o);
}

int cmd_bench_env(const struct cli *cli) {
    const struct bench_env_opts opts = {.rom_path = cli->rom,
                                        .task = cli->task,
                                        .n_envs = cli->envs,
                                        .n_threads = cli->threads,
                                        .steps = cli->steps,
                                        .settings = cli->settings,
                                        .n_settings = cli->n_settings};
    struct bench_env_result r;
    struct error e = {0};
    struct device device;
    char threads[32];
    if (!device_choose(cli->device ? cli->device : "cpu", &device, &e)) return cli_fail(&e);
    const bool on_device = backend_chosen() != NULL;
    if (!(on_device ? bench_env_device : bench_env)(&opts, &r, &e)) return cli_fail(&e);
    snprintf(threads, sizeof threads, "%d thread%s", r.n_threads, r.n_threads == 1 ? "" : "s");
    if (cli->json)
        print_json(on_device ? device.why : "cpu", &r);
    else
        print_text(on_device ? device.why : threads, &r, on_device);
    return 0;
}
