// fuzz_frames.c - fuzzes the machine for N frames: fuzz_frames [N [FIRST_SEED]]. For long runs by
// hand under the sanitizers (make BUILD=build/asan SAN=asan fuzz-frames); test_fuzz.c is its short
// form.
#include <inttypes.h>

#include "fuzz.h"

enum { FRAMES_A_ROUND = 120, ROUNDS_A_REPORT = 5000 };

int main(int argc, char **argv)
{
    int64_t wanted = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    struct fuzz f;
    if (wanted < 1 || argc > 3) {
        fprintf(stderr, "usage: fuzz_frames [FRAMES [FIRST_SEED]]\n");
        return 2;
    }
    bool fine = fuzz_init(&f);
    for (int64_t round = 0; fine && f.frames < wanted; round++, seed++) {
        fine = fuzz_round(&f, seed, FRAMES_A_ROUND);
        if (round % ROUNDS_A_REPORT == 0) {
            printf("%" PRId64 " frames, seed %" PRIu64 "\n", f.frames, seed);
            fflush(stdout);
        }
    }
    if (!fine) fprintf(stderr, "fuzz_frames: failed with seed %" PRIu64 "\n", seed - 1);
    printf("%" PRId64 " frames (%" PRId64 " of them locked up, %" PRId64 " in STOP), %" PRId64
           " states saved and loaded: %s\n",
           f.frames, f.locked, f.asleep, f.states, fine ? "no finding" : "FAILED");
    fuzz_deinit(&f);
    return fine ? 0 : 1;
}
