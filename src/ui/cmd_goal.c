// workbench goal: templates of a wanted screen: captured, checked by recorded actions, calibrated.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/data/image.h"
#include "engine/data/npy.h"
#include "engine/env/goal_trace.h"
#include "engine/env/task.h"
#include "ui/cli.h"
#include "ui/cli_actions.h"
#include "ui/cli_rom.h"

enum { ACTIONS_FILE_MAX = 64 << 20, SCALE = 3, MARGIN = 8 };

struct goal_words { // what every subcommand was given
    const struct cli *cli;
    const char *codec_id;    // asked for by env.action_codec or by recorded actions; NULL: neither
    struct actions recorded; // of rom play; codec NULL: another form
    char actions_sha256[SHA256_HEX_SIZE];
    struct goal_trace trace; // n_steps 0: none
};

// ---- what was given

static bool read_settings(struct goal_words *w, struct error *e) {
    for (int i = 0; i < w->cli->n_settings; i++) {
        const char *s = w->cli->settings[i];
        if (strcmp(s, "env.action_codec=v0") == 0)
            w->codec_id = "pokemonred_puffer_v0";
        else if (strcmp(s, "env.action_codec=v1") == 0)
            w->codec_id = "pokemonred_puffer_v1";
        else
            return error_set(e, STATUS_USAGE,
                             "goal: %s: the one key here is env.action_codec, v0 or v1", s);
    }
    return true;
}

static bool starts_with(const uint8_t *bytes, size_t n, const char *word) {
    return n >= strlen(word) && memcmp(bytes, word, strlen(word)) == 0;
}

// Recorded in rom play: they name their codec, which must be the one asked for.
static bool read_recorded(struct goal_words *w, struct error *e) {
    if (!actions_read(&w->recorded, w->cli->actions, e)) return false;
    if (w->codec_id && strcmp(w->codec_id, w->recorded.codec->id) != 0)
        return error_set(e, STATUS_FAILED, "%s: recorded with %s, env.action_codec asks for %s",
                         w->cli->actions, w->recorded.codec->id, w->codec_id);
    w->codec_id = w->recorded.codec->id;
    return true;
}

// --actions in any of its three forms; `text` is kept until the codec is known.
static bool read_actions(struct goal_words *w, uint8_t **text, size_t *n, struct error *e) {
    *text = NULL;
    if (!w->cli->actions) return true;
    if (!file_read(w->cli->actions, ACTIONS_FILE_MAX, text, n, e)) return false;
    sha256_hex(*text, *n, w->actions_sha256);
    return !starts_with(*text, *n, "workbench-actions") || read_recorded(w, e);
}

static bool make_trace(struct goal_words *w, const uint8_t *text, size_t n,
                       const struct gb_action_codec *codec, const char *rom_sha256,
                       struct error *e) {
    const struct cli *cli = w->cli;
    if (!cli->actions) return true;
    if (!w->recorded.codec)
        return goal_trace_parse((const char *)text, n, cli->actions, codec, &w->trace, e);
    if (!actions_fit(&w->recorded, cli->actions, rom_sha256, cli->rom, cli->state, e)) return false;
    w->trace = (struct goal_trace){codec, (int)w->recorded.n, 1, NULL};
    w->trace.actions = mem_alloc(w->recorded.n * sizeof *w->trace.actions);
    for (size_t i = 0; i < w->recorded.n; i++) w->trace.actions[i] = w->recorded.list[i];
    return true;
}

// ---- capture

struct capture {
    struct rom_file rom;
    uint8_t *state, *text; // owned
    size_t n_state, n_text;
    char state_sha256[SHA256_HEX_SIZE];
    struct goal goal;
    struct goal_template made, read;
};

