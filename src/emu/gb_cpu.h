// gb_cpu.h - the SM83: one function that runs instructions, as a template over the bus.
//
// Includer defines, then includes (any number of times, hence no include guard):
//   GB_CPU_FN           name of the function to make: HD void NAME(GB_CPU_MACHINE *m)
//   GB_CPU_MACHINE      type with `struct gb_cpu cpu; int32_t now, event_t;`
//   GB_CPU_READ(m, a, t)      byte at a, the access happening at time t
//   GB_CPU_WRITE(m, a, v, t)  likewise
//   GB_CPU_IDLE(m, t)         an M-cycle without access
//   GB_CPU_BOUNDARY(m)        called between instructions when m->now >= m->event_t, with registers
//                             and time stored in m; may change PC, SP and the time; returns
//                             GB_CPU_GO, GB_CPU_GO_AGAIN (fetch without moving PC: the halt bug) or
//                             GB_CPU_LEAVE.
// Without these it makes gb_cpu_run over the real bus, gb_run.h's boundary.
//
// An access happens at t, then t moves on by 4; so between instructions t is the time of the next
// opcode fetch, and what happened up to and including t decides about interrupts.
// Flags live apart while running: fz (zero iff Z), fn (0 or 40), fh (bit 4), fc (0 or 1).
// Cycle by cycle behaviour follows the single-step tests and Pan Docs' opcode tables.
#include "gb_cpu_verdict.h"
#include "gb_types.h"

#if !defined(GB_CPU_FN) && !defined(GB_CPU_RUN_MADE)
#define GB_CPU_RUN_MADE
#include "gb_bus.h"
#include "gb_boundary.h"
#define GB_CPU_FN gb_cpu_run
#define GB_CPU_MACHINE struct gb
#define GB_CPU_READ(m, addr, t) gb_read(m, addr, t)
#define GB_CPU_WRITE(m, addr, v, t) gb_write(m, addr, v, t)
#define GB_CPU_IDLE(m, t) ((void)0)
#define GB_CPU_BOUNDARY(m) gb_boundary(m)
#endif

#ifdef GB_CPU_FN

// clang-format off: the opcodes are a table

// Bus.
#define RD(addr) (t += 4, GB_CPU_READ(m, (uint16_t)(addr), t - 4))
#define WR(addr, v) (GB_CPU_WRITE(m, (uint16_t)(addr), (uint8_t)(v), t), t += 4)
#define IDLE() (GB_CPU_IDLE(m, t), t += 4)
#define IMM() RD(pc++)

// Registers, readable and writable by letter.
#define R_B ((unsigned)bc >> 8)
#define R_C ((unsigned)bc & 0xff)
#define R_D ((unsigned)de >> 8)
#define R_E ((unsigned)de & 0xff)
#define R_H ((unsigned)hl >> 8)
#define R_L ((unsigned)hl & 0xff)
#define R_A a
#define W_B(v) (bc = (uint16_t)((bc & 0x00ff) | (v) << 8))
#define W_C(v) (bc = (uint16_t)((bc & 0xff00) | (v)))
#define W_D(v) (de = (uint16_t)((de & 0x00ff) | (v) << 8))
#define W_E(v) (de = (uint16_t)((de & 0xff00) | (v)))
#define W_H(v) (hl = (uint16_t)((hl & 0x00ff) | (v) << 8))
#define W_L(v) (hl = (uint16_t)((hl & 0xff00) | (v)))
#define W_A(v) (a = (v))

#define FLAGS() ((fz ? 0u : 0x80u) | fn | (fh & 0x10) << 1 | fc << 4)
#define SET_FLAGS(f) \
    (fz = !((f) & 0x80), fn = (f) & 0x40, fh = ((f) & 0x20) >> 1, fc = ((f) >> 4) & 1)

// Arithmetic on A; `x` is evaluated once.
#define ADD(x, carry) \
    do { unsigned x_ = (x), r_ = a + x_ + (carry); \
        fh = a ^ x_ ^ r_; fc = r_ >> 8; fn = 0; a = fz = r_ & 0xff; } while (0)
#define SUB(x, carry) \
    do { unsigned x_ = (x), r_ = a - x_ - (carry); \
        fh = a ^ x_ ^ r_; fc = (r_ >> 8) & 1; fn = 0x40; a = fz = r_ & 0xff; } while (0)
