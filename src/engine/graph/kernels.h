// Numeric kernels of the network, one table per instruction set: products, convolutions, LayerNorm.
//
//     const struct kernels *k = kernels_get();
//     struct gemm_job job = {.m = 8, .k = 256, .n = 384, .a = x, .a_row = 256, .a_k = 1,
//                            .b = packed, .c = y, .c_row = 384};
//     for (int share = 0; share < gemm_shares(&job); share++) k->gemm(&job, share);  // or pool_run
//
// A job is a plain struct of shapes and pointers. A kernel does one share of a job on the calling
// thread: the shares of one call touch disjoint outputs, may run in any order and on any thread,
// and must all be done before the next phase of the same job starts (phases are named below where a
// job has several). The split into shares depends on the shape only, and each sum has one fixed
// order, so results are the same bits for any number of threads.
//
// Nothing is allocated: packed weights, scratch and partial sums are the caller's; the *_reals
// functions give their sizes in reals. Scratch is per share and need not be cleared. Every pointer
// is to reals aligned as reals; 64-byte alignment of packed weights and scratch is faster. Inputs
// and outputs must not overlap.
//
// bf16: kernels_bf16_get gives a table of the same products and convolutions on operands rounded to
// bf16, with float32 sums. A job says with `bf16` for which of the two tables it is, because sizes
// and shares differ; gemm_in_bf16 and conv_in_bf16 tell whether a shape is worth it.
//
// `accumulate`: false writes the output, true adds to it.
// Threads: the tables are constant; kernels_get may be called from any thread, cpu_kernels_choose
// from one only.
#ifndef GRAPH_KERNELS_H
#define GRAPH_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"

// ---- matrix product: C[m,n] (=|+=) A[m,k] . B[k,n] (+ bias[n]) (+ addend[m,n])
//
// B is packed into panels of up to 48 columns (gemm_panel), the same layout for all tables.
//     linear forward  y = x w^T:   B = w^T: src = w + column, k_stride 1, n_stride ldw
//                                  A = x:   a_row = ldx, a_k = 1
//     data gradient   dx = dy w:   B = w:   src = w + column, k_stride ldw, n_stride 1
//                                  A = dy:  a_row = lddy, a_k = 1
//     weight gradient dw = dy^T x: B = x:   b_rows = x, b_row = ldx, not packed
//                                  A = dy^T: a_row = 1, a_k = lddy
struct gemm_pack_job {
    int64_t k, n;
    const real *src;            // B(k, n) = src[k * k_stride + n * n_stride]
    int64_t k_stride, n_stride; // fast where one of them is 1
    real *packed;               // [gemm_pack_reals(k, n)]; in bf16 (k + 1) / 2 in place of k
};
int64_t gemm_pack_reals(int64_t k, int64_t n);
int gemm_pack_shares(const struct gemm_pack_job *job);

struct gemm_job {
    int64_t m, k, n;
    const real *a; // A(i, k) = a[i * a_row + k * a_k]
    int64_t a_row, a_k;
    const real *b;      // packed; or NULL and
    const real *b_rows; // B(k, j) = b_rows[k * b_row + j], packed on the way
    int64_t b_row;
    real *c; // C(i, j) = c[i * c_row + j]
    int64_t c_row;
    const real *bias;   // [n] or NULL
    const real *addend; // (i, j) = addend[i * addend_row + j] or NULL
    int64_t addend_row;
    bool accumulate;
    // A's rows are mostly one-hot groups (gemm_gather): where their ones are, [m][limit + 1], see
    // rows.h: ones
    const int32_t *index;
    int64_t limit;
    bool bf16;
};
int gemm_shares(const struct gemm_job *job);

// ---- weight gradient of a layer that read one-hot rows: out[n,k] (=|+=) dy[rows,n]^T . x[rows,k]
struct scatter_job {
    int64_t rows, k, n;
    const real *x, *dy;
    const int32_t *index; // [rows][limit + 1]
    int64_t limit;
    real *out; // out(n, k) = out[n * out_row + k]
    int64_t out_row;
    bool accumulate;
    real *scratch; // [scatter_shares(job) * k * SCATTER_COLUMNS]
};
enum { SCATTER_COLUMNS = 32 };
int scatter_shares(const struct scatter_job *job);