static bool take_pictures(struct goal_words *w, struct capture *c, struct error *e) {
    const struct cli *cli = w->cli;
    if (!rom_file_open(&c->rom, cli->rom, e) ||
        !file_read(cli->state, STATE_FILE_MAX, &c->state, &c->n_state, e) ||
        !read_actions(w, &c->text, &c->n_text, e))
        return false;
    if (!w->codec_id) w->codec_id = gb_action_codec(0)->id;
    sha256_hex(c->state, c->n_state, c->state_sha256);
    const struct env_gameboy_opts game = {.rom = c->rom.bytes,
                                          .rom_bytes = c->rom.n_bytes,
                                          .rom_name = cli->rom,
                                          .state = c->state,
                                          .state_bytes = c->n_state,
                                          .state_name = cli->state,
                                          .action_codec = w->codec_id};
    const int n_frames = cli->use_stack ? (int)cli->use_stack : 1;
    return make_trace(w, c->text, c->n_text, gb_action_codec_find(w->codec_id), c->rom.sha256, e) &&
           goal_capture(&game, cli->actions ? &w->trace : NULL, n_frames, &c->goal, e);
}

static bool write_template(const struct goal_words *w, struct capture *c, struct error *e) {
    const struct cli *cli = w->cli;
    goal_make(&(struct goal_source){.action_codec_id = w->codec_id,
                                    .rom_path = cli->rom,
                                    .rom_sha256 = c->rom.sha256,
                                    .state_path = cli->state,
                                    .state_sha256 = c->state_sha256,
                                    .actions_path = cli->actions,
                                    .actions_sha256 = w->actions_sha256},
              &c->goal, &c->made);
    if (cli->tau > 0) c->made.meta.tau = cli->tau;
    if (cli->k_consecutive) c->made.meta.k_consecutive = (int)cli->k_consecutive;
    return goal_write(cli->out, &c->made, (cli->force ? GOAL_REPLACE : 0) | GOAL_PICTURE, e) &&
           goal_load(cli->out, &(struct goal_expect){0}, &c->read, e);
}

static void print_template(const struct goal_words *w, const struct goal_template *t) {
    const struct cli *cli = w->cli;
    if (!cli->json) {
        printf("%s: %d frame%s", cli->out, t->goal.n_frames, t->goal.n_frames > 1 ? "s" : "");
        if (cli->actions)
            printf(" after %d steps", w->trace.n_steps);
        else
            printf(" of the state itself");
        printf(", %s, tau %g for %d step%s\n", t->meta.action_codec_id, t->meta.tau,
               t->meta.k_consecutive, t->meta.k_consecutive > 1 ? "s" : "");
        return;
    }
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "goal_dir", cli->out);
    json_add_string(o, "sha256", t->sha256);
    json_add_string(o, "action_codec_id", t->meta.action_codec_id);
    json_add_count(o, "steps", w->trace.n_steps);
    json_add_count(o, "stack_k", t->meta.stack_k);
    json_add_double(o, "tau", t->meta.tau);
    json_add_count(o, "k_consecutive", t->meta.k_consecutive);
    json_print_and_free(stdout, o);
}

static bool check_capture_options(const struct cli *cli, struct error *e) {
    if (cli->use_stack > GOAL_MAX_STACK)
        return error_set(e, STATUS_USAGE, "--use-stack %lld: at most %d frames",
                         (long long)cli->use_stack, GOAL_MAX_STACK);
    if (cli->tau > 1)
        return error_set(e, STATUS_USAGE, "--tau %g: a distance is at most 1", cli->tau);
    if (cli->k_consecutive > GOAL_MAX_K)
        return error_set(e, STATUS_USAGE, "--k-consecutive %lld: at most %d",
                         (long long)cli->k_consecutive, GOAL_MAX_K);
    return true;
}

static bool capture(struct goal_words *w, bool *failed, struct error *e) {
    struct capture *c = mem_alloc(sizeof *c);
    (void)failed;
    const bool fine =
        check_capture_options(w->cli, e) && take_pictures(w, c, e) && write_template(w, c, e);
    if (fine) {
        rom_file_warn(&c->rom, w->cli->rom);
        print_template(w, &c->read);
    }
    rom_file_close(&c->rom);
    free(c->state);
    free(c->text);
    free(c);
    return fine;
}

// ---- playing recorded actions towards a template

struct played {
    struct task task;
    struct goal_curve curve;
};

