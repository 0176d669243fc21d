// Tests of NumPy files: NumPy's own bytes, round trips, and every cut, flip and odd header refused.
#include "support/test.h"

#include "engine/data/npy.h"

static uint8_t file[1 << 16];

static size_t make_file(const char *dict, unsigned major, const uint8_t *data, size_t n) {
    size_t length = strlen(dict), begin = major == 2 ? 12 : 10;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)major;
    file[7] = 0;
    memset(file + 8, 0, 4);
    file[8] = (uint8_t)length;
    file[9] = (uint8_t)(length >> 8);
    memcpy(file + begin, dict, length);
    memcpy(file + begin + length, data, n);
    return begin + length + n;
}

static void the_header_is_the_one_numpy_writes(void **state) {
    (void)state;
    static const struct {
        size_t shape[3];
        int n_dims;
        const char *dict;
    } cases[] = {
        {{72, 80}, 2, "{'descr': '|u1', 'fortran_order': False, 'shape': (72, 80), }"},
        {{4, 72, 80}, 3, "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 72, 80), }"},
        {{5}, 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }"},
        {{0}, 0, "{'descr': '|u1', 'fortran_order': False, 'shape': (), }"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t header[NPY_HEADER_BYTES];
        assert_true(npy_header(cases[i].shape, cases[i].n_dims, header));
        assert_memory_equal(header, "\x93NUMPY\x01\x00\x76\x00", 10);
        size_t n = strlen(cases[i].dict);
        assert_memory_equal(header + 10, cases[i].dict, n);
        for (size_t k = 10 + n; k < NPY_HEADER_BYTES - 1; k++) assert_int_equal(header[k], ' ');
        assert_int_equal(header[NPY_HEADER_BYTES - 1], '\n');
    }
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    const size_t shape[4] = {2, 3, 5, 7};
    for (int n_dims = 0; n_dims <= 4; n_dims++) {
        size_t n = 1;
        for (int i = 0; i < n_dims; i++) n *= shape[i];
        uint8_t bytes[NPY_HEADER_BYTES + 210];
        struct npy_u8 a;
        struct error e = {0};
        assert_true(npy_header(shape, n_dims, bytes));
        for (size_t i = 0; i < n; i++) bytes[NPY_HEADER_BYTES + i] = (uint8_t)(i * 7);
        if (!npy_parse(bytes, NPY_HEADER_BYTES + n, "a.npy", &a, &e)) fail_msg("%s", e.message);
        assert_int_equal(a.n_dims, n_dims);
        for (int i = 0; i < n_dims; i++) assert_int_equal(a.shape[i], shape[i]);
        assert_int_equal(a.n_bytes, n);
        assert_ptr_equal(a.data, bytes + NPY_HEADER_BYTES);
    }
}

static void any_padding_order_and_quotes_are_read(void **state) {
    (void)state;
    static const char *const good[] = {
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n",
        "{'descr':'|u1','fortran_order':False,'shape':(2,3)}",
        "{\"shape\": (2, 3,), \"descr\": \"u1\", \"fortran_order\": False}          \n",
    };
    for (size_t i = 0; i < 3; i++)
        for (unsigned major = 1; major <= 2; major++) {
            struct npy_u8 a;
            struct error e = {0};
            size_t n = make_file(good[i], major, (const uint8_t *)"abcdef", 6);
            if (!npy_parse(file, n, "a.npy", &a, &e)) fail_msg("%s", e.message);
            assert_int_equal(a.n_dims, 2);
            assert_int_equal(a.shape[0], 2);
            assert_int_equal(a.shape[1], 3);
            assert_memory_equal(a.data, "abcdef", 6);
        }
}

static void what_is_not_an_array_of_bytes_is_refused_with_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *dict, *reason;
    } bad[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "dtype <f4"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (6,), }", "Fortran"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }",
         "6 bytes of data, the shape in its header says 7"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }",
         "6 bytes of data, the shape in its header says 5"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6), }", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-6,), }", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,6), }", "header"},
        {"{'descr': '|u1', 'fortran_order': False, }", "header"},
        {"{'descr': '|u1', 'shape': (6,), }", "header"},
        {"{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,), }", "header"},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (6,), }", "header"},
        {"{'descr': '|u1', 'fortran_order': 0, 'shape': (6,), }", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6,), 'more': 1}", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6,), } x", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }", "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), "
         "}",
         "too large"},
        {"", "header"},
        {"{", "header"},
        {"{'descr", "header"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct npy_u8 a;
        struct error e = {0};
        size_t n = make_file(bad[i].dict, 1, (const uint8_t *)"abcdef", 6);
        assert_false(npy_parse(file, n, "bad.npy", &a, &e));
        if (!strstr(e.message, bad[i].reason) || !strstr(e.message, "bad.npy"))
            fail_msg("\"%s\" says \"%s\"", bad[i].dict, e.message);
    }
    struct npy_u8 a;
    struct error e = {0};
    file[6] = 3;
    assert_false(npy_parse(file, 100, "bad.npy", &a, &e));
    assert_non_null(strstr(e.message, "3.0"));
}

static void every_cut_is_refused_and_no_flip_reads_outside(void **state) {
    (void)state;
    uint8_t data[60];
    memset(data, 2, sizeof data);
    size_t n = make_file("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 10), }\n", 1, data,
                         sizeof data);
    struct npy_u8 a;
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); // so that the sanitizer sees a byte too far
        memcpy(exact, file, cut);
        assert_false(npy_parse(exact, cut, "cut.npy", &a, NULL));
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        uint8_t *exact = malloc(n);
        memcpy(exact, file, n);
        if (npy_parse(exact, n, "flip.npy", &a, NULL))
            assert_true(a.data >= exact && a.data + a.n_bytes == exact + n);
        free(exact);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_the_one_numpy_writes),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(any_padding_order_and_quotes_are_read),
        cmocka_unit_test(what_is_not_an_array_of_bytes_is_refused_with_the_reason),
        cmocka_unit_test(every_cut_is_refused_and_no_flip_reads_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
