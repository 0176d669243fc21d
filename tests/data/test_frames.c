// Frames files: round trip, cut at every byte, flipped bits, a killed writer's tail.
#include "support/files.h"

#include "base/mem.h"
#include "base/philox.h"
#include "engine/data/frames.h"

enum { W = 20, H = 18, PICTURE = W * H, N_RECORDS = 5 };

static int pictures_of(int record) { return 1 + record % 3; }

static void paint(int record, uint8_t *pixels) {
    for (int i = 0; i < pictures_of(record) * PICTURE; i++)
        pixels[i] = record == 3 ? (uint8_t)rng_u32(1, RNG_TEST, 0, (uint32_t)i) // does not compress
                                : (uint8_t)((i / 7 + record) % 4 * 85);
}

static const char *write_sample(void) {
    static char path[PATH_SIZE];
    uint8_t pixels[3 * PICTURE];
    struct error e = {0};
    path_join(path, test_folder(), "pictures.frames", &e);
    struct frames_writer *w = frames_create(path, W, H, &e);
    if (!w) fail_msg("%s", e.message);
    for (int i = 0; i < N_RECORDS; i++) {
        paint(i, pixels);
        if (!frames_append(w, 10 * i, 1000 + i, pixels, pictures_of(i), &e))
            fail_msg("%s", e.message);
    }
    assert_true(frames_close(w, &e));
    return path;
}

static void assert_record(struct frames_reader *r, int i) {
    uint8_t expect[3 * PICTURE], got[3 * PICTURE];
    struct error e = {0};
    struct frames_info info = frames_info(r, i);
    assert_int_equal(info.opt_steps, 10 * i);
    assert_int_equal(info.env_steps, 1000 + i);
    assert_int_equal(info.n_pictures, pictures_of(i));
    paint(i, expect);
    if (!frames_read(r, i, got, &e)) fail_msg("%s", e.message);
    assert_memory_equal(expect, got, (size_t)(pictures_of(i) * PICTURE));
}

static void pictures_come_back_in_any_order(void **state) {
    (void)state;
    struct error e = {0};
    struct frames_reader *r = frames_open(write_sample(), &e);
    if (!r) fail_msg("%s", e.message);
    assert_int_equal(frames_width(r), W);
    assert_int_equal(frames_height(r), H);
    assert_int_equal(frames_count(r), N_RECORDS);
    assert_false(frames_tail_cut(r));
    for (int i = N_RECORDS - 1; i >= 0; i--) assert_record(r, i);
    frames_reader_free(r);
}

static void a_file_cut_at_any_byte_keeps_its_whole_records(void **state) {
    (void)state;
    const char *path = write_sample();
    uint8_t *data;
    size_t n;
    struct error e = {0};
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    int64_t before = 0;
    for (size_t cut = 0; cut <= n; cut++) {
        put_file(path, data, cut);
        struct frames_reader *r = frames_open(path, &e);
        if (cut < 32) {
            assert_null(r);
            continue;
        }
        if (!r) fail_msg("%s", e.message);
        assert_true(frames_count(r) >= before);
        for (int i = (int)before; i < frames_count(r); i++) assert_record(r, i);
        before = frames_count(r);
        frames_reader_free(r);
    }
    assert_int_equal(before, N_RECORDS);
    free(data);
}

static void flipped_bits_are_noticed(void **state) {
    (void)state;
    const char *path = write_sample();
    uint8_t *data, pixels[4 * PICTURE];
    size_t n;
    struct error e = {0};
    assert_true(file_read(path, 1 << 20, &data, &n, &e));
    for (size_t bit = 0; bit < n * 8; bit += 3) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_file(path, data, n);
        e.message[0] = 0;
        struct frames_reader *r = frames_open(path, &e);
        int n_bad = 0;
        for (int i = 0; r && i < frames_count(r); i++) {
            assert_true(frames_info(r, i).n_pictures <= 3);
            n_bad += !frames_read(r, i, pixels, &e);
        }
        assert_true(!r || n_bad > 0);
        assert_true(strlen(e.message) > 0);
        frames_reader_free(r);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(data);
}

static void an_existing_file_is_not_overwritten(void **state) {
    (void)state;
    struct error e = {0};
    const char *path = write_sample();
    assert_null(frames_create(path, W, H, &e));
    assert_non_null(strstr(e.message, "is there already"));
    assert_null(frames_open("/no/such.frames", &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_null(frames_open("/tmp", &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_come_back_in_any_order),
        cmocka_unit_test(a_file_cut_at_any_byte_keeps_its_whole_records),
        cmocka_unit_test(flipped_bits_are_noticed),
        cmocka_unit_test(an_existing_file_is_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
