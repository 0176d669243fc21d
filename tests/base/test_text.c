// Text: growing, JSON strings, numbers that read back equal in every locale.
#include "support/test.h"

#include <locale.h>
#include <math.h>

#include "base/philox.h"
#include "base/text.h"

static void a_text_grows_and_stays_terminated(void **state) {
    (void)state;
    struct text t = {0};
    size_t n = 0;
    for (int i = 0; i < 3000; i++) {
        text_add(&t, "%d,", i);
        n += strlen(t.data + n);
        assert_int_equal(t.n, n);
    }
    text_add_bytes(&t, "\0x", 2);
    assert_int_equal(t.n, n + 2);
    assert_int_equal(t.data[t.n], 0);
    text_deinit(&t);
    assert_null(t.data);
}

static void json_strings_are_escaped(void **state) {
    (void)state;
    struct text t = {0};
    text_add_json_string(&t, "a\"b\\c\n\t\x01\x7f/\xc3\xa9");
    assert_string_equal(t.data, "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f/\xc3\xa9\"");
    text_deinit(&t);
}

static const char *print_float(float v) {
    static char out[64];
    struct text t = {0};
    text_add_json_float(&t, v);
    snprintf(out, sizeof out, "%s", t.data);
    text_deinit(&t);
    return out;
}

static void floats_are_short_and_read_back_equal(void **state) {
    (void)state;
    static const struct {
        float v;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0f, "-0"},
                 {1, "1"},
                 {0.1f, "0.1"},
                 {1.0f / 3, "0.33333334"},
                 {1e6f, "1e+06"},
                 {16777216, "16777216"},
                 {3.4028235e38f, "3.4028235e+38"},
                 {1e-45f, "1.4013e-45"},
                 {NAN, "\"NaN\""},
                 {INFINITY, "\"Infinity\""},
                 {-INFINITY, "\"-Infinity\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(print_float(cases[i].v), cases[i].text);
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t bits = rng_u32(1, RNG_TEST, 0, i);
        float v;
        memcpy(&v, &bits, 4);
        if (isfinite(v)) assert_true(strtof(print_float(v), NULL) == v);
    }
}

static void doubles_read_back_equal(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 50000; i++) {
        uint64_t bits = (uint64_t)rng_u32(2, RNG_TEST, 0, i) << 32 | rng_u32(3, RNG_TEST, 0, i);
        double v;
        memcpy(&v, &bits, 8);
        if (!isfinite(v)) continue;
        struct text t = {0};
        text_add_json_double(&t, v);
        assert_true(strtod(t.data, NULL) == v);
        text_deinit(&t);
    }
}

static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    const char *names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF.UTF-8",
                           "C.UTF-8"}; // those that are installed count
    for (int i = 0; i < 4; i++) {
        setlocale(LC_ALL, names[i]);
        assert_string_equal(print_float(-0.15625f), "-0.15625");
        setlocale(LC_ALL, "C");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_grows_and_stays_terminated),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(floats_are_short_and_read_back_equal),
        cmocka_unit_test(doubles_read_back_equal),
        cmocka_unit_test(numbers_have_a_point_in_every_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