// ---- convolution, kernel 4, stride 2, padding 1, images NHWC (spec/dreamer_v3.md 2.1)
//
// Convolution and transposed convolution are adjoint, so three kernels serve both. The *big* image
// is [n, height, width, n_big], the *small* one [n, height/2, width/2, n_small] (floor), and the
// weights are [n_small][n_big][4][4] for both, as checkpoints have them.
//     conv_down    small = conv(big)     a convolution's forward; a deconvolution's data gradient
//     conv_up      big = conv^T(small)   a convolution's data gradient; a deconvolution's forward
//                                        (+ bias[n_big])
//     conv_weight  dw = small (x) big    the weight gradient of both
// Phases of conv_down and conv_up: conv_pack_* (may be shared by several calls with the same
// weights), then conv_*. Phases of conv_weight: conv_weight, then conv_weight_reduce.
struct conv_shape {
    int64_t n, height, width; // of the big image
    int64_t n_big, n_small;   // channels
    bool bf16, tiles;         // at most one of them
};
struct conv_job {
    struct conv_shape shape;
    const real *weights; // for conv_pack_*
    real *packed;        // [conv_pack_reals(shape)]; down and up pack differently
    const real *big;     // read by down, weight
    const real *small;   // read by up, weight
    real *out;           // down: the small image; up: the big image; weight: dw
    const real *bias;    // up: [n_big] or NULL
    bool accumulate;
    real *scratch; // down, up: [conv_scratch_reals(shape)]; weight:
                   // [conv_weight_scratch_reals(shape)]
    const uint8_t *frames; // in place of big, where conv_reads_frames: [n] packed2 frames
};
bool conv_reads_frames(const struct conv_shape *shape); // one big channel

int64_t conv_pack_reals(const struct conv_shape *shape);
int64_t conv_scratch_reals(const struct conv_shape *shape);        // for all shares together
int64_t conv_weight_scratch_reals(const struct conv_shape *shape); // for all shares together
int conv_pack_shares(const struct conv_job *job);                  // conv_pack_down, conv_pack_up
int conv_shares(const struct conv_job *job); // conv_down, conv_up, conv_weight: slices of the batch
int conv_weight_reduce_shares(const struct conv_job *job);

// ---- convolution without a border, any square kernel and stride, images NHWC (spec/ppo.md 2)
//
// big [n, height, width, c_in], small [n, patch_rows, patch_columns, c_out], weights
// [c_out][c_in][kernel][kernel]. c_out is a multiple of 16; kernel * c_in one of 4, and 8 at least.
//     patch_forward  small = conv(big) + bias     after patch_pack
//     patch_dx       big = conv^T(small)          after patch_pack_dx
//     patch_dw       dw = small (x) big           then patch_dw_reduce
struct patch_shape {
    int64_t n, height, width; // of the big image
    int64_t c_in, c_out, kernel, stride;
    bool frames;    // big may be packed frames
    int64_t border; // of zeros around big; only where there are tiles
};
struct patch_job {
    struct patch_shape shape;
    const real *weights;     // for the packs
    real *packed;            // [patch_pack_reals(shape)]; the two packs differ
    const real *big, *small; // read
    const real *bias;        // forward [c_out]; with a border [c_out] or NULL, dx: [c_in] or NULL
    real *out;
    bool accumulate; // dx, dw; with a border forward
    real *scratch;   // patch_shares * patch_forward_share_reals, patch_dx_.., patch_dw_..
    // Where there are tiles (tile_sizes):
    const uint8_t *frames; // in place of big: [n][c_in] packed2 frames
    bool relu;             // patch_forward: behind the convolution
    const real *y;         // dx, dw: what came out behind a ReLU; small is the gradient of that
    real *bias_out;        // dw: sums of the small images, [c_out]; or NULL
    bool bias_accumulate;
};
int64_t patch_rows(const struct patch_shape *shape);
int64_t patch_columns(const struct patch_shape *shape);
int64_t patch_pack_reals(const struct patch_shape *shape);
int64_t patch_forward_share_reals(const struct patch_shape *shape); // 0: none
int64_t patch_dx_share_reals(const struct patch_shape *shape);
int64_t patch_dw_share_reals(const struct patch_shape *shape);
int patch_pack_shares(const struct patch_job *job);
int patch_shares(const struct patch_shape *shape); // slices of the batch
int patch_dw_reduce_shares(const struct patch_job *job);

