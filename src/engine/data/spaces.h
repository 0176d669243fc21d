// Spaces: what an environment shows to an agent, and what it takes from it.
//
//     struct action_space a = {.n_heads = 2, .classes = {5, 3}};  // two choices at a time
//     struct action_space b = {.n_continuous = 1};                // one number in [-1, 1]
//     action_width(&a);                                           // 8: one-hot, head after head
//
// Plain values. An observation is bytes: the packed2 picture where there is one, then the vector's
// floats.
#ifndef DATA_SPACES_H
#define DATA_SPACES_H

#include <stdbool.h>
#include <stddef.h>

enum { SPACE_MAX_HEADS = 8, SPACE_PICTURE_BYTES = 72 * 80 / 4 };

struct obs_space {
    bool pixels;  // a packed2 picture of SPACE_PICTURE_BYTES
    int n_vector; // floats; 0: none
};
static inline size_t obs_picture_bytes(const struct obs_space *o) {
    return o->pixels ? SPACE_PICTURE_BYTES : 0;
}
static inline size_t obs_bytes(const struct obs_space *o) {
    return obs_picture_bytes(o) + (size_t)o->n_vector * sizeof(float);
}

// Heads, or continuous values; never both.
struct action_space {
    int n_heads, classes[SPACE_MAX_HEADS];
    int n_continuous;
};
static inline struct action_space action_space_of_one(int n_classes) {
    return (struct action_space){.n_heads = 1, .classes = {n_classes}};
}
// Of the vector that a model reads: one-hot heads one after the other, or the values.
static inline int action_width(const struct action_space *a) {
    int width = a->n_continuous;
    for (int k = 0; k < a->n_heads; k++) width += a->classes[k];
    return width;
}
// Numbers that an environment takes each step.
static inline int action_values(const struct action_space *a) {
    return a->n_continuous ? a->n_continuous : a->n_heads;
}

#endif
