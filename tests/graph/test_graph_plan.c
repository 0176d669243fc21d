// The memory plan: nothing that lives at the same time overlaps, kept tensors last, memory is
// reused.
#include "support/grad_check.h"

static struct pool *pool;

// A random chain of ops with several readers; what is kept must still hold its value at the end of
// a run.
enum { TENSORS = 60, SIZES = 3 };
static void random_graph(struct graph *g, struct params *p, uint64_t seed, struct tensor **all,
                         int *n) {
    static const int64_t size[SIZES] = {3, 17, 64};
    *n = 0;
    for (int i = 0; i < SIZES; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        all[(*n)++] = g_tanh(g, g_param(g, p, name));
        CHECK(all[i]->shape[0] == size[i], "sizes");
    }
    struct tensor *gamma[SIZES], *beta[SIZES];
    for (int i = 0; i < SIZES; i++) {
        gamma[i] = g_affine(g, all[i], 1, 1);
        beta[i] = g_affine(g, all[i], 1, 0);
    }
    for (int i = 0; *n < TENSORS; i++) {
        struct tensor *a = all[(int)(grad_random(seed, 3 * i) * *n)],
                      *b = all[(int)(grad_random(seed, 3 * i + 1) * *n)];
        double kind = grad_random(seed, 3 * i + 2);
        const int which = a->shape[0] == size[0] ? 0 : a->shape[0] == size[1] ? 1 : 2;
        if (kind < 0.2)
            all[(*n)++] = g_layer_norm(g, a, gamma[which], beta[which], (real)1e-3, ACT_SILU);
        else if (a->shape[0] == b->shape[0] && kind < 0.5)
            all[(*n)++] = g_mul(g, a, b);
        else if (kind < 0.7)
            all[(*n)++] = g_tanh(g, a);
        else if (kind < 0.8 && *n < TENSORS - 2) {
            struct tensor *parts[2] = {g_affine(g, a, 2, 0), g_sigmoid(g, a)};
            struct tensor *stack = g_stack(g, parts, 2);
            all[(*n)++] = g_slice(g, stack, a->shape[0] / 2, a->shape[0]);
        } else
            all[(*n)++] = g_add(g, a, a);
    }
}

// The one takes the other's place: the node that reads the one last writes the other.
static bool in_place(const struct graph *g, const struct root *a, const struct root *b) {
    if (a->last_use != b->first_use || a->bytes != b->bytes) return false;
    const struct node *n = g->nodes[b->first_use];
    const int source = op_table[n->kind].in_place - 1;
    return source >= 0 && tensor_root(n->src[source], NULL) == a->tensor && n->out[0] &&
           tensor_root(n->out[0], NULL) == b->tensor;
}

static int n_in_place; // pairs found

static void overlap(const struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++)
        for (int j = 0; j < i; j++) {
            const struct tensor *t[2] = {g->tensors[i], g->tensors[j]};
            const struct root *r[2];
            bool both = true;
            for (int k = 0; k < 2; k++) {
                r[k] = t[k]->root;
                both &= !t[k]->base && t[k]->storage == STORE_SLAB && r[k]->first_use >= 0;
            }
            if (!both || r[0]->first_use > r[1]->last_use || r[1]->first_use > r[0]->last_use)
                continue;
            bool apart = r[0]->slab_offset + r[0]->bytes <= r[1]->slab_offset ||
                         r[1]->slab_offset + r[1]->bytes <= r[0]->slab_offset;
            const bool follows = in_place(g, r[0], r[1]) || in_place(g, r[1], r[0]);
            n_in_place += !apart && follows;
            if (!apart && !follows)
                fail_msg("%s and %s live at the same time in the same memory", t[0]->name,
                         t[1]->name);
        }
}

// Independent of the planner's own lifetimes: who reads what when, from the nodes.
static void uses_lie_inside_lifetimes(const struct graph *g) {
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        if (!op_table[n->kind].run) continue;
        for (int s = 0; s < n->n_src + n->n_out; s++) {
            const struct tensor *t = s < n->n_src ? n->src[s] : n->out[s - n->n_src];
            if (!t) continue;
            const struct tensor *root = tensor_root(t, NULL);
            if (root->storage != STORE_SLAB) continue;
            assert_true(root->root->first_use <= i && i <= root->root->last_use);
            assert_true(((uintptr_t)root->data & 63) == 0);
            assert_true((char *)t->data >= g->slab &&
                        (char *)t->data + (size_t)t->n_elements * sizeof(real) <=
                            g->slab + g->slab_bytes);
        }
    }
}

