#include "front/weights_ahead.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"
#include "model/gguf_parts.h"

#define JOBS_MAX 16
#define PIECE_BYTES ((size_t)1 << 20)     /* large for a disk, and often enough asked whether to stop */
#define SPARE_BYTES (UINT64_C(512) << 20) /* for everybody else on this machine */

struct job {
    char *path;
    uint64_t in_use_bytes, serial;
};

struct weights_ahead {
    struct mailbox *jobs;
    pthread_t thread;
    bool started;
    _Atomic uint64_t wanted; /* serial of the job that is not given up */
    char *piece;             /* what was read last */
    struct job stop;         /* this address in the mailbox ends the thread */
};

static void job_free(struct job *j) {
    mem_free(j->path);
    mem_free(j);
}

static bool given_up(struct weights_ahead *w, const struct job *j) {
    return atomic_load(&w->wanted) != j->serial;
}

bool weights_ahead_fits(uint64_t file_bytes, uint64_t in_use_bytes, uint64_t available_bytes) {
    return available_bytes >= SPARE_BYTES && available_bytes - SPARE_BYTES >= in_use_bytes &&
           available_bytes - SPARE_BYTES - in_use_bytes >= file_bytes;
}

static uint64_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* 0: they are not all there. */
static uint64_t size_of_parts(const char *path, uint32_t n_parts) {
    uint64_t sum = 0;
    for (uint32_t i = 1; i <= n_parts; i++) {
        char *part = gguf_parts_path(path, i);
        uint64_t size = part ? size_of(part) : 0;
        mem_free(part);
        if (!size) return 0;
        sum += size;
    }
    return sum;
}

/* 0: not known here; then nothing is read ahead. */
static uint64_t available_bytes(void) {
    uint64_t machine = proc_mem_available_bytes(), group = proc_mem_cgroup_room_bytes();
    return machine < group ? machine : group;
}

/* Read and thrown away: at the disk's pace, on every system. (A hint would spare the copy, but Linux takes each for no more than the
 * device's read-ahead size and drops the rest.) */
static uint64_t read_part(struct weights_ahead *w, const struct job *j, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    uint64_t at = 0;
    for (ssize_t n = 1; n > 0 && !given_up(w, j); at += (uint64_t)(n > 0 ? n : 0))
        n = pread(fd, w->piece, PIECE_BYTES, (off_t)at);
    close(fd);
    return at;
}

static void read_model(struct weights_ahead *w, const struct job *j) {
    uint32_t n_parts = gguf_parts_count(j->path, NULL);
    uint64_t size = size_of_parts(j->path, n_parts), available = available_bytes(), done = 0;
    int64_t began_ns = clock_now_ns();
    bool fits = size > 0 && weights_ahead_fits(size, j->in_use_bytes, available);
    for (uint32_t i = 1; fits && i <= n_parts && !given_up(w, j); i++) {
        char *part = gguf_parts_path(j->path, i);
        if (part) done += read_part(w, j, part);
        mem_free(part);
    }
    log_debug("weights.ahead", "path=%s bytes=%llu of=%llu ms=%lld available=%llu", log_q(j->path),
              (unsigned long long)done, (unsigned long long)size,
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS), (unsigned long long)available);
}

static void *ahead_thread(void *arg) {
    struct weights_ahead *w = arg;
    for (;;) {
        struct job *j = mailbox_take(w->jobs, -1);
        if (!j) continue;
        if (j == &w->stop) return NULL;
        if (!given_up(w, j)) read_model(w, j);
        job_free(j);
    }
}

enum err weights_ahead_open(struct weights_ahead **ret) {
    struct weights_ahead *w = mem_alloc(sizeof *w);
    if (!w) return ERR_NOMEM;
    enum err err = (w->piece = mem_alloc(PIECE_BYTES)) ? ERR_OK : ERR_NOMEM;
    if (!err) err = mailbox_open(JOBS_MAX + 1, &w->jobs);
    if (!err && pthread_create(&w->thread, NULL, ahead_thread, w)) err = ERR_NOMEM;
    w->started = err == ERR_OK;
    if (err) {
        weights_ahead_free(w);
        return err;
    }
    *ret = w;
    return ERR_OK;
}

void weights_ahead_free(struct weights_ahead *w) {
    if (!w) return;
    weights_ahead_end(w);
    if (w->started) {
        must(mailbox_post(w->jobs, &w->stop) == ERR_OK);
        (void)pthread_join(w->thread, NULL);
    }
    for (struct job *j; w->jobs && (j = mailbox_take(w->jobs, 0));)
        if (j != &w->stop) job_free(j);
    mailbox_free(w->jobs);
    mem_free(w->piece);
    mem_free(w);
}

void weights_ahead_begin(struct weights_ahead *w, const char *path, uint64_t in_use_bytes) {
    weights_ahead_end(w);
    if (mailbox_count(w->jobs) >= JOBS_MAX) return; /* a disk that hangs */
    struct job *j = mem_alloc(sizeof *j);
    if (!j) return;
    *j = (struct job){
        .path = mem_strdup(path), .in_use_bytes = in_use_bytes, .serial = atomic_load(&w->wanted)};
    if (!j->path || mailbox_post(w->jobs, j)) job_free(j);
}

void weights_ahead_end(struct weights_ahead *w) {
    atomic_fetch_add(&w->wanted, 1);
}
