// Kernels: chains of nodes, a block of threads for a few rows.
#include "gpu/chain.h"
#include "gpu/row_ops.h"

enum { CHAIN_MAX_K = 1024 }; // chain_plan.cu keeps to it

// Of the rows [first, end): elements a thread each, rows a warp each. Every thread comes through
// the same number of turns of a warp.
#define ELEMENTS(i, width)                                                                         \
    for (int64_t i = first * (width) + threadIdx.x; i < end * (width); i += THREADS)
#define WARP_ROWS(r, groups)                                                                       \
    for (int64_t r = first * (groups) + threadIdx.x / WARP; r < end * (groups); r += WARPS)

// out[row] (=|+=) x[row] B + bias + addend, B [k][ld]. `across` threads lie beside each other over
// the columns, the groups of them take every so many-th row of B.
DEVICE_FUNCTION void product_row(const struct chain_step s, int64_t row) {
    SHARED(real, x, CHAIN_MAX_K);
    SHARED(real, part, THREADS);
    const int across = s.across, groups = THREADS / across;
    const int lane = (int)threadIdx.x % across, group = (int)threadIdx.x / across;
    for (int64_t c = threadIdx.x; c < s.k; c += THREADS) x[c] = s.src[0][row * s.k + c];
    BARRIER();
    for (int64_t tile = 0; tile < s.n; tile += across) {
        const int64_t j = tile + lane;
        real sum = 0;
#ifdef __CUDACC__
#pragma unroll 8
#endif
        for (int64_t c = group; c < s.k; c += groups)
            if (j < s.n) sum += x[c] * s.src[1][c * s.ld + j];
        part[threadIdx.x] = sum;
        BARRIER();
        if (group == 0 && j < s.n) {
            for (int other = 1; other < groups; other++) sum += part[other * across + lane];
            if (s.src[2].n) sum += s.src[2][j];
            if (s.src[3].n) sum += s.src[3][row * s.n + j];
            put(s.out[0], row * s.n + j, sum, s.add & 1);
        }
        BARRIER();
    }
}

DEVICE_FUNCTION void map_element(const struct chain_step s, int64_t i) {
    const real a = s.src[0][i], b = s.src[1].n ? (real)s.src[1][i] : 0, p = s.scale, q = s.shift;
    real v = 0;
    (void)b, (void)p, (void)q;
    switch (s.kind) {
#define VALUE(kind, name, value)                                                                   \
    case kind:                                                                                     \
        v = (value);                                                                               \
        break;
        GPU_MAPS(VALUE)
    default:
        break;
    }
    put(s.out[0], i, v, s.add & 1);
}

DEVICE_FUNCTION struct kl_weights weights_of_kl(const struct chain_step s) {
    const struct kl_weights w = {s.scale, s.shift, s.third};
    return w;
}

