// test_line.c - the formula for the end of mode 3 against the line followed dot by dot.
#include "gb_fixture.h"

enum { ROUNDS = 20000 };

static uint32_t seed = 1;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static void the_formula_and_the_steps_agree_on_the_end_of_mode_3(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0x00);
    for (int round = 0; round < ROUNDS; round++) {
        int line = (int)chance(144);
        m->ppu.lcdc = (uint8_t)(GB_LCDC_ON | chance(128));
        m->ppu.scx = (uint8_t)chance(256);
        m->ppu.wx = (uint8_t)(chance(2) ? chance(256) : 160 + chance(10));
        m->ppu.wy = (uint8_t)(chance(2) ? (uint32_t)line : chance(256));
        m->ppu.wy_hit = (uint8_t)chance(2);
        m->ppu.first_frame = chance(8) == 0;
        m->ppu.win_state = (uint8_t)chance(4);
        m->ppu.drawn_line = (uint8_t)line;
        gb_line_forget(&m->ppu);
        for (int i = 0; i < 40; i++) {
            m->oam[i * 4] = (uint8_t)(chance(4) ? (uint32_t)line + 16 - chance(8) : chance(256));
            m->oam[i * 4 + 1] = (uint8_t)chance(round & 1 ? 176 : 24);
            if (chance(3) == 0) m->oam[i * 4] = 0;
        }
        int mode0 = gb_line_formula(m, line, GB_X_MODE0);
        int end = gb_line_formula(m, line, GB_X_LAST);
        uint8_t lcdc = m->ppu.lcdc, scx = m->ppu.scx, wx = m->ppu.wx;
        gb_line_follow(m, line, GB_LINE_CYCLES);
        if (m->ppu.line.mode0 != mode0 || m->ppu.line.end != end)
            fail_msg("round %d: steps %d %d, formula %d %d (LCDC %02x SCX %d WX %d)", round,
                     m->ppu.line.mode0, m->ppu.line.end, mode0, end, lcdc, scx, wx);
        assert_int_equal(m->ppu.line.state, GB_LINE_OVER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_formula_and_the_steps_agree_on_the_end_of_mode_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
