// Goal tasks: opened from the program or from files, checked against each other, handed to the environment.
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

// One word without the blanks around it; false when it is longer than any action's name.
static bool line_word(const char *line, size_t n, char word[MAX_NAME]) {
    while (n && strchr(" \t\r", *line)) line++, n--;
    while (n && strchr(" \t\r", line[n - 1])) n--;
    if (n >= MAX_NAME) return false;
    memcpy(word, line, n);
    word[n] = 0;
    return true;
}

int32_t *task_parse_actions(const char *text, size_t n, const char *where, const char *action_codec_id, int *n_actions,
                            struct error *e) {
    const struct gb_action_codec *codec = gb_action_codec_find(action_codec_id);
    CHECK(codec, "codec %s", action_codec_id);
    int32_t *actions = NULL;
    int count = 0, capacity = 0, number = 1;
    for (const char *line = text, *end = text + n, *next; line < end; line = next, number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        next = stop ? stop + 1 : end;
        char word[MAX_NAME];
        bool is_short = line_word(line, (size_t)((stop ? stop : end) - line), word);
        if (is_short && (word[0] == 0 || word[0] == '#')) continue;
        int action = is_short ? find_action(codec, word) : -1;
        if (!is_short && strchr(line, '#') == line) continue;
        if (action < 0 || count == TASK_MAX_ACTIONS) {
            if (action < 0)
                error_set(e, STATUS_FAILED, "%s: line %d: \"%s\" is no action of %s", where, number,
                          is_short ? word : "(a long line)", codec->id);
            else
                error_set(e, STATUS_FAILED, "%s: more than %d actions", where, TASK_MAX_ACTIONS);
            free(actions);
            return NULL;
        }
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            actions = mem_resize(actions, (size_t)capacity * sizeof *actions);
        }
        actions[count++] = action;
    }
    if (!actions) error_set(e, STATUS_FAILED, "%s: no action in it", where);
    *n_actions = count;
    return actions;
}

// ---- tasks

void task_hash_parts(struct task *task) {
    sha256_hex(task->rom, task->rom_bytes, task->rom_sha256);
    sha256_hex(task->state, task->state_bytes, task->state_sha256);
}

bool task_open_files(const struct task_files *f, struct task *out, struct error *e) {
    struct task *task = mem_alloc(sizeof *task);
    struct goal_expect expect = {.action_codec_id = f->action_codec_id, .rom_sha256 = task->rom_sha256,
                                 .state_sha256 = task->state_sha256, .accept_pipeline = f->accept_pipeline};
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
