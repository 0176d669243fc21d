// Dashboard: the loop between terminal, view and feed.
#include "ui/dashboard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ui/actions.h"
#include "ui/script.h"
#include "ui/term.h"
#include "ui/view.h"

static const double TURN_S = 0.08, IDLE_S = 0.5, SLOWEST_S = 1.0;

struct dashboard {
    const struct dashboard_opts *opts;
    struct terminal *term;
    struct view view;
    struct canvas canvas;
    struct script script;
    int script_at;
    double script_until_s;        // of a running `wait`, 0: none
    double drawn_s, cost_s;       // when the screen was last shown, and how long that took
    int interrupts, terminations; // signals answered so far
    bool terminated, finished_told;
};

static double now_s(void) { return (double)clock_now_ns() * 1e-9; }
static bool run_ended(const struct dashboard *d) { return d->view.status.phase >= PHASE_DONE; }

// ---- screen

bool dashboard_save_screen(const struct canvas *c, const char *path, struct error *e) {
    size_t n = strlen(path);
    bool colour = n > 5 && !strcmp(path + n - 5, ".ansi");
    char *text = colour ? canvas_dump_colour(c) : canvas_dump(c);
    FILE *f = fopen(path, "w");
    bool ok = f && fputs(text, f) >= 0;
    if (f && fclose(f) != 0) ok = false;
    free(text);
    return ok ||
           error_set(e, STATUS_FAILED, "cannot write the screen to %s: %s", path, strerror(errno));
}

static void draw(struct dashboard *d) {
    int width, height;
    term_size(d->term, &width, &height);
    if (width != d->canvas.width || height != d->canvas.height)
        canvas_resize(&d->canvas, width, height);
    if (d->view.repaint) term_repaint(d->term);
    d->view.repaint = false;
    view_draw(&d->view, &d->canvas);
    double start = now_s();
    term_show(d->term, &d->canvas);
    d->drawn_s = now_s();
    d->cost_s = d->drawn_s - start;
    d->view.dirty = false;
}

static void save_screen(struct dashboard *d) {
    struct error e = {0};
    draw(d);
    if (dashboard_save_screen(&d->canvas, d->view.save_path, &e))
        view_notice(&d->view, false, "screen saved to %s", d->view.save_path);
    else {
        view_notice(&d->view, true, "%s", e.message);
        log_write(LOG_ERROR, "%s", e.message);
    }
    d->view.save_path[0] = 0;
}

// ---- script: as many lines as can be done now

static bool script_step(struct dashboard *d) {
    const struct script_line *line = &d->script.lines[d->script_at];
    struct view *v = &d->view;
    switch (line->verb) {
    case SCRIPT_KEY:
        actions_key(v, (int)line->a);
        break;
    case SCRIPT_TYPE: {
        const char *text = line->text;
        for (uint32_t g; (g = utf8_next(&text)) != 0;) actions_key(v, (int)g);
        break;
    }
    case SCRIPT_COMMAND:
        actions_command(v, line->text);
        break;
    case SCRIPT_WAIT:
        if (d->script_until_s == 0) d->script_until_s = v->now_s + (double)line->a * 1e-3;
        if (v->now_s < d->script_until_s) return false;
        d->script_until_s = 0;
        break;
    case SCRIPT_WAIT_STEP:
        if (v->live_steps < line->a && !run_ended(d)) return false;
        break;
    case SCRIPT_WAIT_PICTURES:
        if (!v->pictures && !run_ended(d)) return false;
        break;
    case SCRIPT_WAIT_END:
        if (!run_ended(d)) return false;
        break;
    case SCRIPT_SAVE:
        snprintf(v->save_path, sizeof v->save_path, "%s", line->text);
        break;
    case SCRIPT_SIZE:
        term_force_size(d->term, (int)line->a, (int)line->b);
        v->dirty = true;
        break;
    }
    return true;
}

static void run_script(struct dashboard *d) {
    while (d->script_at < d->script.n && !d->view.quit_asked && script_step(d)) {
        d->script_at++;
        if (d->view.save_path[0]) save_screen(d);
    }
}

// ---- leaving

static void ask_to_stop(struct dashboard *d) {
    d->view.stopping = true;
    d->view.dirty = true;
    control_stop(feed_control(d->opts->feed));
}

