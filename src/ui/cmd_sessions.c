// workbench sessions: list saved runs, show one; as text or JSON.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/algo/ppo/ppo_log.h"
#include "engine/data/session.h"
#include "engine/run/compare.h"
#include "ui/cli.h"

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

// What the heartbeat says; a "running" that no process writes was killed.
static const char *state_of(const struct session_data *d) {
    if (!d->heartbeat) return "unknown";
    const char *state = text_of(d->heartbeat, "state");
    const bool running = strcmp(state, session_state_names[SESSION_RUNNING]) == 0;
    return running && !session_is_written(d->path) ? "killed" : state;
}

static bool has(const struct session_data *d, int64_t record, enum metric m) {
    return d->records[record].present >> m & 1;
}

// The newest one. Of an evaluation only the newest evaluation's: without a success it has no
// median, and an older one's would stand beside its rate.
static double last_value(const struct session_data *d, enum metric m) {
    const bool of_evaluation = strncmp(metric_info[m].name, "eval_", 5) == 0;
    for (int64_t i = d->n_records - 1; i >= 0; i--) {
        if (has(d, i, m)) return (double)d->records[i].value[m];
        if (of_evaluation && has(d, i, METRIC_EVAL_MEAN_RETURN)) break;
    }
    return NAN;
}

// "-" where it was not measured.
static const char *number(double v, char out[16]) {
    if (isnan(v))
        strcpy(out, "-");
    else
        snprintf(out, 16, "%.5g", v);
    return out;
}

static void print_row(const struct session_data *d) {
    char loss[16], back[16], success[16];
    printf("%-8s %9lld %9lld %9s %9s %8s  %s\n", state_of(d),
           (long long)(d->n_records ? d->records[d->n_records - 1].opt_steps : 0),
           (long long)(d->n_records ? d->records[d->n_records - 1].env_steps : 0),
           number(last_value(d, METRIC_OBS_NLL), loss),
           number(last_value(d, METRIC_RETURN_MEAN), back),
           number(last_value(d, METRIC_SUCCESS_RATE), success), d->path);
}

static cJSON *session_json(const struct session_data *d) {
    cJSON *o = cJSON_CreateObject(), *metrics;
    json_add_string(o, "path", d->path);
    json_add_string(o, "state", state_of(d));
    json_add_count(o, "opt_steps", d->n_records ? d->records[d->n_records - 1].opt_steps : 0);
    json_add_count(o, "env_steps", d->n_records ? d->records[d->n_records - 1].env_steps : 0);
    cJSON_AddItemToObject(o, "meta", cJSON_Duplicate(d->meta, true));
    metrics = json_add_object(o, "last");
    for (int m = 0; m < METRIC_COUNT; m++)
        if (!isnan(last_value(d, (enum metric)m)))
            json_add_double(metrics, metric_info[m].name, last_value(d, (enum metric)m));
    return o;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*b)->d_name, (*a)->d_name);
}
static int visible(const struct dirent *d) { return d->d_name[0] != '.'; }

static int list(const struct cli *cli) {
    const char *root = cli->sessions ? cli->sessions : "sessions";
    struct dirent **names = NULL;
    int n = scandir(root, &names, visible, by_name);
    if (n < 0 && errno != ENOENT) {
        fprintf(stderr, "workbench: cannot list %s: %s; check --sessions\n", root, strerror(errno));
        return STATUS_USAGE;
    }
    if (n < 0) {
        if (cli->json)
            puts("[]");
        else
            printf("no sessions in %s\n", root);
        return 0;
    }
    cJSON *all = cJSON_CreateArray();
    if (!cli->json)
        printf("%-8s %9s %9s %9s %9s %8s  %s\n", "state", "updates", "env steps", "obs loss",
               "return", "success", "session (newest first)");
    for (int i = 0; i < n; i++) {
        char path[PATH_SIZE];
        struct error e = {0};
        struct session_data *d =
            path_join(path, root, names[i]->d_name, &e) ? session_read(path, &e) : NULL;
        if (d && cli->json)
            cJSON_AddItemToArray(all, session_json(d));
        else if (d)
            print_row(d);
        else if (!cli->json)
            printf("%-8s %9s %9s %9s %9s %8s  %s\n", "broken", "", "", "", "", "", e.message);
        session_data_free(d);
        free(names[i]);
    }
    free(names);
    if (cli->json)
        json_print_and_free(stdout, all);
    else
        cJSON_Delete(all);
    return 0;
}

