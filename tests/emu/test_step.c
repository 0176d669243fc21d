// test_step.c - the agent's step: action codecs, 24 exact frames, press and release, observation.
#include "gb_fixture.h"

static uint8_t obs[GB_OBS_BYTES];

static void the_three_codecs_have_their_orders_and_buttons(void **state)
{
    (void)state;
    static const struct {
        const char *id, *names;
        int n;
    } wanted[] = {
        {"pokemonred_puffer_v0", "A B START UP DOWN LEFT RIGHT ", 7},
        {"pokemonred_puffer_v1", "NOOP A B START UP DOWN LEFT RIGHT ", 8},
        {"legacy_v0", "NOOP UP DOWN LEFT RIGHT A B START SELECT ", 9},
    };
    static const struct {
        const char *name;
        uint8_t button;
    } buttons[] = {{"NOOP", 0x00}, {"RIGHT", 0x01}, {"LEFT", 0x02}, {"UP", 0x04}, {"DOWN", 0x08},
                   {"A", 0x10},    {"B", 0x20},     {"SELECT", 0x40}, {"START", 0x80}};
    for (int i = 0; i < 3; i++) {
        const struct gb_action_codec *codec = gb_action_codec_find(wanted[i].id);
        char names[128] = "";
        assert_non_null(codec);
        assert_int_equal(codec->n_actions, wanted[i].n);
        for (int a = 0; a < codec->n_actions; a++) {
            strcat(strcat(names, codec->names[a]), " ");
            bool found = false;
            for (size_t b = 0; b < sizeof buttons / sizeof *buttons; b++)
                if (strcmp(buttons[b].name, codec->names[a]) == 0) {
                    assert_int_equal(codec->buttons[a], buttons[b].button);
                    found = true;
                }
            assert_true(found);
        }
        assert_string_equal(names, wanted[i].names);
    }
    assert_null(gb_action_codec_find("pokemonred_puffer_v2"));
    assert_int_equal(GB_FRAMES_PER_STEP, 24);
    assert_int_equal(GB_RELEASE_AFTER, 8);
}

// Counts loops of exactly 20 cycles in DE (wraps).
#define COUNT_LOOP 0x11, 0x00, 0x00, 0x13, 0x18, 0xfd // LD DE,0; INC DE; JR -3

static int loops_in(int n_steps, struct gb *m)
{
    for (int i = 0; i < n_steps; i++) gb_step(m, 0, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
    return m->cpu.de;
}

static void a_step_is_24_frames_of_70224_cycles_with_the_lcd_on_off_or_toggling(void **state)
{
    (void)state;
    // 10 steps: 240 * 70,224 / 20 = 842,688 loops, less the few cycles before the loop
    int wanted = 842688 % 65536;
    int on = loops_in(10, FIXTURE_RUN(0xf3, COUNT_LOOP));
    int off = loops_in(10, FIXTURE_RUN(0xf3, 0xaf, 0xe0, 0x40, COUNT_LOOP));
    assert_in_range(wanted - on, 0, 4);
    assert_in_range(wanted - off, 0, 4);
    // toggles the LCD at every turn: LD A,n; XOR 80; LDH (40),A in front of JR: 10 M-cycles a turn
    int toggling = loops_in(10, FIXTURE_RUN(0xf3, 0x11, 0x00, 0x00, 0x3e, 0x91, 0x13, 0xee, 0x80,
                                            0xe0, 0x40, 0x18, 0xf9));
    int turn = 4 * (2 + 2 + 3 + 3);
    assert_in_range((240 * GB_FRAME_CYCLES / turn) % 65536 - toggling, 0, 4);
}

static void a_step_shows_24_vblanks(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0x3e, 0x01, 0xe0, 0xff, 0xaf, 0xe0, 0x0f, 0xfb, 0x76, 0x18, 0xfd);
    memcpy(fixture.bytes + 0x40, (const uint8_t[]){0x21, 0x00, 0xc0, 0x34, 0xd9}, 5); // INC (C000)
    for (int i = 1; i <= 10; i++) {
        gb_step(m, 0, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
        assert_int_equal(gb_peek(m, 0xc000), 24 * i);
    }
}

static void a_button_is_down_for_the_first_8_frames_only(void **state)
{
    (void)state;
    // at each VBlank: (HL+) = P1 with the buttons selected
    struct gb *m = FIXTURE_RUN(0x3e, 0x01, 0xe0, 0xff, 0xaf, 0xe0, 0x0f, 0x3e, 0x10, 0xe0, 0x00,
                               0x21, 0x00, 0xc0, 0xfb, 0x76, 0x18, 0xfd);
    memcpy(fixture.bytes + 0x40, (const uint8_t[]){0xf0, 0x00, 0x22, 0xd9}, 4);
    gb_step(m, GB_BUTTON_B, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
    gb_step(m, GB_BUTTON_START, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
    for (int frame = 0; frame < 48; frame++) {
        int wanted = frame % 24 >= 8 ? 0xdf : frame < 24 ? 0xdd : 0xd7;
        assert_int_equal(gb_peek(m, (uint16_t)(0xc000 + frame)), wanted);
    }
    assert_int_equal(m->buttons, 0);
}

static void the_observation_is_the_last_picture_whoever_drew_before(void **state)
{
    (void)state;
    // at each VBlank: BGP = ++B, so that every frame has its own shades
    uint8_t whole[GB_OBS_BYTES], packed[GB_OBS_BYTES];
    for (int way = 0; way < 2; way++) {
        struct gb *m = FIXTURE_RUN(0x3e, 0x01, 0xe0, 0xff, 0xaf, 0xe0, 0x0f, 0xfb, 0x76, 0x18,
                                   0xfd);
        memcpy(fixture.bytes + 0x40, (const uint8_t[]){0x04, 0x78, 0xe0, 0x47, 0xd9}, 5);
        if (way == 0) gb_step(m, 0, 24, 8, whole);
        else
            for (int frame = 0; frame < 24; frame++) gb_step(m, 0, 1, 8, packed);
    }
    assert_memory_equal(whole, packed, sizeof whole);
    assert_int_equal(whole[0], 23 % 4 * 0x55); // colour 0 of the 24th frame: set at the 23rd VBlank
}

static void the_boot_logo_stands_on_the_first_picture(void **state)
{
    (void)state;
    fixture_rom(0, 0, 0);
    memset(fixture.bytes + 0x104, 0xff, 48);
    fixture.bytes[FIXTURE_PROGRAM] = 0x18;
    fixture.bytes[FIXTURE_PROGRAM + 1] = 0xfe;
    struct gb *m = fixture_start(32768);
    gb_step(m, 0, 24, 8, obs);
    assert_int_equal(gb_obs_pixel(obs, 15, 40), 0); // the logo is 96 wide from (32, 64), 16 high
    assert_int_equal(gb_obs_pixel(obs, 16, 32), 3);
    assert_int_equal(gb_obs_pixel(obs, 63, 39), 3);
    assert_int_equal(gb_obs_pixel(obs, 63, 40), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_codecs_have_their_orders_and_buttons),
        cmocka_unit_test(a_step_is_24_frames_of_70224_cycles_with_the_lcd_on_off_or_toggling),
        cmocka_unit_test(a_step_shows_24_vblanks),
        cmocka_unit_test(a_button_is_down_for_the_first_8_frames_only),
        cmocka_unit_test(the_observation_is_the_last_picture_whoever_drew_before),
        cmocka_unit_test(the_boot_logo_stands_on_the_first_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