static bool play(struct goal_words *w, bool to_the_end, struct played *p, struct error *e) {
    const struct cli *cli = w->cli;
    struct env_gameboy_opts game = {0};
    uint8_t *text;
    size_t n = 0;
    bool fine = read_actions(w, &text, &n, e);
    const struct task_files files = {
        .rom = cli->rom,
        .state = cli->state,
        .goal_dir = cli->words[1],
        .action_codec_id = w->codec_id,
        .accept_pipeline = (int)(cli->accept_pipeline > 1000 ? 1000 : cli->accept_pipeline)};
    fine = fine && task_open_files(&files, &p->task, e) &&
           make_trace(w, text, n, gb_action_codec_find(p->task.goal.meta.action_codec_id),
                      p->task.rom_sha256, e);
    if (fine) {
        task_env_opts(&p->task, &game);
        fine = goal_replay(&game, &w->trace, to_the_end, &p->curve, e);
    }
    free(text);
    return fine;
}

static double distance_at(const struct goal_curve *c, int step, int env) {
    return (double)c->distances[(size_t)step * (size_t)c->n_envs + (size_t)env];
}

struct nearest {
    double distance;
    int step, env;
};

static struct nearest find_nearest(const struct goal_curve *c) {
    struct nearest best = {2, 0, 0};
    for (int t = 0; t < c->n_steps; t++)
        for (int i = 0; i < c->n_envs; i++)
            if (distance_at(c, t, i) < best.distance)
                best = (struct nearest){distance_at(c, t, i), t, i};
    return best;
}

// {"tau":..,"k_consecutive":..,"steps":..,"dist":[[..], ..]}, a list per environment.
static bool write_curve(const char *folder, const struct played *p, struct error *e) {
    char path[PATH_SIZE];
    struct text t = {0};
    text_add(&t, "{\"tau\":");
    text_add_json_double(&t, p->task.goal.meta.tau);
    text_add(&t, ",\"k_consecutive\":%d,\"steps\":%d,\"dist\":[", p->task.goal.meta.k_consecutive,
             p->curve.n_steps);
    for (int i = 0; i < p->curve.n_envs; i++)
        for (int step = 0; step < p->curve.n_steps; step++) {
            text_add(&t, "%s", step ? "," : i ? ",[" : "[");
            text_add_json_float(&t, (float)distance_at(&p->curve, step, i));
            if (step + 1 == p->curve.n_steps) text_add(&t, "]");
        }
    text_add(&t, "]}\n");
    const bool fine =
        path_join(path, folder, "dist_curve.json", e) && file_write_atomic(path, t.data, t.n, e);
    text_deinit(&t);
    return fine;
}

static void unpack(const uint8_t packed[ENV_OBS_BYTES], uint8_t *shades) {
    for (int i = 0; i < GOAL_FRAME_PIXELS; i++) shades[i] = packed[i / 4] >> (2 * (i & 3)) & 3;
}

static bool write_frames(const char *folder, const struct goal_curve *c, struct error *e) {
    const size_t shape[3] = {(size_t)c->n_envs, ENV_OBS_HEIGHT, ENV_OBS_WIDTH},
                 n = NPY_HEADER_BYTES + (size_t)c->n_envs * GOAL_FRAME_PIXELS;
    char path[PATH_SIZE];
    uint8_t *bytes = mem_alloc(n);
    CHECK(npy_header(shape, 3, bytes), "header");
    for (int i = 0; i < c->n_envs; i++)
        unpack(c->last[i], bytes + NPY_HEADER_BYTES + (size_t)i * GOAL_FRAME_PIXELS);
    const bool fine =
        path_join(path, folder, "last_frames.npy", e) && file_write_atomic(path, bytes, n, e);
    free(bytes);
    return fine;
}