static int show(const struct cli *cli, const char *path) {
    struct error e = {0};
    struct session_data *d = session_read(path, &e);
    if (!d) return cli_fail(&e);
    if (cli->json) {
        json_print_and_free(stdout, session_json(d));
    } else {
        printf("%s: %s\n", d->path, state_of(d));
        for (const cJSON *item = d->meta ? d->meta->child : NULL; item; item = item->next) {
            char *value = cJSON_PrintUnformatted(item);
            printf("  %-18s %s\n", item->string, value);
            free(value);
        }
        printf("last of %lld records%s\n", (long long)d->n_records,
               d->last_line_cut ? " (the last line is cut)" : "");
        for (int m = 0; m < METRIC_COUNT; m++)
            if (!isnan(last_value(d, (enum metric)m)))
                printf("  %-18s %12.5g %-6s %s\n", metric_info[m].name,
                       last_value(d, (enum metric)m), metric_info[m].unit, metric_info[m].what);
    }
    session_data_free(d);
    return 0;
}

// Until which step records must be there: that of the newest checkpoint, which is written after
// them, and the last one's own.
static bool check_whole(const struct session_data *d, int64_t checkpoint, struct error *e) {
    const int64_t last = d->n_records ? d->records[d->n_records - 1].opt_steps : 0;
    return session_lines_whole(d->path, last > checkpoint ? last : checkpoint, e);
}

// Every record that is due is there; of PPO's each key, of its type, in its range.
static int check(const struct cli *cli, const char *path) {
    struct error e = {0};
    char newest[PATH_SIZE];
    int64_t checkpoint = 0; // looked for first: a run may be writing
    if (!session_newest_checkpoint(path, newest, &checkpoint, NULL)) checkpoint = 0;
    struct session_data *d = session_read(path, &e);
    if (!d) return cli_fail(&e);
    int64_t n = d->n_records;
    const bool ppo = strcmp(text_of(d->meta, "algo"), "ppo") == 0;
    const bool fine =
        check_whole(d, checkpoint, &e) && (!ppo || ppo_log_check_session(path, &n, &e));
    session_data_free(d);
    if (!fine) return cli_fail(&e);
    if (cli->json)
        printf("{\"records\":%lld,\"fine\":true}\n", (long long)n);
    else
        printf("%s: %lld records, nothing wrong\n", path, (long long)n);
    return 0;
}

// ---- compare

static void print_level(bool reached, double env_steps, double wall_s) {
    if (!reached)
        printf("  %12s %9s", "-", "-");
    else
        printf("  %12.0f %9.0f", env_steps, wall_s);
}

static void print_group(const struct compare_group *g) {
    printf("%-44s", g->label);
    for (int k = 0; k < COMPARE_N_LEVELS; k++) {
        printf("  %2d of %-2d", g->n_reached[k], g->n_runs);
        print_level(!isnan(g->median_steps[k]), g->median_steps[k], g->median_wall_s[k]);
    }
    putchar('\n');
}

// Of tasks without a goal.
static void print_returns(const struct comparison *c) {
    printf("%-44s %10s %8s %8s %10s\n", "run", "env steps", "wall s", "steps/s", "return");
    for (int i = 0; i < c->n_runs; i++) {
        const struct compare_run *r = &c->runs[i];
        printf("%-44s %10lld %8.0f %8.0f %10.5g\n", r->label, (long long)r->env_steps, r->wall_s,
               r->sps, r->last_return);
    }
}

