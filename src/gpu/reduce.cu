// Kernels: sums over a whole tensor, sums of columns, quantiles. Each sum has one fixed tree.
#include <string.h>

#include "gpu/block_sum.h"
#include "gpu/launchers.h"
#include "gpu/ranks.h"

// ---- sums in double: a block per slice, then one block over the slices

__global__ void sum_slices_kernel(buf<const real> x, buf<double> slices) {
    double sum = 0;
    EACH(i, x.n) sum += (double)x[i];
    block_sum_to(sum, slices);
}

__global__ void sum_finish_kernel(buf<const double> slices, real scale, buf<real> out) {
    double sum = 0;
    for (int64_t i = lane_of(); i < slices.n; i += WARP) sum += slices[i];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) out[0] = (real)(sum * (double)scale);
}

void gpu_sum(struct gpu *g, buf<const real> x, real scale, buf<real> out) {
    const int slices = sum_slices(x.n);
    const buf<double> parts = buf_make((double *)g->workspace, slices);
    LAUNCH(g, sum_slices_kernel, slices, THREADS, x, parts);
    LAUNCH(g, sum_finish_kernel, 1, WARP, buf_make((const double *)g->workspace, slices), scale,
           out);
}

size_t gpu_mean_workspace(const struct node *n) {
    (void)n;
    return (size_t)sum_slices_max * sizeof(double);
}

void gpu_mean(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> x = src_real(a, 0);
    gpu_sum(g, x, 1 / (real)x.n, out_real(a, 0));
}

// ---- column sums
//
// A block takes a tile of columns and a slice of the rows: its threads lie `across` columns wide
// and THREADS / across rows high, so that neighbours read neighbours also where columns are few.

static const int64_t column_slices_max = 64, column_rows_min = 32;

static int across_of(int64_t n) {
    int across = 1;
    while (across < n && across < WARP) across *= 2;
    return across;
}

static int column_slices(int64_t rows) {
    const int64_t wanted = ceil_div64(rows, column_rows_min);
    return (int)(wanted < column_slices_max ? wanted : column_slices_max);
}

size_t column_sum_bytes(int64_t rows, int64_t n) {
    return (size_t)(column_slices(rows) * n) * sizeof(real);
}

// slices [n_slices][n]; block = slice * tiles + tile
__global__ void column_slices_kernel(buf<const real> x, int64_t rows, int64_t n, int across,
                                     int tiles, int n_slices, buf<real> slices) {
    SHARED(real, part, THREADS);
    const int t = (int)threadIdx.x, high = THREADS / across;
    const int64_t slice = blockIdx.x / tiles;
    const int64_t column = (int64_t)(blockIdx.x % tiles) * across + t % across;
    const int64_t first = rows * slice / n_slices, end = rows * (slice + 1) / n_slices;
    real sum = 0;
    for (int64_t row = first + t / across; column < n && row < end; row += high)
        sum += x[row * n + column];
    part[t] = sum;
    for (int half = high / 2; half >= 1; half /= 2) {
        BARRIER();
        if (t < half * across) part[t] += part[t + half * across];
    }
    BARRIER();
    if (t < across && column < n) slices[slice * n + column] = part[t];
}

__global__ void column_finish_kernel(buf<const real> slices, int n_slices, buf<real> out,
                                     bool add) {
    EACH(c, out.n) {
        real sum = 0;
        for (int s = 0; s < n_slices; s++) sum += slices[s * out.n + c];
        out[c] = add ? out[c] + sum : sum;
    }
}

void gpu_sum_columns(struct gpu *g, buf<const real> x, int64_t rows, int64_t n, buf<real> out,
                     bool add) {
    const int across = across_of(n), tiles = (int)ceil_div64(n, across),
              slices = column_slices(rows);
    const int64_t count = slices * n;
    LAUNCH(g, column_slices_kernel, tiles * slices, THREADS, x, rows, n, across, tiles, slices,
           workspace_real(g, 0, count));
    LAUNCH(g, column_finish_kernel, blocks_for(n), THREADS,
           buf_make((const real *)g->workspace, count), slices, out, add);
}

size_t gpu_column_sum_workspace(const struct node *n) {
    return column_sum_bytes(n->src[0]->n_elements / n->at.count, n->at.count);
}