// ---- LayerNorm over the last axis (biased variance, eps inside the root), then SiLU if asked for
//
// y = act(gamma * (x - mean) / sqrt(var + eps) + beta). RMS norm is the same without mean and beta:
// y = act(gamma * x / sqrt(mean of x^2 + eps)) (spec 3.6). Backward recomputes from x: nothing is
// saved. Phases of the backward pass: norm_backward, then norm_backward_reduce (dgamma, dbeta).
struct norm_job {
    int64_t rows, n; // x, y, dy, dx are [rows, n]
    real eps;
    bool silu, rms;
    const real *x, *gamma, *beta; // gamma, beta [n]; beta NULL where rms is true
    real *y;                      // forward
    const real *dy;               // backward
    real *dx;                     // backward; NULL: not wanted
    bool accumulate;              // dx
    real *dgamma, *dbeta;         // [n]; always added to
    real *partials;               // backward: [norm_partial_reals(job)]
};
int norm_shares(const struct norm_job *job); // forward
int norm_backward_shares(const struct norm_job *job);
int norm_backward_reduce_shares(const struct norm_job *job);
int64_t norm_partial_reals(const struct norm_job *job);

// ---- column sums: out[n] (=|+=) sum over rows of x[rows, n] (gradient of a bias)
// Phases: column_sum, then column_sum_reduce.
struct column_sum_job {
    int64_t rows, n, row_stride;
    const real *x;
    real *out;
    bool accumulate;
    real *partials; // [column_sum_partial_reals(job)]
};
int column_sum_shares(const struct column_sum_job *job);
int column_sum_reduce_shares(const struct column_sum_job *job);
int64_t column_sum_partial_reals(const struct column_sum_job *job);

// ---- optimiser (engine/nn/optim.h drives these)
struct adam_job {
    real *weights, *moment1, *moment2;
    const real *grads;
    double learning_rate, beta1, beta2, eps;
    double clip;                     // every gradient is multiplied by this first
    double correction1, correction2; // 1 - beta1^k, 1 - beta2^k
};

struct kernels_rows; // elementwise, softmax and loss kernels: engine/graph/kernels_rows.h

struct kernels {
    const char *name; // "generic", "avx2" or "avx512"
    void (*gemm_pack)(const struct gemm_pack_job *job, int share);
    void (*gemm)(const struct gemm_job *job, int share);
    void (*gemm_gather)(const struct gemm_job *job, int share);
    void (*scatter)(const struct scatter_job *job, int share);
    void (*conv_pack_down)(const struct conv_job *job, int share);
    void (*conv_pack_up)(const struct conv_job *job, int share);
    void (*conv_down)(const struct conv_job *job, int share);
    void (*conv_up)(const struct conv_job *job, int share);
    void (*conv_weight)(const struct conv_job *job, int share);
    void (*conv_weight_reduce)(const struct conv_job *job, int share);
    void (*patch_pack)(const struct patch_job *job, int share);
    void (*patch_pack_dx)(const struct patch_job *job, int share);
    void (*patch_forward)(const struct patch_job *job, int share);
    void (*patch_dx)(const struct patch_job *job, int share);
    void (*patch_dw)(const struct patch_job *job, int share);
    void (*patch_dw_reduce)(const struct patch_job *job, int share);
    void (*relu)(int64_t n, const real *x, real *y);
    void (*relu_dx)(int64_t n, const real *y, const real *dy, real *dx, bool add);
    void (*norm_forward)(const struct norm_job *job, int share);
    void (*norm_backward)(const struct norm_job *job, int share);
    void (*norm_backward_reduce)(const struct norm_job *job, int share);
    void (*column_sum)(const struct column_sum_job *job, int share);
    void (*column_sum_reduce)(const struct column_sum_job *job, int share);
    double (*sum_squares)(const real *x, int64_t n);                      // in double
    void (*adam)(const struct adam_job *job, int64_t first, int64_t end); // elements [first, end)
    void (*laprop)(const struct adam_job *job, int64_t first, int64_t end);
    const struct kernels_rows *rows;
};

