// Ranks watch: what ranks_watch (ranks.h) started is ended here.
#ifndef GRAPH_RANKS_WATCH_H
#define GRAPH_RANKS_WATCH_H

struct ranks_watch;
void ranks_unwatch(struct ranks_watch *w); // NULL is fine

#endif
