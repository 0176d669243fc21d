// Alignment: three conventions for storing rows of an episode stream, and exact conversions.
//
// SA (sheeprl, this program)  row i: o_i, a_i chosen at o_i, reward and flags of arriving at o_i;
//                             an episode's last row holds its final observation and a = 0
// AA (arrival)                row i: o_i, the action that led to o_i (0 at first), reward and
//                             flags of arriving
// TA (transition)             row i: o_i, a_i, reward and end that a_i brought; the final
//                             observation stands aside
//
// Formulas: spec/dreamer_v3.md 3.5. Mixing them up is silent (losses still fall), so only these
// functions convert. Actions are [n][n_actions] vectors, observations are numbers that name them.
#ifndef DATA_ALIGNMENT_H
#define DATA_ALIGNMENT_H

#include <stdbool.h>
#include <stdint.h>

enum alignment { ALIGN_SA, ALIGN_AA, ALIGN_TA };

struct rows { // the caller's arrays, n used of at least `capacity` elements
    int n, capacity, n_actions;
    int32_t *obs_id;                                    // [n]
    float *actions;                                     // [n][n_actions]
    float *rewards, *terminated, *truncated, *is_first; // [n]
    int32_t *final_obs_id; // [n], TA only: the observation that ended the episode, or -1; else NULL
};

void rows_alloc(struct rows *r, int capacity, int n_actions); // with final_obs_id; n = 0
void rows_free(struct rows *r);

// `out` has the capacity for the rows that come out (CHECK): SA->AA and AA->SA as many, SA->TA
// fewer, TA->SA up to twice. The last row of an unfinished episode has no TA row yet, so SA->TA
// keeps it back; AA->SA cannot know its action and gives 0.
void rows_sa_to_aa(const struct rows *in, struct rows *out);
void rows_aa_to_sa(const struct rows *in, struct rows *out);
void rows_sa_to_ta(const struct rows *in, struct rows *out);
void rows_ta_to_sa(const struct rows *in, struct rows *out);

// What the RSSM and the heads get at positions 0..length-1 of the window that starts at row
// `start`: previous action p [length][n_actions], reward target rho, continue target kappa, flag f
// (1 at position 0). In TA, rows are counted without final observations, and a window that does not
// begin at a first row needs row start-1.
void rows_window(const struct rows *r, enum alignment alignment, int start, int length, float *p,
                 float *rho, float *kappa, float *f);

#endif