// Whether the loop is over; *end says how.
static bool leave(struct dashboard *d, enum dashboard_end *end) {
    struct view *v = &d->view;
    struct term_signals s = term_signals(d->term);
    if (s.hangups > 0) {
        if (!d->opts->keep_running) control_stop(feed_control(d->opts->feed));
        *end = DASHBOARD_HANGUP;
        return true;
    }
    bool demand = v->quit_asked || s.interrupts > d->interrupts || s.terminations > d->terminations;
    if (s.terminations > d->terminations) d->terminated = true;
    v->quit_asked = false;
    d->interrupts = s.interrupts;
    d->terminations = s.terminations;
    if (demand && v->stopping) {
        *end = DASHBOARD_FORCED;
        return true;
    }
    if (demand && run_ended(d)) {
        *end = d->terminated ? DASHBOARD_SIGNAL : DASHBOARD_FINISHED;
        return true;
    }
    if (demand) ask_to_stop(d);
    if (v->stopping && run_ended(d)) {
        *end = d->terminated ? DASHBOARD_SIGNAL : DASHBOARD_QUIT;
        return true;
    }
    return false;
}

// ---- loop

static void handle_keys(struct dashboard *d) {
    for (int code; (code = term_key(d->term)) != KEYCODE_NONE;) {
        if (code == KEYCODE_RESIZE) {
            d->view.dirty = true;
            term_repaint(d->term);
        } else {
            actions_key(&d->view, code);
        }
    }
}

static void handle_requests(struct dashboard *d) {
    struct view *v = &d->view;
    if (v->save_path[0]) save_screen(d);
    if (v->toggle_window) {
        v->toggle_window = false;
        const char *why = d->opts->toggle_window ? d->opts->toggle_window(d->opts->tick_ctx)
                                                 : "there is no picture window in this build";
        if (why) view_notice(v, true, "%s", why);
    }
    if (run_ended(d) && !d->finished_told) {
        d->finished_told = true;
        bool failed = v->status.phase == PHASE_FAILED;
        log_write(failed ? LOG_ERROR : LOG_INFO,
                  failed ? "the run failed: q leaves" : "the run is done: q leaves");
    }
}

static enum dashboard_end loop(struct dashboard *d) {
    enum dashboard_end end;
    for (;;) {
        double start = now_s();
        handle_keys(d);
        view_refresh(&d->view, start);
        run_script(d);
        handle_requests(d);
        if (leave(d, &end)) return end;
        // A slow terminal (ssh) is given four times the time it needed for the last screen.
        double gap = 4 * d->cost_s < TURN_S      ? 0
                     : 4 * d->cost_s > SLOWEST_S ? SLOWEST_S
                                                 : 4 * d->cost_s;
        if ((d->view.dirty && start - d->drawn_s >= gap) || start - d->drawn_s >= IDLE_S) draw(d);
        if (d->opts->tick) d->opts->tick(d->opts->tick_ctx, d->view.pictures, &d->view.status);
        double left = TURN_S - (now_s() - start);
        if (!term_wait(d->term, left > 0 ? (int)(left * 1000 + 0.5) : 0)) {
            log_write(LOG_WARN, "the terminal is gone");
            if (!d->opts->keep_running) control_stop(feed_control(d->opts->feed));
            return DASHBOARD_HANGUP;
        }
    }
}

enum dashboard_end dashboard_run(const struct dashboard_opts *opts, struct error *e) {
    struct dashboard *d = mem_alloc(sizeof *d);
    enum dashboard_end end = DASHBOARD_ERROR;
    d->opts = opts;
    if (opts->script && !script_load(opts->script, &d->script, e)) goto out;
    d->term = term_open(&(struct term_opts){.no_color = opts->no_color, .ascii = opts->ascii}, e);
    if (!d->term) goto out;
    view_init(&d->view, opts->feed);
    canvas_init(&d->canvas, 80, 24);
    d->canvas.ascii = term_ascii(d->term);
    d->canvas.colours = term_colours(d->term);
    end = loop(d);
    term_close(d->term);
    canvas_deinit(&d->canvas);
    view_deinit(&d->view);
out:
    script_free(&d->script);
    free(d);
    return end;
}
