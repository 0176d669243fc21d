// Golden fixtures: numbers of the reference implementation, checked against their manifest.
//
//     struct golden *g = golden_open("tests/golden/dreamer_v3", &e);
//     struct golden_fixture *f = golden_load(g, "F05", &e);  // hash, names, shapes verified
//     if (!golden_match_f32(golden_find(f, "bins"), mine, 255, &e)) ...  // e: the worst element
//     golden_fixture_free(f);
//     golden_free(g);
//
// Used by the tests (tests/support/golden.h makes every failure loud) and by the product's gate. A
// fixture that is missing, altered or unlike its manifest is an error, never a skip. Not
// thread-safe while loading.
#ifndef DATA_GOLDEN_H
#define DATA_GOLDEN_H

#include "base/error.h"
#include "base/real.h"
#include "engine/data/safetensors.h"

enum golden_role { GOLDEN_INPUT, GOLDEN_OUTPUT, GOLDEN_INFO };

struct golden_tensor {
    const struct st_tensor *t; // name, dtype, shape, data
    const char *fixture;       // "F05"
    enum golden_role role;
    bool by_norm;        // else by element
    double abs, rel, l2; // see golden_match_f32
};

struct golden;
struct golden_fixture;

struct golden *golden_open(const char *folder, struct error *e); // reads folder/manifest.json
void golden_free(struct golden *g);                              // after its fixtures
int golden_count(const struct golden *g);
const char *golden_code(const struct golden *g, int index);  // "F01"
const char *golden_about(const struct golden *g, int index); // one line

struct golden_fixture *golden_load(const struct golden *g, const char *code, struct error *e);
void golden_fixture_free(struct golden_fixture *f);
int golden_tensor_count(const struct golden_fixture *f);
const struct golden_tensor *golden_tensor_at(const struct golden_fixture *f,
                                             int index); // manifest order
const struct golden_tensor *golden_find(const struct golden_fixture *f,
                                        const char *name); // NULL if absent
// Data as the engine's real, cast from any dtype (converted once, owned by the fixture).
const real *golden_reals(struct golden_fixture *f, const struct golden_tensor *t);

// Compares n elements (must be the tensor's count) by the manifest's rule: |x - ref| <= abs +
// rel*|ref| for every element (both 0: equal, and -0 differs from 0), or ||x - ref|| <= l2*||ref||
// + 1e-7*sqrt(n). NaN never matches a number. `slack` multiplies the tolerance (1 normally; an
// exact rule stays exact). NULL `g` is an error, as is a NULL tensor.
bool golden_match_f32(const struct golden_tensor *g, const float *x, int64_t n, struct error *e);
bool golden_match_f64(const struct golden_tensor *g, const double *x, int64_t n, double slack,
                      struct error *e);
bool golden_match_real(const struct golden_tensor *g, const real *x, int64_t n, struct error *e);
bool golden_match_i32(const struct golden_tensor *g, const int32_t *x, int64_t n, struct error *e);
bool golden_match_u8(const struct golden_tensor *g, const uint8_t *x, int64_t n, struct error *e);

#endif
