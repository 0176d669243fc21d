// test_devices.c - timer, serial, joypad, DMA, interrupts, HALT and EI, by the clock.
//
// The device tests drive the bus by hand: gb_read and gb_write take the time of the access, so no
// program is needed. The CPU tests run a few bytes of code from 0150.
#include "emu/gb_boundary.h"
#include "gb_fixture.h"

enum { P1 = 0x00, SB, SC, DIV = 0x04, TIMA, TMA, TAC, IF = 0x0f };

// A machine whose LCD is off and whose divider is 0 at time 0.
static struct gb *quiet(void)
{
    struct gb *m = fixture_start(fixture_rom(0x00, 0, 0));
    gb_io_write(m, 0x40, 0, 0);
    gb_io_write(m, DIV, 0, 0);
    gb_io_write(m, IF, 0, 0);
    return m;
}

static int if_at(struct gb *m, int32_t t)
{
    return gb_io_read(m, IF, t) & 0x1f;
}

static void div_counts_every_256_cycles_and_any_write_clears_it(void **state)
{
    (void)state;
    struct gb *m = quiet();
    assert_int_equal(gb_io_read(m, DIV, 252), 0);
    assert_int_equal(gb_io_read(m, DIV, 256), 1);
    assert_int_equal(gb_io_read(m, DIV, 256 * 256 + 512), 2);
    gb_io_write(m, DIV, 0x77, 66048);
    assert_int_equal(gb_io_read(m, DIV, 66048), 0);
    assert_int_equal(gb_io_read(m, DIV, 66048 + 256), 1);
}

static void tima_counts_at_the_four_rates(void **state)
{
    (void)state;
    const int periods[4] = {1024, 16, 64, 256};
    for (int rate = 0; rate < 4; rate++) {
        struct gb *m = quiet();
        gb_io_write(m, TIMA, 0, 0);
        gb_io_write(m, TAC, (uint8_t)(4 + rate), 0);
        assert_int_equal(gb_io_read(m, TIMA, 10 * periods[rate] - 4), 9);
        assert_int_equal(gb_io_read(m, TIMA, 10 * periods[rate]), 10);
        gb_io_write(m, TAC, 0, 10 * periods[rate]);
        assert_int_equal(gb_io_read(m, TIMA, 30 * periods[rate]), 10);
    }
}

static void tima_reads_zero_for_one_cycle_before_tma_and_the_interrupt(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, TMA, 0xab, 0);
    gb_io_write(m, TIMA, 0xff, 0);
    gb_io_write(m, TAC, 5, 0);
    assert_int_equal(gb_io_read(m, TIMA, 12), 0xff);
    assert_int_equal(gb_io_read(m, TIMA, 16), 0x00);
    assert_int_equal(if_at(m, 16), 0);
    assert_int_equal(if_at(m, 20), GB_INT_TIMER);
    assert_int_equal(gb_io_read(m, TIMA, 20), 0xab);
}

static void a_tima_write_before_the_reload_calls_it_off_and_one_during_it_is_lost(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, TMA, 0xab, 0);
    gb_io_write(m, TIMA, 0xff, 0);
    gb_io_write(m, TAC, 5, 0);
    gb_io_write(m, TIMA, 0x12, 16);
    assert_int_equal(gb_io_read(m, TIMA, 24), 0x12);
    assert_int_equal(if_at(m, 24), 0);
    gb_io_write(m, TIMA, 0xff, 36); // wraps at 48
    gb_io_write(m, TIMA, 0x34, 52);
    assert_int_equal(gb_io_read(m, TIMA, 52), 0xab);
    gb_io_write(m, TIMA, 0xff, 68); // wraps at 80
    gb_io_write(m, TMA, 0xcd, 84);
    assert_int_equal(gb_io_read(m, TIMA, 84), 0xcd);
}

static void clearing_div_or_stopping_the_timer_can_step_tima(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, TIMA, 5, 0);
    gb_io_write(m, TAC, 5, 0);
    gb_io_write(m, DIV, 0, 4); // divider bit 3 is 0: nothing falls
    assert_int_equal(gb_io_read(m, TIMA, 4), 5);
    gb_io_write(m, DIV, 0, 12); // bit 3 is 1: falls
    assert_int_equal(gb_io_read(m, TIMA, 12), 6);
    gb_io_write(m, TAC, 0, 20); // enable falls while bit 3 is 1
    assert_int_equal(gb_io_read(m, TIMA, 20), 7);
}