DEVICE_FUNCTION void run_step(const struct chain_step s, int64_t first, int64_t end) {
    switch (s.kind) {
    case OP_LINEAR:
        if (s.index.n) {
            ELEMENTS(i, s.n)
            s.out[0][i] = gathered(s.src[0], s.k, s.index, s.limit, s.src[1], s.n, s.src[2],
                                   s.src[3], i / s.n, i % s.n);
            break;
        }
        for (int64_t row = first; row < end; row++) product_row(s, row);
        break;
    case OP_LAYER_NORM:
        WARP_ROWS(row, 1)
        norm_row(s.src[0], s.src[1], s.src[2], row, s.n, s.scale, s.flag != 0, s.out[0]);
        break;
    case OP_LAYER_NORM_DX:
        WARP_ROWS(row, 1)
        norm_dx_row(s.src[0], s.src[1], s.src[2], s.src[3], row, s.n, s.scale, s.flag != 0,
                    s.out[0], s.add & 1, s.out[1], s.out[2], (s.add & 2) != 0);
        break;
    case OP_GRU_GATES:
        ELEMENTS(i, s.width) gates_at(s.src[0], s.src[1], i, s.n, s.out[0]);
        break;
    case OP_GRU_GATES_DX:
        ELEMENTS(i, s.width)
        gates_dx_at(s.src[0], s.src[1], s.src[2], i, s.n, s.out[0], s.add & 1, s.out[1],
                    (s.add & 2) != 0);
        break;
    case OP_BLEND:
        ELEMENTS(i, s.width) blend_at(s.src[0], s.src[1], s.src[2], i, s.n, s.out[0]);
        break;
    case OP_BLEND_DX:
        ELEMENTS(i, s.width)
        blend_dx_at(s.src[0], s.flag != 0, s.src[1], i, s.n, s.out[0], s.add & 1);
        break;
    case OP_UNIMIX:
        WARP_ROWS(row, s.groups) unimix_row(s.src[0], row, s.n, s.scale, s.out[0]);
        break;
    case OP_UNIMIX_DX:
        WARP_ROWS(row, s.groups)
        unimix_dx_row(s.src[0], s.src[1], row, s.n, s.scale, s.out[0], s.add & 1);
        break;
    case OP_SAMPLE:
        ELEMENTS(row, s.groups) sample_row(s.src[0], s.src[1], row, s.n, s.out[0]);
        break;
    case OP_KL:
    case OP_KL_BALANCED:
        WARP_ROWS(row, 1)
        kl_row(s.src[0], s.src[1], row, s.n, s.flag != 0, weights_of_kl(s), s.out[0]);
        break;
    case OP_KL_BALANCED_DX:
        WARP_ROWS(row, 1)
        kl_balanced_dx_row(s.src[0], s.src[1], s.src[2], row, s.n, weights_of_kl(s), s.out[0],
                           s.add & 1, s.out[1], (s.add & 2) != 0);
        break;
    case OP_ENTROPY:
        WARP_ROWS(row, 1) entropy_row(s.src[0], row, s.n, s.out[0]);
        break;
    case OP_ENTROPY_DX:
        ELEMENTS(i, s.width) entropy_dx_at(s.src[0], s.src[1], i, s.n, s.out[0], s.add & 1);
        break;
    case OP_LOG_PROB:
        WARP_ROWS(row, 1) log_prob_row(s.src[0], s.src[1], row, s.n, s.out[0]);
        break;
    case OP_LOG_PROB_DX:
        ELEMENTS(i, s.width)
        log_prob_dx_at(s.src[0], s.src[1], s.src[2], i, s.n, s.out[0], s.add & 1);
        break;
    case OP_ONES:
        WARP_ROWS(row, 1) ones_row(s.src[0], row, s.n, s.limit, s.ones);
        break;
    case OP_FILL:
        ELEMENTS(i, s.width) s.out[0][i] = s.scale;
        break;
    default:
        ELEMENTS(i, s.width) map_element(s, i);
        break;
    }
}

#ifndef CHAIN_BARRIER // the tests break it
#define CHAIN_BARRIER() BARRIER()
#endif

__global__ void chain_kernel(buf<const struct chain_step> steps, int64_t rows,
                             int64_t rows_per_block) {
    const int64_t first = blockIdx.x * rows_per_block;
    const int64_t end = first + rows_per_block < rows ? first + rows_per_block : rows;
    for (int64_t s = 0; s < steps.n; s++) {
        const struct chain_step step = steps[s];
        run_step(step, first, end);
        CHAIN_BARRIER();
    }
}

// A thread per column of a slot.
__global__ void chain_sums_kernel(buf<const struct chain_slot> slots, int tiles) {
    const struct chain_slot s = slots[blockIdx.x / tiles];
    const int64_t c = (int64_t)(blockIdx.x % tiles) * THREADS + threadIdx.x;
    if (c >= s.n) return;
    real sum = 0;
    for (int64_t row = 0; row < s.rows; row++) sum += s.shares[row * s.n + c];
    put(s.out, c, sum, s.add != 0);
}

void chain_enqueue(struct gpu *g, const struct chain *c) {
    LAUNCH(g, chain_kernel, (int)ceil_div64(c->rows, c->rows_per_block), THREADS, c->steps, c->rows,
           c->rows_per_block);
    if (c->slots.n)
        LAUNCH(g, chain_sums_kernel, (int)c->slots.n * c->slot_tiles, THREADS, c->slots,
               c->slot_tiles);
}