static void print_successes(const struct comparison *c) {
    printf("%-44s %10s %8s %8s %8s  %22s  %22s\n", "run", "env steps", "wall s", "steps/s",
           "success", "50 %: steps, wall s", "90 %: steps, wall s");
    for (int i = 0; i < c->n_runs; i++) {
        const struct compare_run *r = &c->runs[i];
        char success[16] = "-"; // no episode has ended
        if (!isnan(r->last_success))
            snprintf(success, sizeof success, "%.0f%%", 100 * r->last_success);
        printf("%-44s %10lld %8.0f %8.0f %8s", r->label, (long long)r->env_steps, r->wall_s, r->sps,
               success);
        for (int k = 0; k < COMPARE_N_LEVELS; k++)
            print_level(r->levels[k].reached, (double)r->levels[k].env_steps, r->levels[k].wall_s);
        putchar('\n');
    }
    printf("\n%-44s  %32s  %32s\n", "seeds together", "50 %: runs, median steps, wall s",
           "90 %: runs, median steps, wall s");
    for (int g = 0; g < c->n_groups; g++) print_group(&c->groups[g]);
}

static void print_comparison(const struct comparison *c) {
    char note[200];
    if (c->by_return)
        print_returns(c);
    else
        print_successes(c);
    compare_differences(c, note, sizeof note);
    if (note[0]) printf("%s\n", note);
}

static bool same_folder(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// Each session once: given twice it would be two seeds. Returns how many there are.
static int leave_out_repeats(const char *const *paths, int n, const char **out) {
    int n_out = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < n_out && !same_folder(paths[i], out[k])) k++;
        if (k == n_out)
            out[n_out++] = paths[i];
        else
            fprintf(stderr, "workbench: sessions compare: %s is given twice; it counts once\n",
                    paths[i]);
    }
    return n_out;
}

static int compare(const struct cli *cli, const char *const *given, int n_given) {
    const char *paths[CLI_MAX_WORDS];
    struct compare_run *runs = mem_alloc(COMPARE_MAX_RUNS * sizeof *runs);
    struct error e = {0};
    bool fine = true;
    const int n = leave_out_repeats(given, n_given, paths);
    if (n > COMPARE_MAX_RUNS)
        fine = error_set(&e, STATUS_USAGE, "sessions compare: at most %d runs", COMPARE_MAX_RUNS);
    for (int i = 0; i < n && fine; i++) fine = compare_open(&runs[i], paths[i], &e);
    struct comparison *c = fine ? compare_new(runs, n, &e) : NULL;
    fine = c && (!cli->png || compare_png(c, cli->png, &e));
    if (fine && cli->json)
        json_print_and_free(stdout, compare_json(c));
    else if (fine)
        print_comparison(c);
    compare_free(c);
    for (int i = 0; i < n && i < COMPARE_MAX_RUNS; i++) compare_close(&runs[i]);
    free(runs);
    return fine ? 0 : cli_fail(&e);
}

int cmd_sessions(const struct cli *cli) {
    if (cli->n_words == 1 && strcmp(cli->words[0], "list") == 0) return list(cli);
    if (cli->n_words == 2 && strcmp(cli->words[0], "show") == 0) return show(cli, cli->words[1]);
    if (cli->n_words >= 3 && strcmp(cli->words[0], "compare") == 0)
        return compare(cli, cli->words + 1, cli->n_words - 1);
    if (cli->n_words == 2 && strcmp(cli->words[0], "check") == 0) return check(cli, cli->words[1]);
    fprintf(stderr, "workbench: sessions: say sessions list, show SESSION, check SESSION or "
                    "compare A B ... [--json] "
                    "[--png success.png]\n");
    return STATUS_USAGE;
}