#define CP(x) \
    do { unsigned x_ = (x), r_ = a - x_; \
        fh = a ^ x_ ^ r_; fc = (r_ >> 8) & 1; fn = 0x40; fz = r_ & 0xff; } while (0)
#define AND(x) (a &= (x), fz = a, fn = 0, fh = 0x10, fc = 0)
#define XOR(x) (a ^= (x), fz = a, fn = 0, fh = 0, fc = 0)
#define OR(x) (a |= (x), fz = a, fn = 0, fh = 0, fc = 0)
#define INC8(v) (fz = ((v) + 1) & 0xff, fh = (fz & 0x0f) ? 0u : 0x10u, fn = 0)
#define DEC8(v) (fz = ((v) - 1) & 0xff, fh = (fz & 0x0f) == 0x0f ? 0x10u : 0u, fn = 0x40)
#define ADD_HL(x) \
    do { unsigned x_ = (x), r_ = hl + x_; \
        fh = (hl ^ x_ ^ r_) >> 8; fc = r_ >> 16; fn = 0; hl = (uint16_t)r_; IDLE(); } while (0)
#define ADD_SP(dest) \
    do { unsigned x_ = (unsigned)(int)(int8_t)IMM(), r_ = sp + x_, y_ = sp ^ x_ ^ r_; \
        fh = y_; fc = (y_ >> 8) & 1; fn = 0; fz = 1; dest = (uint16_t)r_; IDLE(); } while (0)

// CB operations: v in, v out.
#define RLC(v) (fc = (v) >> 7, v = ((v) << 1 | fc) & 0xff, fz = (v), fn = 0, fh = 0)
#define RRC(v) (fc = (v) & 1, v = (v) >> 1 | fc << 7, fz = (v), fn = 0, fh = 0)
#define RL(v) (v = (v) << 1 | fc, fc = (v) >> 8, v &= 0xff, fz = (v), fn = 0, fh = 0)
#define RR(v) (v |= fc << 8, fc = (v) & 1, v >>= 1, fz = (v), fn = 0, fh = 0)
#define SLA(v) (fc = (v) >> 7, v = ((v) << 1) & 0xff, fz = (v), fn = 0, fh = 0)
#define SRA(v) (fc = (v) & 1, v = ((v) & 0x80) | (v) >> 1, fz = (v), fn = 0, fh = 0)
#define SWAP(v) (v = (v) >> 4 | ((v) & 0x0f) << 4, fz = (v), fn = 0, fh = 0, fc = 0)
#define SRL(v) (fc = (v) & 1, v >>= 1, fz = (v), fn = 0, fh = 0)

// Control flow.
#define PUSH(hi, lo) \
    do { sp--; WR(sp, hi); sp--; WR(sp, lo); } while (0)
#define POP(hi, lo) \
    do { lo = RD(sp); sp++; hi = RD(sp); sp++; } while (0)
#define IMM16(to) \
    do { unsigned lo_ = IMM(), hi_ = IMM(); to = (uint16_t)(hi_ << 8 | lo_); } while (0)
#define JR(cond) \
    do { unsigned e_ = IMM(); \
        if (cond) { IDLE(); pc = (uint16_t)(pc + (int8_t)e_); } } while (0)
#define JP(cond) \
    do { uint16_t to_; IMM16(to_); if (cond) { IDLE(); pc = to_; } } while (0)
#define CALL(cond) \
    do { uint16_t to_; IMM16(to_); \
        if (cond) { IDLE(); PUSH(pc >> 8, pc & 0xff); pc = to_; } } while (0)
#define RET() \
    do { unsigned lo_, hi_; POP(hi_, lo_); pc = (uint16_t)(hi_ << 8 | lo_); IDLE(); } while (0)
#define RET_IF(cond) \
    do { IDLE(); if (cond) RET(); } while (0)
#define RST(to) \
    do { IDLE(); PUSH(pc >> 8, pc & 0xff); pc = (to); } while (0)

#define CASE_LD(op, to, from) case op: W_##to(R_##from); break;
#define CASES_LD(op, to) \
    CASE_LD(op, to, B) CASE_LD(op + 1, to, C) CASE_LD(op + 2, to, D) CASE_LD(op + 3, to, E) \
    CASE_LD(op + 4, to, H) CASE_LD(op + 5, to, L) \
    case op + 6: W_##to(RD(hl)); break; \
    CASE_LD(op + 7, to, A)