static void a_transfer_by_the_internal_clock_ends_with_ones(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, SB, 0x42, 0);
    gb_io_write(m, SC, 0x81, 0);
    assert_int_equal(if_at(m, 4092), 0);
    assert_int_equal(gb_io_read(m, SC, 4092), 0xff);
    assert_int_equal(if_at(m, 4096), GB_INT_SERIAL);
    assert_int_equal(gb_io_read(m, SB, 4096), 0xff);
    assert_int_equal(gb_io_read(m, SC, 4096), 0x7f);
    gb_io_write(m, SC, 0x80, 4096); // by the other side's clock: never
    gb_io_write(m, IF, 0, 4096);
    assert_int_equal(if_at(m, 70000), 0);
}

static void p1_shows_the_selected_buttons_live(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, P1, 0x20, 0); // directions
    assert_int_equal(gb_io_read(m, P1, 0), 0xef);
    gb_set_buttons(m, GB_BUTTON_UP | GB_BUTTON_RIGHT | GB_BUTTON_A);
    assert_int_equal(gb_io_read(m, P1, 0), 0xea);
    gb_io_write(m, P1, 0x10, 0); // buttons
    assert_int_equal(gb_io_read(m, P1, 0), 0xde);
    gb_set_buttons(m, GB_BUTTON_START | GB_BUTTON_SELECT | GB_BUTTON_B);
    assert_int_equal(gb_io_read(m, P1, 0), 0xd1);
    gb_io_write(m, P1, 0x30, 0);
    assert_int_equal(gb_io_read(m, P1, 0), 0xff);
    gb_set_buttons(m, GB_BUTTON_LEFT | GB_BUTTON_START);
    gb_io_write(m, P1, 0x00, 0); // both rows share the lines
    assert_int_equal(gb_io_read(m, P1, 0), 0xc5);
}

static void a_falling_joypad_line_raises_the_interrupt_and_a_rising_one_does_not(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, P1, 0x30, 0);
    gb_set_buttons(m, GB_BUTTON_A); // not selected
    assert_int_equal(if_at(m, 0), 0);
    gb_io_write(m, P1, 0x10, 0); // selecting makes the line fall
    assert_int_equal(if_at(m, 0), GB_INT_JOYPAD);
    gb_io_write(m, IF, 0, 0);
    gb_set_buttons(m, 0);
    assert_int_equal(if_at(m, 0), 0);
    gb_set_buttons(m, GB_BUTTON_B);
    assert_int_equal(if_at(m, 0), GB_INT_JOYPAD);
}

static void dma_copies_160_bytes_and_locks_oam_meanwhile(void **state)
{
    (void)state;
    struct gb *m = quiet();
    for (int i = 0; i < 256; i++) m->wram[0x300 + i] = (uint8_t)(i ^ 0x5a);
    memset(m->oam, 0x11, sizeof m->oam);
    m->hram[0] = 0x99;
    gb_write(m, 0xff46, 0xc3, 100);
    assert_int_equal(gb_read(m, 0xfe00, 104), 0x11); // two cycles to start
    assert_int_equal(gb_read(m, 0xfe9f, 108), 0xff);
    assert_int_equal(gb_read(m, 0xff80, 108), 0x99);
    gb_write(m, 0xfe00, 0x22, 200); // lost
    assert_int_equal(gb_read(m, 0xfe00, 108 + 636), 0xff);
    for (int i = 0; i < 160; i++)
        assert_int_equal(gb_read(m, (uint16_t)(0xfe00 + i), 108 + 640), i ^ 0x5a);
    assert_int_equal(gb_read(m, 0xff46, 108 + 640), 0xc3);
}

static void a_read_on_the_bus_of_dma_gets_its_byte_and_vram_is_another_bus(void **state)
{
    (void)state;
    struct gb *m = quiet();
    for (int i = 0; i < 160; i++) m->wram[i] = (uint8_t)i;
    m->vram[5] = 0x77;
    gb_write(m, 0xff46, 0xc0, 0);
    assert_int_equal(gb_read(m, 0xd000, 8 + 4 * 40), 40);
    assert_int_equal(gb_read(m, 0x0150, 8 + 4 * 41), 41);
    assert_int_equal(gb_read(m, 0x8005, 8 + 4 * 42), 0x77);
    gb_write(m, 0xd000, 1, 8 + 4 * 43);
    assert_int_equal(gb_read(m, 0xd000, 8 + 640), 0);
    gb_write(m, 0xff46, 0x80, 1000);
    assert_int_equal(gb_read(m, 0x8123, 1008 + 20), 0x77); // VRAM's own transfer
    assert_int_equal(gb_read(m, 0xc007, 1008 + 24), 7);
}

