// PPO log: checks what a PPO session recorded: every key there when it is due, of its type, in its
// range (spec/ppo.md 4.2).
//
//     int64_t n;                                   // the first broken key, by file and line:
//     if (!ppo_log_check_session("sessions/X", &n, &e)) return fail(&e);
//
// A record is one line of metrics.jsonl joined with the line of timing.jsonl of the same opt_steps.
// Nothing that is read is trusted. Any thread.
#ifndef PPO_LOG_H
#define PPO_LOG_H

#include "base/json.h"

struct ppo_log_shape {
    int64_t n_envs, n_steps, n_actions;
}; // what counts and histograms must agree with

bool ppo_log_check_meta(const cJSON *meta, const char *where, struct error *e);
bool ppo_log_check_record(const cJSON *record, const struct ppo_log_shape *shape, const char *where,
                          struct error *e);
// The whole session; *n_records: how many were checked. A last line that is cut (the writer was
// killed) is left out.
bool ppo_log_check_session(const char *folder, int64_t *n_records, struct error *e);
// Record `index`, joined; cJSON_Delete it. NULL and one line when there is none.
cJSON *ppo_log_read_record(const char *folder, int64_t index, struct ppo_log_shape *shape,
                           struct error *e);

#endif
