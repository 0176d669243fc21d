// gb_cpu_verdict.h - what the CPU loop is told between instructions.
#ifndef GB_CPU_VERDICT_H
#define GB_CPU_VERDICT_H

enum gb_cpu_verdict {
    GB_CPU_GO,
    GB_CPU_GO_AGAIN, // the next opcode fetch leaves PC where it is
    GB_CPU_LEAVE
};

#endif
