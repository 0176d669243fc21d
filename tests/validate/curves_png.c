// Success over environment steps, a curve per seed, from the lines that tests/validate/exit_lab
// wrote.
//
//     curves_png docs/validation/exit_lab.jsonl docs/validation/exit_lab.png
//
// The newest PLOT_MAX_BANDS lines are drawn.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/data/plot.h"

enum { MAX_BYTES = 64 << 20, LABEL_SIZE = 40 };

struct seed_curve {
    char label[LABEL_SIZE];
    double *x, *success;
    int64_t n;
};

static bool read_curve(const cJSON *line, const char *where, struct seed_curve *out,
                       struct error *e) {
    const cJSON *points, *p;
    int64_t seed;
    if (!json_get_i64(line, "seed", where, &seed, e) ||
        !json_get_array(line, "curve", where, &points, e))
        return false;
    const size_t bytes = ((size_t)cJSON_GetArraySize(points) + 1) * sizeof(double);
    *out = (struct seed_curve){.x = mem_alloc(bytes), .success = mem_alloc(bytes)};
    snprintf(out->label, sizeof out->label, "seed %lld", (long long)seed);
    cJSON_ArrayForEach(p, points) {
        int64_t x;
        double y;
        if (!json_is_i64(cJSON_GetArrayItem(p, 0), &x) ||
            !json_is_double(cJSON_GetArrayItem(p, 1), &y))
            return error_set(e, STATUS_FAILED, "%s: curve: not a list of [step, share]", where);
        out->x[out->n] = (double)x;
        out->success[out->n++] = y;
    }
    return true;
}

static void free_curve(struct seed_curve *c) {
    free(c->x);
    free(c->success);
    *c = (struct seed_curve){0};
}

static bool draw(const char *from, const char *to, struct error *e) {
    uint8_t *text;
    size_t n;
    struct seed_curve curves[PLOT_MAX_BANDS] = {0};
    struct plot_band bands[PLOT_MAX_BANDS];
    int64_t n_lines = 0;
    bool fine = file_read(from, MAX_BYTES, &text, &n, e);
    if (!fine) return false;
    for (char *at = (char *)text, *end; fine && (end = strchr(at, '\n')); at = end + 1) {
        char where[PATH_SIZE + 32];
        snprintf(where, sizeof where, "%s:%lld", from, (long long)n_lines + 1);
        struct seed_curve *c = &curves[n_lines++ % PLOT_MAX_BANDS];
        free_curve(c);
        cJSON *line = json_parse(at, (size_t)(end - at), where, e);
        fine = line && read_curve(line, where, c, e);
        cJSON_Delete(line);
    }
    int n_runs = n_lines < PLOT_MAX_BANDS ? (int)n_lines : PLOT_MAX_BANDS;
    for (int i = 0; i < n_runs; i++)
        bands[i] = (struct plot_band){curves[i].label,   curves[i].n, curves[i].x,
                                      curves[i].success, NULL,        NULL};
    const struct plot_bands panel = {"success while playing", "environment step", bands, n_runs};
    char title[64], name[48];
    snprintf(name, sizeof name, "%.40s", path_base(from));
    name[strcspn(name, ".")] = 0;
    snprintf(title, sizeof title, "%s, %d runs", name, n_runs);
    fine = fine && (n_runs > 0 || error_set(e, STATUS_FAILED, "%s: no line", from)) &&
           plot_bands_png(to, title, &panel, 1, e);
    for (int i = 0; i < PLOT_MAX_BANDS; i++) free_curve(&curves[i]);
    free(text);
    return fine;
}

int main(int argc, char **argv) {
    struct error e = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: curves_png FILE.jsonl FILE.png\n");
        return STATUS_USAGE;
    }
    if (draw(argv[1], argv[2], &e)) return 0;
    fprintf(stderr, "curves_png: %s\n", e.message);
    return (int)e.status;
}
