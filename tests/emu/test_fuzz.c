// test_fuzz.c - some thousand frames of cartridges made of chance (fuzz_frames.c runs millions).
#include "fuzz.h"
#include "support/test.h"

enum { ROUNDS = 60, FRAMES_A_ROUND = 60 };

static void the_machine_survives_cartridges_and_input_made_of_chance(void **state)
{
    (void)state;
    struct fuzz f;
    assert_true(fuzz_init(&f));
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        bool fine = fuzz_round(&f, seed, FRAMES_A_ROUND);
        if (!fine) print_error("seed %d\n", (int)seed);
        assert_true(fine);
    }
    assert_true(f.states > 20);
    assert_true(f.frames - f.locked - f.asleep > 500);
    fuzz_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_survives_cartridges_and_input_made_of_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