#define CASES_ALU(op, DO) \
    case op: DO(R_B); break; case op + 1: DO(R_C); break; case op + 2: DO(R_D); break; \
    case op + 3: DO(R_E); break; case op + 4: DO(R_H); break; case op + 5: DO(R_L); break; \
    case op + 6: DO(RD(hl)); break; case op + 7: DO(R_A); break;
#define ADD0(x) ADD(x, 0u)
#define ADC(x) ADD(x, fc)
#define SUB0(x) SUB(x, 0u)
#define SBC(x) SUB(x, fc)
#define CASES_INC(op, r) \
    case op: INC8(R_##r); W_##r(fz); break; case op + 1: DEC8(R_##r); W_##r(fz); break;
#define CASE_CB(op, DO, r) case op: { unsigned v_ = R_##r; DO(v_); W_##r(v_); } break;
#define CASES_CB(op, DO) \
    CASE_CB(op, DO, B) CASE_CB(op + 1, DO, C) CASE_CB(op + 2, DO, D) CASE_CB(op + 3, DO, E) \
    CASE_CB(op + 4, DO, H) CASE_CB(op + 5, DO, L) \
    case op + 6: { unsigned v_ = RD(hl); DO(v_); WR(hl, v_); } break; \
    CASE_CB(op + 7, DO, A)

HD_CALL void GB_CPU_FN(GB_CPU_MACHINE *m)
{
    uint16_t pc = m->cpu.pc, sp = m->cpu.sp, bc = m->cpu.bc, de = m->cpu.de, hl = m->cpu.hl;
    unsigned a = m->cpu.a, fz, fn, fh, fc, op;
    int32_t t = m->now;
    SET_FLAGS(m->cpu.f);
    for (;;) {
        if (GB_UNLIKELY(t >= m->event_t)) {
            m->cpu.pc = pc; m->cpu.sp = sp; m->cpu.bc = bc; m->cpu.de = de; m->cpu.hl = hl;
            m->cpu.a = (uint8_t)a; m->cpu.f = (uint8_t)FLAGS();
            m->now = t;
            int verdict = GB_CPU_BOUNDARY(m);
            if (verdict == GB_CPU_LEAVE) return;
            pc = m->cpu.pc; sp = m->cpu.sp;
            t = m->now;
            if (verdict == GB_CPU_GO_AGAIN) {
                op = RD(pc);
                goto execute;
            }
        }
        op = IMM();
    execute:
        switch (op) {
        case 0x00: break;
        case 0x01: IMM16(bc); break;
        case 0x11: IMM16(de); break;
        case 0x21: IMM16(hl); break;
        case 0x31: IMM16(sp); break;
        case 0x02: WR(bc, a); break;
        case 0x12: WR(de, a); break;
        case 0x22: WR(hl, a); hl++; break;
        case 0x32: WR(hl, a); hl--; break;
        case 0x0a: a = RD(bc); break;
        case 0x1a: a = RD(de); break;
        case 0x2a: a = RD(hl); hl++; break;
        case 0x3a: a = RD(hl); hl--; break;
        case 0x03: bc++; IDLE(); break;
        case 0x13: de++; IDLE(); break;
        case 0x23: hl++; IDLE(); break;
        case 0x33: sp++; IDLE(); break;
        case 0x0b: bc--; IDLE(); break;
        case 0x1b: de--; IDLE(); break;
        case 0x2b: hl--; IDLE(); break;
        case 0x3b: sp--; IDLE(); break;
        case 0x09: ADD_HL(bc); break;
        case 0x19: ADD_HL(de); break;
        case 0x29: ADD_HL(hl); break;
        case 0x39: ADD_HL(sp); break;
        CASES_INC(0x04, B) CASES_INC(0x0c, C) CASES_INC(0x14, D) CASES_INC(0x1c, E)
        CASES_INC(0x24, H) CASES_INC(0x2c, L) CASES_INC(0x3c, A)
        case 0x34: { unsigned v = RD(hl); INC8(v); WR(hl, fz); } break;
        case 0x35: { unsigned v = RD(hl); DEC8(v); WR(hl, fz); } break;
        case 0x06: W_B((unsigned)IMM()); break;
        case 0x0e: W_C((unsigned)IMM()); break;
        case 0x16: W_D((unsigned)IMM()); break;
        case 0x1e: W_E((unsigned)IMM()); break;
        case 0x26: W_H((unsigned)IMM()); break;
        case 0x2e: W_L((unsigned)IMM()); break;
        case 0x36: { unsigned v = IMM(); WR(hl, v); } break;
        case 0x3e: a = IMM(); break;
        case 0x07: RLC(a); fz = 1; break;
        case 0x0f: RRC(a); fz = 1; break;
        case 0x17: RL(a); fz = 1; break;
        case 0x1f: RR(a); fz = 1; break;
        case 0x08: {
            uint16_t to;
            IMM16(to);
            WR(to, sp & 0xff);
            WR(to + 1, sp >> 8);
        } break;
        case 0x10: m->cpu.halt = GB_STOPPED; m->event_t = GB_AT_ONCE; break;
        case 0x18: JR(1); break;
        case 0x20: JR(fz); break;
        case 0x28: JR(!fz); break;
        case 0x30: JR(!fc); break;
        case 0x38: JR(fc); break;
        case 0x27: { // DAA: correct A to packed decimal after an addition or subtraction
            unsigned half = fh & 0x10, fix = 0;
            if (half || (!fn && (a & 0x0f) > 9)) fix = 0x06;
            if (fc || (!fn && a > 0x99)) { fix |= 0x60; fc = 1; }
            a = fz = (fn ? a - fix : a + fix) & 0xff;
            fh = 0;
        } break;
        case 0x2f: a ^= 0xff; fn = 0x40; fh = 0x10; break;
        case 0x37: fn = 0; fh = 0; fc = 1; break;
        case 0x3f: fn = 0; fh = 0; fc ^= 1; break;

        CASES_LD(0x40, B) CASES_LD(0x48, C) CASES_LD(0x50, D) CASES_LD(0x58, E)
        CASES_LD(0x60, H) CASES_LD(0x68, L) CASES_LD(0x78, A)
        case 0x70: WR(hl, R_B); break;
        case 0x71: WR(hl, R_C); break;
        case 0x72: WR(hl, R_D); break;
        case 0x73: WR(hl, R_E); break;
        case 0x74: WR(hl, R_H); break;
        case 0x75: WR(hl, R_L); break;
        case 0x77: WR(hl, a); break;
        case 0x76: m->cpu.halt = GB_HALT_JUST; m->event_t = GB_AT_ONCE; break;
        CASES_ALU(0x80, ADD0) CASES_ALU(0x88, ADC) CASES_ALU(0x90, SUB0) CASES_ALU(0x98, SBC)
        CASES_ALU(0xa0, AND) CASES_ALU(0xa8, XOR) CASES_ALU(0xb0, OR) CASES_ALU(0xb8, CP)

        case 0xc6: ADD(IMM(), 0u); break;
        case 0xce: ADD(IMM(), fc); break;
        case 0xd6: SUB(IMM(), 0u); break;
        case 0xde: SUB(IMM(), fc); break;
        case 0xe6: AND(IMM()); break;
        case 0xee: XOR(IMM()); break;
        case 0xf6: OR(IMM()); break;
        case 0xfe: CP(IMM()); break;
        case 0xc1: { unsigned hi, lo; POP(hi, lo); bc = (uint16_t)(hi << 8 | lo); } break;
        case 0xd1: { unsigned hi, lo; POP(hi, lo); de = (uint16_t)(hi << 8 | lo); } break;
        case 0xe1: { unsigned hi, lo; POP(hi, lo); hl = (uint16_t)(hi << 8 | lo); } break;
        case 0xf1: { unsigned lo; POP(a, lo); SET_FLAGS(lo); } break;
        case 0xc5: IDLE(); PUSH(R_B, R_C); break;
        case 0xd5: IDLE(); PUSH(R_D, R_E); break;
        case 0xe5: IDLE(); PUSH(R_H, R_L); break;
        case 0xf5: IDLE(); PUSH(a, FLAGS()); break;
        case 0xc0: RET_IF(fz); break;
        case 0xc8: RET_IF(!fz); break;
        case 0xd0: RET_IF(!fc); break;
        case 0xd8: RET_IF(fc); break;
        case 0xc9: RET(); break;
        case 0xd9: RET(); m->cpu.ime = 1; m->event_t = GB_AT_ONCE; break;
        case 0xc2: JP(fz); break;
        case 0xca: JP(!fz); break;
        case 0xd2: JP(!fc); break;
        case 0xda: JP(fc); break;
        case 0xc3: JP(1); break;
        case 0xe9: pc = hl; break;
        case 0xc4: CALL(fz); break;
        case 0xcc: CALL(!fz); break;
        case 0xd4: CALL(!fc); break;
        case 0xdc: CALL(fc); break;
        case 0xcd: CALL(1); break;
        case 0xc7: RST(0x00); break;
        case 0xcf: RST(0x08); break;
        case 0xd7: RST(0x10); break;
        case 0xdf: RST(0x18); break;
        case 0xe7: RST(0x20); break;
        case 0xef: RST(0x28); break;
        case 0xf7: RST(0x30); break;
        case 0xff: RST(0x38); break;
        case 0xe0: { unsigned n = IMM(); WR(0xff00 | n, a); } break;
        case 0xf0: { unsigned n = IMM(); a = RD(0xff00 | n); } break;
        case 0xe2: WR(0xff00 | R_C, a); break;
        case 0xf2: a = RD(0xff00 | R_C); break;
        case 0xea: { uint16_t to; IMM16(to); WR(to, a); } break;
        case 0xfa: { uint16_t from; IMM16(from); a = RD(from); } break;
        case 0xe8: { uint16_t r; ADD_SP(r); IDLE(); sp = r; } break;
        case 0xf8: ADD_SP(hl); break;
        case 0xf9: sp = hl; IDLE(); break;
        case 0xf3: m->cpu.ime = 0; m->cpu.ei_delay = 0; break;
        case 0xfb:
            if (!m->cpu.ei_delay) m->cpu.ei_delay = 1;
            m->event_t = GB_AT_ONCE;
            break;

        case 0xcb:
            op = IMM();
            switch (op) {
            CASES_CB(0x00, RLC) CASES_CB(0x08, RRC) CASES_CB(0x10, RL) CASES_CB(0x18, RR)
            CASES_CB(0x20, SLA) CASES_CB(0x28, SRA) CASES_CB(0x30, SWAP) CASES_CB(0x38, SRL)
            default: { // BIT, RES, SET b,r
                unsigned v, bit = 1u << ((op >> 3) & 7);
                switch (op & 7) {
                case 0: v = R_B; break;
                case 1: v = R_C; break;
                case 2: v = R_D; break;
                case 3: v = R_E; break;
                case 4: v = R_H; break;
                case 5: v = R_L; break;
                case 6: v = RD(hl); break;
                default: v = a; break;
                }
                if (op < 0x80) {
                    fz = v & bit;
                    fn = 0;
                    fh = 0x10;
                    break;
                }
                v = op < 0xc0 ? v & ~bit : v | bit;
                switch (op & 7) {
                case 0: W_B(v); break;
                case 1: W_C(v); break;
                case 2: W_D(v); break;
                case 3: W_E(v); break;
                case 4: W_H(v); break;
                case 5: W_L(v); break;
                case 6: WR(hl, v); break;
                default: a = v; break;
                }
            } break;
            }
            break;

        default: // the eleven opcodes that do not exist stop the CPU for good
            m->cpu.halt = GB_LOCKED;
            m->event_t = GB_AT_ONCE;
            break;
        }
    }
}

// clang-format on

#undef RD
#undef WR
#undef IDLE
#undef IMM
#undef R_B
#undef R_C
#undef R_D
#undef R_E
#undef R_H
#undef R_L
#undef R_A
#undef W_B
#undef W_C
#undef W_D
#undef W_E
#undef W_H
#undef W_L
#undef W_A
#undef FLAGS
#undef SET_FLAGS
#undef ADD
#undef SUB
#undef CP
#undef AND
#undef XOR
#undef OR
#undef INC8
#undef DEC8
#undef ADD_HL
#undef ADD_SP
#undef RLC
#undef RRC
#undef RL
#undef RR
#undef SLA
#undef SRA
#undef SWAP
#undef SRL
#undef PUSH
#undef POP
#undef IMM16
#undef JR
#undef JP
#undef CALL
#undef RET
#undef RET_IF
#undef RST
#undef CASE_LD
#undef CASES_LD
#undef CASES_ALU
#undef ADD0
#undef ADC
#undef SUB0
#undef SBC
#undef CASES_INC
#undef CASE_CB
#undef CASES_CB
#undef GB_CPU_FN
#undef GB_CPU_MACHINE
#undef GB_CPU_READ
#undef GB_CPU_WRITE
#undef GB_CPU_IDLE
#undef GB_CPU_BOUNDARY
#endif