// The table for this CPU: the best it supports, or the one cpu_kernels_choose or the environment
// variable WORKBENCH_KERNELS named (an unknown or unsupported name there is reported on stderr once
// and ignored).
const struct kernels *kernels_get(void);
// Products and convolutions (gemm_pack to conv_weight_reduce but the gather and the scatter; all
// else is NULL) on operands rounded to bf16: by the CPU's own instruction where it has one
// ("avx512bf16") and the table above is "avx512", else by multiply-adds of the instruction set of
// that table. Both give the same bits (kernels_elem.h). Not in a double build, where every entry is
// NULL and cpu_kernels_bf16 false.
const struct kernels *kernels_bf16_get(void);
// Whether a layer of this shape is computed in bf16 where that is asked for: not where it would be
// slower.
bool conv_in_bf16(const struct conv_shape *shape);
// Whether a convolution of kernel 4 is computed in tiles (kernels_tiles.h; shape.tiles): a rule on
// its channels, so that packed weights fit every batch. Never in bf16.
bool conv_in_tiles(const struct conv_shape *shape);

// cpu_kernels_name, cpu_kernels_choose and cpu_kernels_bf16 are declared in engine/graph/graph.h.
// Tests: false if this CPU lacks it. The next cpu_kernels_choose chooses anew.
bool kernels_bf16_choose(const char *name);

// ---- for the kernels themselves: how work is cut. Pure functions of the shape.
enum { GEMM_UNIT = 16, GEMM_PANEL_UNITS = 3 }; // panels of 1..3 units of 16 columns
enum { GEMM_BLOCK_M = 192, GEMM_BLOCK_K = 128, GEMM_BLOCK_PANELS = 4 }; // kernels_gemm.h
enum { GEMM_WIDE_M = 96, GEMM_WIDE_PANELS = 12, GEMM_WIDE_K = 1024 };
struct range {
    int64_t first, end;
};
struct range share_range(int64_t n, int n_shares, int share); // balanced, in order
int64_t gemm_panels(int64_t n);
struct range gemm_panel(int64_t n, int64_t panel); // its units
bool gemm_in_blocks(const struct gemm_job *job);
// A block of C: 192 rows x 4 panels; of a short sum in bf16 with B packed 96 x 12, so that a row of
// A is rounded once for 12 panels.
struct gemm_block_size {
    int64_t rows, panels;
};
struct gemm_block_size gemm_block_size(const struct gemm_job *job);
// Rows and panels of a share of a product.
void gemm_share(const struct gemm_job *job, int share, struct range *rows, struct range *panels);
// Reals from one slice's sums to the next: dgamma [n], dbeta [n], scratch [4][n].
int64_t norm_partial_stride(int64_t n);
// Whether conv_down, conv_weight take two pixels of a row at once.
bool conv_pairs(const struct conv_shape *shape);
bool conv_weight_pairs(const struct conv_shape *shape);
// Convolutions in tiles (kernels_tiles.h): side of a tile in deep pixels, its points, deep
// channels, tiles of an image. side 0: not of a shape for which there are tiles.
struct tile_sizes {
    int64_t side, points, deep, n, block; // block: tiles at once
};
struct tile_sizes tile_sizes(const struct patch_shape *shape);
enum { TILE_BLOCK = 24, TILE_DEEP = 256, TILE_GAP = 16 }; // TILE_GAP: reals between two points
// A convolution of kernel 4 as one in tiles with a border, and whether its channels fill vectors.
struct patch_shape conv_tile_shape(const struct conv_shape *shape);
bool conv_tiles_fit(const struct conv_shape *shape);
// Offsets, in reals, inside one share's scratch (kernels_conv.h).
struct conv_layout {
    int64_t line, share; // down, up: image with its border at 0, one output line, size
    int64_t small, partial, weight_share; // weight: big image at 0, small image, partial dw, size
};
struct conv_layout conv_layout(const struct conv_shape *shape);

#endif