static void interrupts_go_by_priority_and_take_twenty_cycles(void **state)
{
    (void)state;
    struct gb *m = quiet();
    m->cpu.pc = 0x1234;
    m->cpu.sp = 0xd000;
    m->cpu.ime = 1;
    m->now = 400;
    m->irq_enable = GB_INT_TIMER | GB_INT_JOYPAD | GB_INT_SERIAL;
    m->irq_flag = GB_INT_VBLANK | GB_INT_TIMER | GB_INT_SERIAL;
    gb_dispatch(m);
    assert_int_equal(m->cpu.pc, 0x50);
    assert_int_equal(m->now, 420);
    assert_int_equal(m->cpu.ime, 0);
    assert_int_equal(m->irq_flag, GB_INT_VBLANK | GB_INT_SERIAL);
    assert_int_equal(gb_peek(m, 0xcfff), 0x12);
    assert_int_equal(gb_peek(m, 0xcffe), 0x34);
}

static void a_push_over_IE_can_cancel_the_interrupt(void **state)
{
    (void)state;
    struct gb *m = quiet();
    m->cpu.pc = 0x0200; // high byte 02 goes to FFFF: only STAT stays enabled
    m->cpu.sp = 0x0000;
    m->irq_enable = m->irq_flag = GB_INT_TIMER;
    gb_dispatch(m);
    assert_int_equal(m->cpu.pc, 0x0000);
    assert_int_equal(m->irq_flag, GB_INT_TIMER);
}

// LD A,flags; LDH (0F),A; LDH (FF),A
#define REQUEST(flags) 0x3e, flags, 0xe0, 0x0f, 0xe0, 0xff

static void ei_lets_one_more_instruction_run(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, REQUEST(0x04), 0x06, 0x00, 0xfb, 0x04, 0x04, 0x04); // INC B x3
    memcpy(fixture.bytes + 0x50, (const uint8_t[]){0x78, 0xea, 0x00, 0xc0, 0x18, 0xfe}, 6);
    gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 1);
}

static void ei_then_di_lets_nothing_in(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, REQUEST(0x04), 0x06, 0x00, 0xfb, 0xf3, 0x04, 0x04);
    memcpy(fixture.bytes + 0x50, (const uint8_t[]){0x3e, 0x01, 0xea, 0x00, 0xc0, 0xc9}, 6);
    gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 0);
    assert_int_equal(m->cpu.bc >> 8, 2);
}

static void halt_with_a_pending_interrupt_and_ime_off_reads_the_next_byte_twice(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, REQUEST(0x04), 0x06, 0x00, 0x76, 0x04, 0x00); // HALT; INC B
    gb_run_frame(m, false);
    assert_int_equal(m->cpu.bc >> 8, 2);
}

static void halt_after_ei_returns_to_the_halt(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, REQUEST(0x04), 0x31, 0x00, 0xd0, 0xfb, 0x76, 0x04);
    memcpy(fixture.bytes + 0x50, (const uint8_t[]){0x18, 0xfe}, 2);
    gb_run_frame(m, false);
    int halt_at = FIXTURE_PROGRAM + 1 + 6 + 3 + 1;
    assert_int_equal(gb_peek(m, 0xcffe) | gb_peek(m, 0xcfff) << 8, halt_at);
}

static void halt_sleeps_until_an_enabled_interrupt_even_with_ime_off(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, 0xaf, 0xe0, 0x0f, 0x3e, 0x01, 0xe0, 0xff, // IE = VBlank
                               0x76, 0x00, 0xf0, 0x44, 0xea, 0x00, 0xc0);      // LY to C000
    gb_run_frame(m, false);
    gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 144);
}

static void a_missing_opcode_locks_the_machine_but_time_goes_on(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xd3);
    for (int i = 0; i < 3; i++) gb_run_frame(m, false);
    assert_true(gb_is_locked(m));
    assert_int_equal(m->now, 0);
    assert_int_equal(m->irq_flag & GB_INT_VBLANK, GB_INT_VBLANK);
}

static void stop_sleeps_until_a_selected_button(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, 0x3e, 0x10, 0xe0, 0x00, 0x10, 0x00, // select buttons; STOP
                               0x3e, 0x42, 0xea, 0x00, 0xc0);
    for (int i = 0; i < 3; i++) gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 0);
    gb_set_buttons(m, GB_BUTTON_LEFT);
    gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 0);
    gb_set_buttons(m, GB_BUTTON_A);
    gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 0x42);
}

