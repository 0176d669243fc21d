// Choice of the kernel table for this CPU, and how each kernel's work is cut into shares.
#include "engine/graph/kernels.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/graph/graph.h"

extern const struct kernels kernels_generic;
#if defined(__x86_64__)
extern const struct kernels kernels_avx512;
#ifndef KERNELS_NO_AVX2 // sanitizer builds leave this table out: it is the same source, and minutes
                        // of compiling
extern const struct kernels kernels_avx2;
#endif
#endif

extern const struct kernels kernels_bf16_generic;
#if defined(__x86_64__)
extern const struct kernels kernels_bf16_avx512bf16;
#ifndef KERNELS_NO_AVX2
extern const struct kernels kernels_bf16_avx512, kernels_bf16_avx2;
#endif
#endif

// ---- choice

static bool always(void) { return true; }

#if defined(__x86_64__)
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

struct choice {
    const struct kernels *table;
    bool (*supported)(void);
};

static const struct choice tables[] = {
// best first
#if defined(__x86_64__)
    {&kernels_avx512, has_avx512},
#ifndef KERNELS_NO_AVX2
    {&kernels_avx2, has_avx2},
#endif
#endif
    {&kernels_generic, always},
};
enum { N_TABLES = sizeof tables / sizeof *tables };

static const struct choice bf16_tables[] = {
#if defined(__x86_64__)
    {&kernels_bf16_avx512bf16, has_avx512bf16},
#ifndef KERNELS_NO_AVX2
    {&kernels_bf16_avx512, has_avx512},
    {&kernels_bf16_avx2, has_avx2},
#endif
#endif
    {&kernels_bf16_generic, always},
};
enum { N_BF16_TABLES = sizeof bf16_tables / sizeof *bf16_tables };

static _Atomic(const struct kernels *) chosen, chosen_bf16;

static const struct kernels *find_in(const struct choice *list, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if ((!name || strcmp(list[i].table->name, name) == 0) && list[i].supported())
            return list[i].table;
    return NULL;
}

static const struct kernels *find(const char *name) { return find_in(tables, N_TABLES, name); }

const struct kernels *kernels_get(void) {
    const struct kernels *k = atomic_load_explicit(&chosen, memory_order_acquire);
    if (k) return k;
    const char *wish = getenv("WORKBENCH_KERNELS");
    if (wish && *wish) {
        k = find(wish);
        if (!k)
            fprintf(stderr, "workbench: WORKBENCH_KERNELS: this CPU has no kernels of that name; "
                            "use generic, avx2 or avx512\n");
    }
    if (!k) k = find(NULL);
    atomic_store_explicit(&chosen, k, memory_order_release);
    return k;
}

const char *cpu_kernels_name(void) { return kernels_get()->name; }

bool cpu_kernels_choose(const char *name) {
    const struct kernels *k = find(name);
    if (!k) return false;
    atomic_store_explicit(&chosen, k, memory_order_release);
    atomic_store_explicit(&chosen_bf16, NULL, memory_order_release);
    return true;
}

// ---- bf16: the instruction belongs to avx512, other tables emulate it on their own

bool kernels_bf16_choose(const char *name) {
    const struct kernels *k = find_in(bf16_tables, N_BF16_TABLES, name);
    if (k) atomic_store_explicit(&chosen_bf16, k, memory_order_release);
    return k != NULL;
}

const struct kernels *kernels_bf16_get(void) {
    const struct kernels *k = atomic_load_explicit(&chosen_bf16, memory_order_acquire);
    if (k) return k;
    const char *name = kernels_get()->name;
    if (strcmp(name, "avx512") == 0) k = find_in(bf16_tables, N_BF16_TABLES, "avx512bf16");
    if (!k) k = find_in(bf16_tables, N_BF16_TABLES, name);
    if (!k) k = &kernels_bf16_generic; // a sanitizer build has no other
    atomic_store_explicit(&chosen_bf16, k, memory_order_release);
    return k;
}

const char *cpu_kernels_bf16_name(void) {
    return sizeof(real) == sizeof(float) ? kernels_bf16_get()->name : NULL;
}

const char *cpu_kernels_kind(bool bf16) {
    static const char *const kinds[][2] = {
        {"generic", "generic bf16"}, {"avx2", "avx2 bf16"}, {"avx512", "avx512 bf16"}};
    const char *name = cpu_kernels_name();
    for (int i = 0; i < 3; i++)
        if (strcmp(kinds[i][0], name) == 0) return kinds[i][bf16];
    return name;
}

