// workbench doctor: what this machine offers, a line each; with --json the same as an object.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <langinfo.h>
#include <locale.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/pool.h"
#include "base/version.h"
#include "engine/env/builtin.h"
#include "engine/env/control.h"
#include "engine/env/toy.h"
#include "engine/graph/graph.h"
#include "engine/run/device.h"
#include "engine/run/files.h"
#include "engine/run/bench/peak.h"
#include "ui/cli.h"

typedef void probe(char *out, size_t size);

static void probe_version(char *out, size_t size) {
    snprintf(out, size, "%s (%s), built with %s", version_text, version_revision, __VERSION__);
}

// The value of the first line of /proc/cpuinfo or /proc/meminfo that starts with `key`.
static void proc_value(const char *file, const char *key, char *out, size_t size) {
    snprintf(out, size, "unknown");
    FILE *f = fopen(file, "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, size, "%s", colon);
        break;
    }
    if (f) fclose(f);
}

static void probe_cpu(char *out, size_t size) {
    char model[256];
    cpu_set_t set;
    proc_value("/proc/cpuinfo", "model name", model, sizeof model);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    snprintf(out, size, "%s, %d usable", model, n);
}

static void probe_kernels(char *out, size_t size) {
    const char *bf16 = cpu_kernels_bf16_name();
    const bool native = bf16 && strcmp(bf16, "avx512bf16") == 0;
    snprintf(out, size, "%s (of generic, avx2, avx512; WORKBENCH_KERNELS chooses); bf16 %s",
             cpu_kernels_name(),
             native ? "by the CPU's instruction"
             : bf16 ? "emulated"
                    : "none");
}

static void probe_memory(char *out, size_t size) {
    char total[64], available[64];
    proc_value("/proc/meminfo", "MemTotal", total, sizeof total);
    proc_value("/proc/meminfo", "MemAvailable", available, sizeof available);
    snprintf(out, size, "%.1f GiB, %.1f GiB available", atof(total) / 1048576,
             atof(available) / 1048576);
}

// Of one thread and of all CPUs, measured when first asked for; in the memory figures other load on
// the machine shows.
struct speed {
    int n_threads;
    double fma_gflops[2], memory_gbytes[2];
};

static const struct speed *machine_speed(void) {
    static struct speed s;
    cpu_set_t set;
    if (s.n_threads) return &s;
    s.n_threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    for (int i = 0; i < 2; i++) {
        struct pool *pool = pool_new(i == 0 ? 1 : s.n_threads);
        s.fma_gflops[i] = peak_fma_gflops(pool);
        s.memory_gbytes[i] = peak_memory_gbytes(pool);
        pool_free(pool);
    }
    return &s;
}

static void probe_speed(char *out, size_t size) {
    const struct speed *s = machine_speed();
    snprintf(
        out, size,
        "1 thread: %.0f GFLOP/s in multiply-adds, %.0f GB/s from memory; %d threads: %.0f, %.0f",
        s->fma_gflops[0], s->memory_gbytes[0], s->n_threads, s->fma_gflops[1], s->memory_gbytes[1]);
}

static void add_speed(cJSON *o) {
    const struct speed *s = machine_speed();
    cJSON *list = cJSON_AddArrayToObject(o, "measured");
    for (int i = 0; i < 2; i++) {
        cJSON *one = json_add_item(list);
        json_add_count(one, "threads", i == 0 ? 1 : s->n_threads);
        json_add_double(one, "fma_gflops", s->fma_gflops[i]);
        json_add_double(one, "memory_gbytes_per_s", s->memory_gbytes[i]);
    }
}

static void probe_gpu(char *out, size_t size) {
    char text[BACKEND_MESSAGE_SIZE];
    const bool there = device_describe(text, sizeof text);
    snprintf(out, size, "%s%s", text, there ? "" : "; --device auto trains on the CPU");
}

static void probe_terminal(char *out, size_t size) {
    const char *term = getenv("TERM"), *color = getenv("COLORTERM");
    setlocale(LC_CTYPE, "");
    snprintf(out, size, "TERM=%s%s%s, character set %s, %s", term ? term : "(unset)",
             color ? ", COLORTERM=" : "", color ? color : "", nl_langinfo(CODESET),
             isatty(1) ? "stdout is a terminal" : "stdout is no terminal: training runs headless");
}

static void probe_display(char *out, size_t size) {
#ifdef WORKBENCH_HEADLESS
    snprintf(out, size, "built without SDL2 and ncurses (HEADLESS=1)");
#else
    const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY"),
               *driver = getenv("SDL_VIDEODRIVER");
    if (wayland)
        snprintf(out, size, "WAYLAND_DISPLAY=%s: the window can open", wayland);
    else if (x)
        snprintf(out, size, "DISPLAY=%s: the window can open", x);
    else if (driver)
        snprintf(out, size, "SDL_VIDEODRIVER=%s", driver);
    else
        snprintf(out, size, "none: no window; the terminal shows the pictures");
#endif
}

static void probe_ffmpeg(char *out, size_t size) {
    snprintf(out, size,
             files_program_exists("ffmpeg")
                 ? "found: MP4 videos beside the GIFs"
                 : "not found: GIF videos only (apt-get install ffmpeg)");
}

static void probe_golden(char *out, size_t size) {
    char path[1024], *plain = files_find_golden(path, sizeof path) ? realpath(path, NULL) : NULL;
    snprintf(out, size, "%s",
             plain ? plain
                   : "not found: --gate needs them (run from the source tree, or make install)");
    free(plain);
}

static void probe_tasks(char *out, size_t size) {
    builtin_task_names(out, size);
    size_t n = strlen(out);
    n += (size_t)snprintf(out + n, size - n, ", %s", TOY_TASK_NAME);
    for (int i = 0; i < n_control_tasks && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, ", %s", control_tasks[i].name);
}

static const struct {
    const char *name;
    probe *run;
} probes[] = {
    {"workbench", probe_version}, {"cpu", probe_cpu},
    {"kernels", probe_kernels},   {"speed", probe_speed},
    {"memory", probe_memory},     {"gpu", probe_gpu},
    {"terminal", probe_terminal}, {"display", probe_display},
    {"ffmpeg", probe_ffmpeg},     {"golden fixtures", probe_golden},
    {"tasks", probe_tasks},
};

int cmd_doctor(const struct cli *cli) {
    struct error e = {0};
    if (cli->n_words > 0) {
        error_set(&e, STATUS_USAGE, "doctor %s: it takes no words", cli->words[0]);
        return cli_fail(&e);
    }
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        char text[1100];
        probes[i].run(text, sizeof text);
        if (!cli->json) printf("%-16s %s\n", probes[i].name, text);
        cJSON_AddStringToObject(json, probes[i].name, text);
    }
    add_speed(json);
    if (cli->json)
        json_print_and_free(stdout, json);
    else
        cJSON_Delete(json);
    return 0;
}