static void no_two_live_tensors_overlap_in_random_graphs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        real *grads[2], *kept[2];
        int64_t n_flat = 0, n_kept = 0;
        for (int guarded = 0; guarded < 2; guarded++) {
            struct params p;
            params_init(&p);
            params_add(&p, "w0", 1, (int64_t[]){3});
            params_add(&p, "w1", 1, (int64_t[]){17});
            params_add(&p, "w2", 1, (int64_t[]){64});
            params_allocate(&p);
            for (int64_t i = 0; i < p.n_flat; i++) p.weights[i] = (real)grad_random(77, i);
            struct graph *g = graph_new();
            struct tensor *all[TENSORS], *loss = NULL;
            int n;
            random_graph(g, &p, 1000 + seed, all, &n);
            for (int i = n - 6; i < n; i++) {
                struct tensor *m = g_mean(g, all[i]);
                loss = loss ? g_add(g, loss, m) : m;
            }
            n_kept = 0;
            for (int i = 0; i < n; i += 7) graph_keep(g, all[i]), n_kept += all[i]->n_elements;
            graph_gradients(g, loss);
            if (guarded)
                graph_plan_guarded(g, 64);
            else
                graph_plan(g);
            if (!guarded) overlap(g);
            uses_lie_inside_lifetimes(g);
            struct executor *ex = cpu_executor_new(g, pool);
            for (int run = 0; run < 2; run++) {
                memset(g->slab, 0xFF, g->slab_bytes);
                executor_run(ex);
            }
            n_flat = p.n_flat;
            grads[guarded] = mem_alloc((size_t)n_flat * sizeof(real));
            kept[guarded] = mem_alloc((size_t)n_kept * sizeof(real));
            memcpy(grads[guarded], p.grads, (size_t)n_flat * sizeof(real));
            for (int64_t i = 0, at = 0; i < n; at += all[i]->n_elements, i += 7)
                memcpy(kept[guarded] + at, all[i]->data, (size_t)all[i]->n_elements * sizeof(real));
            executor_free(ex);
            graph_free(g);
            params_deinit(&p);
        }
        assert_memory_equal(grads[0], grads[1], (size_t)n_flat * sizeof(real));
        assert_memory_equal(kept[0], kept[1], (size_t)n_kept * sizeof(real));
        for (int k = 0; k < 2; k++) free(grads[k]), free(kept[k]);
    }
    assert_true(n_in_place >= 40);
}

static void a_long_chain_needs_memory_for_two(void **state) {
    (void)state;
    enum { N = 4096, STEPS = 50 };
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){N});
    for (int i = 0; i < STEPS; i++) x = g_affine(g, x, 1, 1);
    graph_keep(g, x);
    graph_plan(g);
    assert_true(graph_slab_bytes(g) <= 3 * N * sizeof(real));
    struct executor *ex = cpu_executor_new(g, pool);
    executor_run(ex);
    assert_true((double)((real *)x->data)[N - 1] == STEPS);
    executor_free(ex);
    graph_free(g);
}

static void sources_lie_inside_their_stack(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){2, 3}), *part[3];
    for (int i = 0; i < 3; i++) part[i] = g_affine(g, x, 1, (real)i);
    struct tensor *all = g_stack(g, part, 3), *slice = g_slice(g, all, 2, 2);
    graph_keep(g, all);
    graph_plan(g);
    for (int i = 0; i < 3; i++) assert_ptr_equal(part[i]->data, (real *)all->data + 6 * i);
    assert_ptr_equal(slice->data, part[1]->data);
    assert_int_equal(graph_slab_bytes(g), (18 * sizeof(real) + 63) / 64 * 64);
    graph_free(g);
}

int main(void) {
    pool = pool_new(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_live_tensors_overlap_in_random_graphs),
        cmocka_unit_test(a_long_chain_needs_memory_for_two),
        cmocka_unit_test(sources_lie_inside_their_stack),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