// The goal, the last frame of environment `env`, and where they differ.
static bool write_picture(const char *folder, const struct played *p, int env, struct error *e) {
    static const char *const names[] = {"goal", "last frame", "difference"};
    const struct goal *goal = &p->task.goal.goal;
    uint8_t pictures[3][GOAL_FRAME_PIXELS];
    char path[PATH_SIZE];
    struct image im;
    unpack(goal->packed[goal->n_frames - 1], pictures[0]);
    unpack(p->curve.last[env], pictures[1]);
    for (int i = 0; i < GOAL_FRAME_PIXELS; i++) {
        pictures[2][i] = (uint8_t)(85 * abs(pictures[0][i] - pictures[1][i]));
        pictures[0][i] = (uint8_t)(85 * pictures[0][i]);
        pictures[1][i] = (uint8_t)(85 * pictures[1][i]);
    }
    image_init(&im, 3 * (SCALE * ENV_OBS_WIDTH + MARGIN) + MARGIN,
               SCALE * ENV_OBS_HEIGHT + 3 * MARGIN + IMAGE_CHAR_HEIGHT, 0xffffff);
    for (int k = 0; k < 3; k++) {
        const int x = MARGIN + k * (SCALE * ENV_OBS_WIDTH + MARGIN);
        image_text(&im, x, MARGIN, names[k], 1, 0x202020);
        image_picture(&im, x, 2 * MARGIN + IMAGE_CHAR_HEIGHT, pictures[k], ENV_OBS_WIDTH,
                      ENV_OBS_HEIGHT, SCALE, k == 2);
    }
    const bool fine =
        path_join(path, folder, "last_frames.png", e) && image_write_png(&im, path, NULL, 0, e);
    image_deinit(&im);
    return fine;
}

// ---- check

static void print_done(const struct goal_words *w, const struct played *p) {
    const struct goal_curve *c = &p->curve;
    const double d = distance_at(c, c->n_steps - 1, c->done_env);
    if (w->cli->json) {
        cJSON *o = cJSON_CreateObject();
        json_add_bool(o, "done", true);
        json_add_count(o, "step", c->n_steps);
        json_add_count(o, "steps", w->trace.n_steps);
        json_add_count(o, "env", c->done_env);
        json_add_double(o, "dist", d);
        json_print_and_free(stdout, o);
        return;
    }
    printf("%s: done after step %d of %d", w->cli->words[1], c->n_steps, w->trace.n_steps);
    if (c->n_envs > 1) printf(" by environment %d of %d", c->done_env, c->n_envs);
    printf(", distance %.4f\n", d);
}

static void print_not_done(const struct goal_words *w, const struct played *p, const char *folder) {
    const struct nearest near = find_nearest(&p->curve);
    const struct goal_meta *m = &p->task.goal.meta;
    if (w->cli->json) {
        cJSON *o = cJSON_CreateObject();
        json_add_bool(o, "done", false);
        json_add_count(o, "steps", p->curve.n_steps);
        json_add_double(o, "min_dist", near.distance);
        json_add_count(o, "min_dist_step", near.step + 1);
        json_add_count(o, "min_dist_env", near.env);
        json_add_double(o, "tau", m->tau);
        json_add_count(o, "k_consecutive", m->k_consecutive);
        json_add_string(o, "folder", folder);
        json_print_and_free(stdout, o);
        return;
    }
    printf("%s: not done in %d steps: nearest %.4f at step %d, needs less than %g for %d in "
           "a row; see %s/dist_curve.json, last_frames.npy, last_frames.png\n",
           w->cli->words[1], p->curve.n_steps, near.distance, near.step + 1, m->tau,
           m->k_consecutive, folder);
}

static bool report_failure(const struct goal_words *w, const struct played *p, struct error *e) {
    char folder[PATH_SIZE];
    const char *given = w->cli->out, *goal = w->cli->words[1];
    size_t n = strlen(goal);
    while (n > 1 && goal[n - 1] == '/') n--;
    snprintf(folder, sizeof folder, "%.*s%s", given ? PATH_SIZE - 1 : (int)n, given ? given : goal,
             given ? "" : ".check");
    if (!file_make_folders(folder, e) || !write_curve(folder, p, e) ||
        !write_frames(folder, &p->curve, e) ||
        !write_picture(folder, p, find_nearest(&p->curve).env, e))
        return false;
    print_not_done(w, p, folder);
    return true;
}