// ---- shares: functions of the shape alone, never of the machine

enum {
    GEMM_SHARE_FLOP =
        500 * 1000, // about 2 us on one core: a few times what handing out a share costs
    GEMM_SHARES_MAX = 256,
    GATHER_COST = 4, // an addition gathered, in multiply-adds of a product
    SCATTER_SHARES = 16,
    GEMM_BLOCK_SHARES = 16,
    GEMM_FEW_ROWS = 24,
    GEMM_BLOCK_ROWS_MIN = 64,
    CONV_TILE_CHANNELS = 24, // with fewer, turning images into points takes what products save
    CONV_SLICES = 16,        // of the batch; also the leaves of the weight gradient's sum
    ROWS_SLICES = 16,        // leaves of the sums over rows
    SHARE_ELEMENTS = 8192,   // below this a share is not worth its hand-out
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

struct range share_range(int64_t n, int n_shares, int share) {
    return (struct range){n * share / n_shares, n * (share + 1) / n_shares};
}

int64_t gemm_pack_reals(int64_t k, int64_t n) { return k * round_up(n, GEMM_UNIT); }

int gemm_pack_shares(const struct gemm_pack_job *job) {
    int64_t units = ceil_div(job->n, GEMM_UNIT);
    return (int)max64(1, min64(units, job->k * job->n / (2 * SHARE_ELEMENTS)));
}

int64_t gemm_panels(int64_t n) { return ceil_div(ceil_div(n, GEMM_UNIT), GEMM_PANEL_UNITS); }

struct range gemm_panel(int64_t n, int64_t panel) {
    return share_range(ceil_div(n, GEMM_UNIT), (int)gemm_panels(n), (int)panel);
}

// Long sums over many rows are worth blocks; the rows of one time step are not: each meets B once.
bool gemm_in_blocks(const struct gemm_job *job) {
    if (job->bf16) return true;
    return !job->index && (!job->b || (job->m > GEMM_FEW_ROWS && job->k > 2 * GEMM_BLOCK_K));
}

struct gemm_block_size gemm_block_size(const struct gemm_job *job) {
    if (job->bf16 && job->b && job->k <= GEMM_WIDE_K)
        return (struct gemm_block_size){GEMM_WIDE_M, GEMM_WIDE_PANELS};
    return (struct gemm_block_size){GEMM_BLOCK_M, GEMM_BLOCK_PANELS};
}

// In blocks: blocks as big as they may be that still give every core some. Else columns are cut
// first, so that a panel of B is read by one core only; rows if that is too coarse.
static void gemm_cut(const struct gemm_job *job, int *column_shares, int *row_shares) {
    int64_t k = job->index ? GATHER_COST * job->limit : job->k;
    int64_t flop = 2 * job->m * k * job->n, panels = gemm_panels(job->n);
    int64_t wanted = max64(1, min64(GEMM_SHARES_MAX, flop / GEMM_SHARE_FLOP));
    if (gemm_in_blocks(job)) {
        const struct gemm_block_size size = gemm_block_size(job);
        int64_t columns = ceil_div(panels, size.panels), rows = ceil_div(job->m, size.rows);
        columns = max64(columns, min64(panels, GEMM_BLOCK_SHARES / rows));
        rows =
            max64(rows, min64(ceil_div(job->m, GEMM_BLOCK_ROWS_MIN), GEMM_BLOCK_SHARES / columns));
        *column_shares = (int)min64(wanted, columns);
        *row_shares = (int)max64(1, min64(wanted / *column_shares, rows));
        return;
    }
    *column_shares = (int)min64(wanted, panels);
    *row_shares = (int)max64(1, min64(wanted / *column_shares, ceil_div(job->m, GEMM_FEW_ROWS)));
}

int gemm_shares(const struct gemm_job *job) {
    int columns, rows;
    gemm_cut(job, &columns, &rows);
    return columns * rows;
}

void gemm_share(const struct gemm_job *job, int share, struct range *rows, struct range *panels) {
    int n_columns, n_rows;
    gemm_cut(job, &n_columns, &n_rows);
    *panels = share_range(gemm_panels(job->n), n_columns, share / n_rows);
    struct range blocks = share_range(ceil_div(job->m, 8), n_rows, share % n_rows);
    rows->first = blocks.first * 8;
    rows->end = min64(job->m, blocks.end * 8);
}

int scatter_shares(const struct scatter_job *job) {
    return (int)min64(SCATTER_SHARES, ceil_div(job->n, SCATTER_COLUMNS));
}

bool conv_pairs(const struct conv_shape *s) { return s->n_small <= 8 && s->width / 2 % 2 == 0; }

bool conv_weight_pairs(const struct conv_shape *s) {
    return !s->bf16 && s->n_small == 8 && s->n_big == 1 && s->width / 2 % 2 == 0;
}

bool conv_in_bf16(const struct conv_shape *s) {
    return s->n_big > 1 && s->n_small % 2 == 0 && s->width / 2 % 2 == 0;
}

bool conv_reads_frames(const struct conv_shape *s) {
    return s->n_big == 1 && s->width % 4 == 0 && !s->bf16;
}

bool conv_tiles_fit(const struct conv_shape *s) {
    const struct patch_shape tiled = conv_tile_shape(s);
    return tile_sizes(&tiled).side > 0 && s->n_small % GEMM_UNIT == 0;
}

bool conv_in_tiles(const struct conv_shape *s) {
    return !s->bf16 && s->n_big >= CONV_TILE_CHANNELS && conv_tiles_fit(s);
}

struct patch_shape conv_tile_shape(const struct conv_shape *s) {
    return (struct patch_shape){.n = s->n,
                                .height = s->height,
                                .width = s->width,
                                .c_in = s->n_big,
                                .c_out = s->n_small,
                                .kernel = 4,
                                .stride = 2,
                                .border = 1};
}

int64_t conv_pack_reals(const struct conv_shape *s) {
    if (s->tiles) {
        const struct patch_shape tiled = conv_tile_shape(s);
        return patch_pack_reals(&tiled);
    }
    int64_t down = (conv_pairs(s) ? 24 : 16) * s->n_big * round_up(s->n_small, GEMM_UNIT);
    int64_t up = 2 * 4 * s->n_small * round_up(2 * s->n_big, GEMM_UNIT); // n_big <= 8 needs no more
    return max64(down, up);
}

int conv_pack_shares(const struct conv_job *job) {
    if (job->shape.tiles) {
        const struct patch_job tiled = {.shape = conv_tile_shape(&job->shape)};
        return patch_pack_shares(&tiled);
    }
    return (int)max64(1,
                      min64(8, job->shape.n_big * job->shape.n_small * 16 / (4 * SHARE_ELEMENTS)));
}

int conv_shares(const struct conv_job *job) {
    return (int)max64(1, min64(CONV_SLICES, job->shape.n));
}

struct conv_layout conv_layout(const struct conv_shape *s) {
    int64_t hs = s->height / 2, ws = s->width / 2, width = round_up(s->n_small, GEMM_UNIT);
    int64_t big = (2 * hs + 2) * (2 * ws + 2) * s->n_big, small = (hs + 2) * (ws + 2) * s->n_small;
    int64_t taps = 2 * (ws + 2) * GEMM_UNIT;
    int64_t line = (max64(hs, ws) + 1) *
                   max64(round_up(s->n_big <= 8 ? 4 * s->n_big : 2 * s->n_big, GEMM_UNIT), width);
    struct conv_layout l;
    l.line = round_up(max64(big, max64(small, taps)), GEMM_UNIT);
    l.share = l.line + round_up(max64(line, 4 * (ws + 1)), GEMM_UNIT);
    l.small = round_up(big, GEMM_UNIT);
    l.partial = l.small + (s->bf16               ? hs * ws / 2 * width
                           : width == s->n_small ? 0
                                                 : hs * ws * width);
    l.weight_share = l.partial + (conv_weight_pairs(s) ? 24 : 16) * s->n_big * width;
    return l;
}

int64_t conv_scratch_reals(const struct conv_shape *s) {
    if (s->tiles) {
        const struct patch_shape tiled = conv_tile_shape(s);
        return patch_shares(&tiled) * patch_forward_share_reals(&tiled);
    }
    return max64(1, min64(CONV_SLICES, s->n)) * conv_layout(s).share;
}

int64_t conv_weight_scratch_reals(const struct conv_shape *s) {
    if (s->tiles) {
        const struct patch_shape tiled = conv_tile_shape(s);
        return patch_shares(&tiled) * patch_dw_share_reals(&tiled);
    }
    return max64(1, min64(CONV_SLICES, s->n)) * conv_layout(s).weight_share;
}

int conv_weight_reduce_shares(const struct conv_job *job) {
    const struct conv_shape *s = &job->shape;
    if (s->tiles) {
        const struct patch_job tiled = {.shape = conv_tile_shape(s)};
        return patch_dw_reduce_shares(&tiled);
    }
    return (int)max64(1, min64(s->n_big, 16 * s->n_big * s->n_small / SHARE_ELEMENTS));
}

int64_t patch_rows(const struct patch_shape *s) {
    return (s->height + 2 * s->border - s->kernel) / s->stride + 1;
}
int64_t patch_columns(const struct patch_shape *s) {
    return (s->width + 2 * s->border - s->kernel) / s->stride + 1;
}

static int64_t patch_reals(const struct patch_shape *s) { return s->kernel * s->kernel * s->c_in; }

// More at once where their weights come from the third-level cache. No bit depends on it.
static int64_t tile_block(const struct patch_shape *s) {
    return s->stride * s->stride * s->c_in < TILE_DEEP ? TILE_BLOCK : 2 * TILE_BLOCK;
}

struct tile_sizes tile_sizes(const struct patch_shape *s) {
    const int64_t ratio = s->kernel / s->stride;
    const bool whole = s->kernel % s->stride == 0 && (ratio == 2 || ratio == 3);
    if (!whole || s->stride * s->c_in % GEMM_UNIT != 0) return (struct tile_sizes){0};
    return (struct tile_sizes){.side = ratio + 1,
                               .points = (ratio + 1) * (ratio + 1),
                               .deep = s->stride * s->stride * s->c_in,
                               .block = tile_block(s),
                               .n = ceil_div(patch_rows(s), 2) * ceil_div(patch_columns(s), 2)};
}

static int64_t tile_block_reals(const struct patch_shape *s) {
    const struct tile_sizes t = tile_sizes(s);
    const bool copy = s->frames || s->border > 0;
    const int64_t height = s->height + 2 * s->border, width = s->width + 2 * s->border;
    const int64_t image = copy ? round_up(height * width * s->c_in, TILE_GAP) : 0;
    return t.points * (t.block * (t.deep + s->c_out) + 2 * TILE_GAP) + image;
}

int64_t patch_pack_reals(const struct patch_shape *s) {
    const struct tile_sizes t = tile_sizes(s);
    if (t.side) return t.points * t.deep * s->c_out;
    return round_up(patch_reals(s), GEMM_UNIT) * s->c_out;
}

int64_t patch_forward_share_reals(const struct patch_shape *s) {
    return tile_sizes(s).side ? tile_block_reals(s) : 0;
}

int64_t patch_dx_share_reals(const struct patch_shape *s) {
    if (tile_sizes(s).side) return tile_block_reals(s);
    return patch_rows(s) * patch_columns(s) * round_up(patch_reals(s), GEMM_UNIT);
}

int64_t patch_dw_share_reals(const struct patch_shape *s) {
    if (tile_sizes(s).side) return patch_pack_reals(s) + s->c_out + tile_block_reals(s);
    return patch_reals(s) * s->c_out;
}

int patch_pack_shares(const struct patch_job *job) {
    return (int)max64(1, min64(8, patch_reals(&job->shape) * job->shape.c_out / SHARE_ELEMENTS));
}

int patch_shares(const struct patch_shape *s) { return (int)max64(1, min64(CONV_SLICES, s->n)); }

int patch_dw_reduce_shares(const struct patch_job *job) { return patch_pack_shares(job); }

// Slices of a sum over rows: as many as keep a slice worth handing out.
static int row_slices(int64_t rows, int64_t n) {
    return (int)max64(1, min64(ROWS_SLICES, min64(rows, rows * n / SHARE_ELEMENTS)));
}

int norm_shares(const struct norm_job *job) {
    return (int)max64(1, min64(64, min64(job->rows, job->rows * job->n / SHARE_ELEMENTS)));
}

int norm_backward_shares(const struct norm_job *job) { return row_slices(job->rows, job->n); }

int norm_backward_reduce_shares(const struct norm_job *job) {
    (void)job;
    return 1;
}

int64_t norm_partial_stride(int64_t n) { return round_up(6 * n, GEMM_UNIT); }

int64_t norm_partial_reals(const struct norm_job *job) {
    return row_slices(job->rows, job->n) * norm_partial_stride(job->n);
}

int column_sum_shares(const struct column_sum_job *job) { return row_slices(job->rows, job->n); }

int column_sum_reduce_shares(const struct column_sum_job *job) {
    (void)job;
    return 1;
}

int64_t column_sum_partial_reals(const struct column_sum_job *job) {
    return row_slices(job->rows, job->n) * round_up(job->n, GEMM_UNIT);
}