void gpu_column_sum(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> x = src_real(a, 0);
    gpu_sum_columns(g, x, x.n / a->n->at.count, a->n->at.count, out_real(a, 0),
                    a->n->accumulate[0]);
}

// ---- quantiles: the k-th smallest value bit by bit, from the highest down
//
// A float's bits, the sign turned round, order like the float. Whether bit b of the k-th smallest
// is set follows from how many of the values that share its higher bits have it clear.

DEVICE_FUNCTION uint32_t order_of(real x) {
    uint32_t bits;
    const float value = (float)x;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

DEVICE_FUNCTION real value_of(uint32_t order) {
    const uint32_t bits = order & 0x80000000u ? order & 0x7FFFFFFFu : ~order;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (real)value;
}

enum { BY_SUM, BY_MIN };
// Of one number per thread the sum or the smallest, in every thread of the block.
DEVICE_FUNCTION uint32_t block_combine(uint32_t value, int by) {
    SHARED(uint32_t, part, WARPS);
    for (int lanes = WARP / 2; lanes >= 1; lanes /= 2) {
        const uint32_t other = warp_xor(value, lanes);
        value = by == BY_SUM ? value + other : other < value ? other : value;
    }
    BARRIER(); // the last call's result has been read
    if (lane_of() == 0) part[threadIdx.x / WARP] = value;
    BARRIER();
    value = part[0];
    for (int w = 1; w < WARPS; w++) {
        const uint32_t other = part[w];
        value = by == BY_SUM ? value + other : other < value ? other : value;
    }
    return value;
}

// The k-th smallest, and in *next the one behind it.
DEVICE_FUNCTION real kth_smallest(buf<const real> x, int64_t k, real *next) {
    uint32_t found = 0, left = (uint32_t)k;
    for (int bit = 31; bit >= 0; bit--) {
        uint32_t clear = 0;
        for (int64_t i = threadIdx.x; i < x.n; i += THREADS)
            clear += order_of(x[i]) >> bit == found >> bit;
        clear = block_combine(clear, BY_SUM);
        if (left >= clear) {
            left -= clear;
            found |= 1u << bit;
        }
    }
    uint32_t same = 0, larger = 0xFFFFFFFFu; // those equal to it are left, left + 1, ..
    for (int64_t i = threadIdx.x; i < x.n; i += THREADS) {
        const uint32_t order = order_of(x[i]);
        same += order == found;
        if (order > found && order < larger) larger = order;
    }
    same = block_combine(same, BY_SUM);
    larger = block_combine(larger, BY_MIN);
    *next = left + 1 < same ? value_of(found) : value_of(larger);
    return value_of(found);
}

// Position and weight are rounded like the CPU's: in the precision of the values.
DEVICE_FUNCTION real quantile_of(buf<const real> x, real q) {
    const real position = q * (real)(x.n - 1);
    const int64_t i = (int64_t)position;
    real next;
    const real at = kth_smallest(x, i, &next);
    return i + 1 >= x.n ? at : at + (position - (real)i) * (next - at);
}

__global__ void quantiles_kernel(buf<const real> x, real low, real high, buf<real> out) {
    uint32_t n_nan = 0;
    for (int64_t i = threadIdx.x; i < x.n; i += THREADS) {
        const real v = x[i];
        n_nan += v != v;
    }
    n_nan = block_combine(n_nan, BY_SUM);
    const real a = quantile_of(x, low), b = quantile_of(x, high);
    if (threadIdx.x > 0) return;
    const real nan = value_of(0xFFC00000u); // the bits 7FC00000
    out[0] = n_nan ? nan : a;
    out[1] = n_nan ? nan : b;
}

void gpu_quantiles(struct gpu *g, const struct gpu_args *a) {
    buf<const real> x = src_real(a, 0);
    if (g->ranks) {
        const int64_t all = x.n * gpu_ranks_n(g->ranks);
        x = gpu_ranks_gather(g, g->ranks, x, buf_make((real *)g->gathered, all));
    }
    LAUNCH(g, quantiles_kernel, 1, THREADS, x, a->n->at.scale, a->n->at.shift,
           out_real(a, 0));
}