static bool check(struct goal_words *w, bool *failed, struct error *e) {
    struct played *p = mem_alloc(sizeof *p);
    bool fine = play(w, false, p, e);
    if (fine && p->curve.done_env >= 0) {
        print_done(w, p);
    } else if (fine) {
        *failed = true;
        fine = report_failure(w, p, e);
    }
    goal_curve_free(&p->curve);
    task_close(&p->task);
    free(p);
    return fine;
}

// ---- calibrate

static void print_calibration_json(const struct goal_calibration *c) {
    cJSON *o = cJSON_CreateObject();
    json_add_count(o, "steps", c->steps);
    json_add_double(o, "min", c->min);
    json_add_double(o, "max", c->max);
    json_add_double(o, "mean", c->mean);
    json_add_double(o, "tail_min", c->tail_min);
    json_add_double(o, "recommended_tau", c->recommended_tau);
    cJSON_AddItemToObject(o, "histogram", cJSON_CreateIntArray(c->histogram, GOAL_BINS));
    json_print_and_free(stdout, o);
}

static void print_calibration(const struct goal_calibration *c) {
    printf("steps %d, distance min %.4f, max %.4f, mean %.4f, tail_min %.4f (last %d steps)\n"
           "recommended_tau %.4f\n",
           c->steps, c->min, c->max, c->mean, c->tail_min, GOAL_TAIL, c->recommended_tau);
    for (int i = 0; i < GOAL_BINS; i++)
        printf("  %.2f-%.2f %6d\n", (double)i / GOAL_BINS, (double)(i + 1) / GOAL_BINS,
               c->histogram[i]);
}

static bool calibrate(struct goal_words *w, bool *failed, struct error *e) {
    struct played *p = mem_alloc(sizeof *p);
    struct goal_calibration c;
    (void)failed;
    const bool fine = play(w, true, p, e);
    if (fine) {
        goal_calibrate(&p->curve, &c);
        if (w->cli->json)
            print_calibration_json(&c);
        else
            print_calibration(&c);
    }
    goal_curve_free(&p->curve);
    task_close(&p->task);
    free(p);
    return fine;
}

// ---- the command

static const struct subcommand {
    const char *name, *usage;
    int n_words;
    bool needs_out, needs_actions;
    bool (*run)(struct goal_words *w, bool *failed, struct error *e);
} subcommands[] = {
    {"capture", "goal capture --rom FILE --state FILE --out DIR [--actions FILE]", 1, true, false,
     capture},
    {"check", "goal check DIR --rom FILE --state FILE --actions FILE [--out FOLDER]", 2, false,
     true, check},
    {"calibrate", "goal calibrate DIR --rom FILE --state FILE --actions FILE", 2, false, true,
     calibrate},
};

static const struct subcommand *find_subcommand(const struct cli *cli, struct error *e) {
    for (size_t i = 0; cli->n_words && i < sizeof subcommands / sizeof *subcommands; i++) {
        const struct subcommand *s = &subcommands[i];
        if (strcmp(cli->words[0], s->name) != 0) continue;
        if (cli->n_words == s->n_words && cli->rom && cli->state && (!s->needs_out || cli->out) &&
            (!s->needs_actions || cli->actions))
            return s;
        error_set(e, STATUS_USAGE, "goal %s: write workbench %s", s->name, s->usage);
        return NULL;
    }
    error_set(e, STATUS_USAGE, "goal%s%s: write workbench goal capture|check|calibrate",
              cli->n_words ? " " : "", cli->n_words ? cli->words[0] : "");
    return NULL;
}

int cmd_goal(const struct cli *cli) {
    struct goal_words w = {.cli = cli};
    struct error e = {0};
    bool failed = false;
    const struct subcommand *s = find_subcommand(cli, &e);
    const bool fine = s && read_settings(&w, &e) && s->run(&w, &failed, &e);
    actions_deinit(&w.recorded);
    goal_trace_free(&w.trace);
    if (!fine) return cli_fail(&e);
    return failed ? STATUS_FAILED : STATUS_OK;
}
