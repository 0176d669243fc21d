// Goal tasks: opened from the program or from files, checked against each other, handed to the
// environment.
#include "engine/env/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_action.h"

enum { MAX_ROM_BYTES = 8 << 20, MAX_STATE_BYTES = 1 << 20, MAX_NAME = 32 };

// ---- recorded actions

static int find_action(const struct gb_action_codec *codec, const char *name) {
    for (int a = 0; a < codec->n_actions; a++)
        if (strcmp(codec->names[a], name) == 0) return a;
    return -1;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// The line without the blanks around it; false when no action's name can look like that.
static bool line_word(const char *line, size_t n, char word[MAX_NAME]) {
    while (n && is_blank(*line)) line++, n--;
    while (n && is_blank(line[n - 1])) n--;
    if (n && *line == '#') n = 0; // a comment, of any length
    word[0] = 0;
    if (n >= MAX_NAME || memchr(line, 0, n)) return false;
    memcpy(word, line, n);
    word[n] = 0;
    return true;
}

struct actions {
    int32_t *data;
    int n, capacity;
};

static bool add_line(struct actions *a, const char *line, size_t n,
                     const struct gb_action_codec *codec, const char *where, int number,
                     struct error *e) {
    char word[MAX_NAME];
    bool is_word = line_word(line, n, word);
    if (is_word && !word[0]) return true;
    int action = is_word ? find_action(codec, word) : -1;
    if (action < 0)
        return error_set(e, STATUS_FAILED, "%s: line %d: \"%s\" is no action of %s", where, number,
                         word, codec->id);
    if (a->n == TASK_MAX_ACTIONS)
        return error_set(e, STATUS_FAILED, "%s: more than %d actions", where, TASK_MAX_ACTIONS);
    if (a->n == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 64;
        a->data = mem_resize(a->data, (size_t)a->capacity * sizeof *a->data);
    }
    a->data[a->n++] = action;
    return true;
}

int32_t *task_parse_actions(const char *text, size_t n, const char *where,
                            const char *action_codec_id, int *n_actions, struct error *e) {
    const struct gb_action_codec *codec = gb_action_codec_find(action_codec_id);
    CHECK(codec, "codec %s", action_codec_id);
    struct actions a = {0};
    const char *end = text + n, *stop;
    bool fine = true;
    for (int number = 1; text < end && fine; text = stop + 1, number++) {
        stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        fine = add_line(&a, text, (size_t)(stop - text), codec, where, number, e);
        if (stop == end) break;
    }
    if (fine && a.n == 0) fine = error_set(e, STATUS_FAILED, "%s: no action in it", where);
    if (!fine) free(a.data);
    *n_actions = fine ? a.n : 0;
    return fine ? a.data : NULL;
}

// ---- tasks

void task_hash_parts(struct task *task) {
    sha256_hex(task->rom, task->rom_bytes, task->rom_sha256);
    sha256_hex(task->state, task->state_bytes, task->state_sha256);
}

bool task_open_files(const struct task_files *f, struct task *out, struct error *e) {
    struct task *task = mem_alloc(sizeof *task);
    struct goal_expect expect = {.action_codec_id = f->action_codec_id,
                                 .rom_sha256 = task->rom_sha256,
                                 .state_sha256 = task->state_sha256,
                                 .accept_pipeline = f->accept_pipeline};
    snprintf(task->name, sizeof task->name, "%.60s", path_base(f->rom));
    bool fine = file_read(f->rom, MAX_ROM_BYTES, &task->owned[0], &task->rom_bytes, e) &&
                file_read(f->state, MAX_STATE_BYTES, &task->owned[1], &task->state_bytes, e);
    if (fine) {
        task->rom = task->owned[0];
        task->state = task->owned[1];
        task_hash_parts(task);
        fine = goal_load(f->goal_dir, &expect, &task->goal, e);
    }
    if (fine) {
        task->rules = f->rules ? *f->rules : goal_default_rules;
        task->rules.tau = (float)task->goal.meta.tau;
        task->rules.k_consecutive = task->goal.meta.k_consecutive;
        *out = *task;
    } else {
        task_close(task);
    }
    free(task);
    return fine;
}

void task_env_opts(const struct task *task, struct env_gameboy_opts *opts) {
    opts->rom = task->rom;
    opts->rom_bytes = task->rom_bytes;
    opts->rom_name = task->name;
    opts->state = task->state;
    opts->state_bytes = task->state_bytes;
    opts->state_name = task->name;
    opts->action_codec = task->goal.meta.action_codec_id;
    opts->goal = &task->goal.goal;
    opts->rules = &task->rules;
}

void task_close(struct task *task) {
    if (!task) return;
    free(task->owned[0]);
    free(task->owned[1]);
    free(task->solution);
    *task = (struct task){0};
}
