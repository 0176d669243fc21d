// Goal template files: a folder with goal_template.npy and goal_template.meta.json
// (docs/formats.md).
//
//     struct goal_template t;
//     struct goal_expect expect = {.action_codec_id = "pokemonred_puffer_v1", .rom_sha256 = hex};
//     // e names both values
//     if (!goal_load("assets/tasks/exit_lab/goal_v1", &expect, &t, &e)) ...;
//
// Nothing that is read is trusted. The folder's form is gbxcule's (spec/gameboy.md 7,
// spec/ppo.md 1.6); what the pictures are is said by pipeline_version: ours is 2, version 1 (drawn
// once from the state at the end of a step) loads on request.
#ifndef ENV_GOAL_FILE_H
#define ENV_GOAL_FILE_H

#include <stddef.h>

#include "base/file.h"
#include "base/hash.h"
#include "engine/env/goal.h"

enum { GOAL_SCHEMA_VERSION = 1, GOAL_PIPELINE_VERSION = 2, GOAL_MAX_K = 1000000 };

// The members of goal_template.meta.json, all required in the file.
struct goal_meta {
    char created_at[40];
    char rom_path[512], rom_sha256[SHA256_HEX_SIZE];
    char state_path[512], state_sha256[SHA256_HEX_SIZE]; // where the recorded actions begin
    char actions_path[512],
        actions_sha256[SHA256_HEX_SIZE]; // "state_only" and "": the state's own picture
    char action_codec_id[64];
    int frames_per_step, release_after_frames;
    int stack_k; // as captured; a 2-D picture is compared with the newest frame only
    double tau;
    int k_consecutive;
    int pipeline_version;
};

struct goal_template {
    struct goal_meta meta;
    struct goal goal;
    char sha256[SHA256_HEX_SIZE]; // of goal_template.npy; not read by goal_write
};

// What the template must agree with. Frame timing is always this program's 24 and 8.
struct goal_expect {
    const char *action_codec_id; // NULL: any codec that is known
    const char *rom_sha256;      // NULL: not compared
    const char *state_sha256; // NULL: not compared; nor is it when the template was captured from
                              // its state alone
    int accept_pipeline;      // besides version 2; 0: none
};

// False and one line that names the file, the field and both values.
bool goal_load(const char *folder, const struct goal_expect *expect, struct goal_template *out,
               struct error *e);
// The same from bytes in memory: the two files' contents; `where` stands for the folder.
bool goal_parse(const void *npy, size_t n_npy, const char *meta, size_t n_meta, const char *where,
                const struct goal_expect *expect, struct goal_template *out, struct error *e);

// A template of these pictures (one: compared with the newest frame only) with default tau and k
// and our pipeline. Paths that do not fit are cut.
struct goal_source {
    const char *action_codec_id;
    const char *rom_path, *rom_sha256, *state_path, *state_sha256;
    const char *actions_path, *actions_sha256; // from the state to the goal; NULL: the state's own
};
void goal_make(const struct goal_source *source, const struct goal *goal,
               struct goal_template *out);

// Makes the folder if need be and writes the files. Whoever loads from it finds the old template or
// the new one, whole, also where the writer was killed: then the next one finishes what it had
// begun. meta.created_at "": now.
enum {
    GOAL_REPLACE = 1, // a template that is there; else that is refused
    GOAL_PICTURE = 2, // also as goal_template.png, for people: frames side by side, oldest left
};
bool goal_write(const char *folder, const struct goal_template *t, unsigned how, struct error *e);

#endif
