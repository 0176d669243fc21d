// Session: the folder of one run. A kill -9 at any moment loses at most the last record.
//
//     struct session *s = session_create(&opts, &e);  // sessions/<UTC>__<algo>__<rom>__<tag>/
//     session_append(s, &record, &e);  // metrics.jsonl and timing.jsonl
//     session_heartbeat(s, opt_steps, env_steps, &e);  // at most once a second, call it often
//     session_checkpoint_path(s, opt_steps, path, &e); ... session_prune_checkpoints(s, 5, &e);
//     session_finish(s, SESSION_DONE, "");
//     session_close(s);
//
//     meta.json       what ran: program, revision, kernel, seed, ROM, hashes; written once
//     config.json     all config keys; written once
//     heartbeat.json  state, pid, steps, time; rewritten about each second
//     metrics.jsonl   {"opt_steps":N,"env_steps":N,"loss_model":X,...}, deterministic values only
//     timing.jsonl    {"opt_steps":N,"sps":X,...}, timed values under the same key
//     checkpoints/    step_000000300.safetensors, step_000000300.tick_000000812.replay, and of
//                     ranks beside the first step_000000300.tick_000000812.rank_1.replay
//     frames/         pictures.frames (frames.h)
//     failures/       one folder per non-finite update
//
// One line is one write(), so a reader sees whole lines except perhaps the last. An unwritable or
// full folder is one clear error line; a half-written record is cut off again. Thread: one thread
// uses a session; readers may read any time.
#ifndef DATA_SESSION_H
#define DATA_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/data/record.h"

enum { SESSION_SCHEMA = 1 };
enum session_state { SESSION_RUNNING, SESSION_DONE, SESSION_FAILED, SESSION_N_STATES };
extern const char *const session_state_names[SESSION_N_STATES]; // "running", "done", "failed"

struct session_opts { // texts are copied into the files; NULL: ""
    const char *root; // folder of all sessions (NULL: "sessions"), made when absent
    const char *tag;  // last part of the name (NULL: "run")
    const char *algo, *task, *mode, *preset, *device, *kernel; // kernel: instruction set, "avx2"
    const char *rom_name, *rom_sha256;
    const char *rom_path, *state_path,
        *goal_dir;                         // files of the user's; NULL: none, and none in meta
    int frames_per_step, release_after;    // frame timing of an agent's step
    const char *state_name, *state_sha256; // start state; NULL: none, and none in meta
    const char *goal,
        *goal_sha256;  // goal template and the hash of its picture; NULL: none, and none in meta
    int goal_pipeline; // its pipeline_version
    uint64_t seed;
    int64_t n_weights;
    bool zero_latent;        // an ablation; false: not in meta
    int n_ranks;             // processes that make this run together; up to 1: not in meta
    const char *config_json; // content of config.json; its SHA-256 is meta's config_sha256
};

// ---- writing
struct session;
struct session *session_create(const struct session_opts *opts,
                               struct error *e); // NULL: nothing is left behind
// Goes on with the session in folder `path`: records after `opt_steps` are cut off, checkpoints
// after it removed, and config.json is replaced where it differs from opts->config_json. Records
// that are missing before are a warning: the weights do not need them. Refused while another
// process writes it.
struct session *session_resume(const char *path, const struct session_opts *opts, int64_t opt_steps,
                               struct error *e);
void session_close(struct session *s);             // NULL is fine; state "running" becomes "failed"
const char *session_path(const struct session *s); // the folder, as given: ROOT/NAME
const char *session_config_sha256(const struct session *s);
bool session_append(struct session *s, const struct record *record, struct error *e);
bool session_heartbeat(struct session *s, int64_t opt_steps, int64_t env_steps, struct error *e);
bool session_finish(struct session *s, enum session_state state,
                    const char *message); // last heartbeat, at once
// Paths inside; the folder exists when they return true.
bool session_checkpoint_path(struct session *s, int64_t opt_steps, char out[PATH_SIZE],
                             struct error *e);
bool session_frames_path(struct session *s, char out[PATH_SIZE],
                         struct error *e); // frames/pictures.frames
// New and empty; `rank` as in session_replay_path.
bool session_failure_folder(const char *session, int64_t opt_steps, int rank, char out[PATH_SIZE],
                            struct error *e);
bool session_prune_checkpoints(struct session *s, int keep_last, struct error *e); // keep_last >= 1
// The ring's file beside checkpoint `opt_steps`; `ticks` tells rings of the same step apart, `rank`
// those of several ranks (0: no rank in the name).
// Pruning leaves those of the KEEP_REPLAYS newest checkpoints, and of the newest only the one with
// `ticks`.
enum { SESSION_KEEP_REPLAYS = 2 };
bool session_replay_path(const char *session, int64_t opt_steps, int64_t ticks, int rank,
                         char out[PATH_SIZE], struct error *e);
bool session_prune_replays(struct session *s, int64_t ticks, struct error *e);

// ---- pure parts
void session_format_metrics(const struct record *record, struct text *out); // one line with newline
bool session_format_timing(const struct record *record,
                           struct text *out); // false: nothing timed in it
// Bytes of the whole lines at the beginning of `text` (NUL after it) whose step is at most
// `opt_steps`.
int64_t session_lines_until(const char *text, size_t n, int64_t opt_steps);
// The step that a line begins with; false: none.
bool session_line_step(const char *line, int64_t *step);
void session_clean_name(const char *in, char *out,
                        size_t size); // [A-Za-z0-9._-] without "__", others become '-'; never empty

// ---- reading
struct session_data {
    char path[PATH_SIZE];
    cJSON *meta, *config, *heartbeat; // heartbeat NULL: none there (yet)
    struct record *records;           // both files joined by opt_steps
    int64_t n_records;
    bool last_line_cut; // the writer was killed, or is writing just now
};
// NULL and one line: no session, another schema, or FILE:LINE of the first broken line.
struct session_data *session_read(const char *path, struct error *e);
void session_data_free(struct session_data *d); // NULL is fine
// Records are due at every multiple of metric.log_every, from meta's log_every_from on (a resume
// that changed the key). False and FILE:LINE of the first one up to step `until` that is not there.
bool session_lines_whole(const char *path, int64_t until, struct error *e);
// Warns where meta.json names other kernels or another revision than this program's: the last bits
// may differ from here on.
void session_warn_of_program(const cJSON *meta, const char *kernel);
// Whether a process holds it open for writing, now.
bool session_is_written(const char *path);
// The session's folder that `path` names: itself, or a checkpoint in it; `checkpoint` "" in the
// first case.
bool session_locate(const char *path, char folder[PATH_SIZE], char checkpoint[PATH_SIZE],
                    struct error *e);
// Step of a checkpoint's file name, or -1; the newest checkpoint before a step, or -1.
int64_t session_checkpoint_step(const char *path);
int64_t session_checkpoint_before(const char *session, int64_t opt_steps);
// Of a broken checkpoint: *e also says which one is before it. Returns false.
bool session_name_checkpoint_before(const char *session, int64_t opt_steps, struct error *e);
// Newest checkpoint of a session folder by step; false: none.
bool session_newest_checkpoint(const char *path, char out[PATH_SIZE], int64_t *opt_steps,
                               struct error *e);

#endif