static void stop_with_a_button_down_is_a_halt_that_leaves_div_alone(void **state)
{
    (void)state;
    // IE = VBlank; select buttons; STOP; C000 = 42; then C001 = DIV
    struct gb *m = FIXTURE_RUN(0xf3, 0x3e, 0x01, 0xe0, 0xff, 0xaf, 0xe0, 0x0f, 0x3e, 0x10, 0xe0,
                               0x00, 0x10, 0x00, 0xf0, 0x04, 0xea, 0x01, 0xc0, 0x3e, 0x42, 0xea,
                               0x00, 0xc0);
    uint16_t before = gb_timer_divider(m, m->now);
    gb_set_buttons(m, GB_BUTTON_A);
    gb_io_write(m, 0x40, 0x11, m->now); // LCD off: nothing ends the halt
    for (int i = 0; i < 3; i++) gb_run_frame(m, false);
    assert_int_equal(gb_peek(m, 0xc000), 0);
    assert_int_equal(m->cpu.halt, GB_HALTED);
    gb_io_write(m, 0x40, 0x91, m->now);
    gb_run_frame(m, false); // to VBlank and on
    assert_int_equal(gb_peek(m, 0xc000), 0x42);
    uint16_t passed = (uint16_t)(3 * GB_FRAME_CYCLES + 144 * GB_LINE_CYCLES);
    assert_in_range((uint8_t)(gb_peek(m, 0xc001) - (uint8_t)((before + passed) >> 8)), 0, 1);
}

static void sound_registers_read_back_through_their_masks(void **state)
{
    (void)state;
    struct gb *m = quiet();
    gb_io_write(m, 0x26, 0x00, 0);
    gb_io_write(m, 0x12, 0xf0, 0); // refused while off
    gb_io_write(m, 0x26, 0x80, 0);
    assert_int_equal(gb_io_read(m, 0x26, 0), 0xf0);
    assert_int_equal(gb_io_read(m, 0x12, 0), 0x00);
    static const struct {
        uint8_t reg, reads;
    } zero[] = {{0x10, 0x80}, {0x11, 0x3f}, {0x13, 0xff}, {0x14, 0xbf}, {0x1a, 0x7f}, {0x1c, 0x9f},
                {0x20, 0xff}, {0x22, 0x00}, {0x23, 0xbf}, {0x24, 0x00}, {0x25, 0x00}, {0x27, 0xff}};
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++) {
        gb_io_write(m, zero[i].reg, 0, 0);
        assert_int_equal(gb_io_read(m, zero[i].reg, 0), zero[i].reads);
    }
    gb_io_write(m, 0x17, 0xf0, 0); // channel 2: DAC on, trigger
    gb_io_write(m, 0x19, 0x80, 0);
    assert_int_equal(gb_io_read(m, 0x26, 0), 0xf2);
    gb_io_write(m, 0x17, 0x00, 0); // DAC off
    assert_int_equal(gb_io_read(m, 0x26, 0), 0xf0);
    gb_io_write(m, 0x30, 0x5a, 0);
    assert_int_equal(gb_io_read(m, 0x30, 0), 0x5a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(div_counts_every_256_cycles_and_any_write_clears_it),
        cmocka_unit_test(tima_counts_at_the_four_rates),
        cmocka_unit_test(tima_reads_zero_for_one_cycle_before_tma_and_the_interrupt),
        cmocka_unit_test(a_tima_write_before_the_reload_calls_it_off_and_one_during_it_is_lost),
        cmocka_unit_test(clearing_div_or_stopping_the_timer_can_step_tima),
        cmocka_unit_test(a_transfer_by_the_internal_clock_ends_with_ones),
        cmocka_unit_test(p1_shows_the_selected_buttons_live),
        cmocka_unit_test(a_falling_joypad_line_raises_the_interrupt_and_a_rising_one_does_not),
        cmocka_unit_test(dma_copies_160_bytes_and_locks_oam_meanwhile),
        cmocka_unit_test(a_read_on_the_bus_of_dma_gets_its_byte_and_vram_is_another_bus),
        cmocka_unit_test(interrupts_go_by_priority_and_take_twenty_cycles),
        cmocka_unit_test(a_push_over_IE_can_cancel_the_interrupt),
        cmocka_unit_test(ei_lets_one_more_instruction_run),
        cmocka_unit_test(ei_then_di_lets_nothing_in),
        cmocka_unit_test(halt_with_a_pending_interrupt_and_ime_off_reads_the_next_byte_twice),
        cmocka_unit_test(halt_after_ei_returns_to_the_halt),
        cmocka_unit_test(halt_sleeps_until_an_enabled_interrupt_even_with_ime_off),
        cmocka_unit_test(a_missing_opcode_locks_the_machine_but_time_goes_on),
        cmocka_unit_test(stop_sleeps_until_a_selected_button),
        cmocka_unit_test(stop_with_a_button_down_is_a_halt_that_leaves_div_alone),
        cmocka_unit_test(sound_registers_read_back_through_their_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
