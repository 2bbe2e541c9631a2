#include "front/weights_ahead.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/page_cache.h"
#include "base/proc_mem.h"
#include "model/gguf_parts.h"

#define JOBS_MAX 16
#define PIECE_BYTES ((size_t)1 << 20)     /* large for a disk, and often enough asked whether to stop */
#define SPARE_BYTES (UINT64_C(512) << 20) /* for everybody else on this machine */

struct job {
    char *path, *left_path; /* left_path NULL: the old model still sits there */
    uint64_t in_use_bytes, serial, round;
    uint64_t done_bytes; /* read */
};

struct weights_ahead {
    struct mailbox *jobs;
    pthread_t thread;
    bool started;
    _Atomic uint64_t wanted; /* serial of the job that is not given up */
    uint64_t round;          /* the owner's: which swap it is */
    struct job *last;        /* the thread's: another job of the same swap goes on with its file */
    char *piece;             /* what was read last */
    struct job stop;         /* this address in the mailbox ends the thread */
};

static void job_free(struct job *j) {
    if (!j) return;
    mem_free(j->path);
    mem_free(j->left_path);
    mem_free(j);
}

static bool given_up(struct weights_ahead *w, const struct job *j) {
    return atomic_load(&w->wanted) != j->serial;
}

bool weights_ahead_fits(uint64_t file_bytes, uint64_t in_use_bytes, uint64_t available_bytes) {
    return available_bytes >= SPARE_BYTES && available_bytes - SPARE_BYTES >= in_use_bytes &&
           available_bytes - SPARE_BYTES - in_use_bytes >= file_bytes;
}

bool weights_ahead_short(uint64_t file_bytes, uint64_t left_bytes, uint64_t beside_bytes,
                         uint64_t available_bytes) {
    if (!available_bytes) return false;
    return left_bytes > UINT64_MAX - beside_bytes ||
           !weights_ahead_fits(file_bytes, left_bytes + beside_bytes, available_bytes);
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
static void read_part(struct weights_ahead *w, struct job *j, const char *path, uint64_t at) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (ssize_t n = 1; n > 0 && !given_up(w, j);) {
        n = pread(fd, w->piece, PIECE_BYTES, (off_t)at);
        if (n <= 0) break;
        at += (uint64_t)n;
        j->done_bytes += (uint64_t)n;
    }
    close(fd);
}

/* What an earlier job of this swap has read of the same file is not read again. */
static uint64_t already_read(const struct weights_ahead *w, const struct job *j) {
    bool same = w->last && w->last->round == j->round && !strcmp(w->last->path, j->path);
    return same ? w->last->done_bytes : 0;
}

static void read_parts(struct weights_ahead *w, struct job *j, uint32_t n_parts) {
    uint64_t begins = 0, from = j->done_bytes;
    for (uint32_t i = 1; i <= n_parts && !given_up(w, j); i++) {
        char *part = gguf_parts_path(j->path, i);
        uint64_t size = part ? size_of(part) : 0;
        if (begins + size > from) read_part(w, j, part, begins < from ? from - begins : 0);
        begins += size;
        mem_free(part);
    }
}

/* Are they one file, by whatever names? */
static bool is_part_of(const char *part, const char *path) {
    struct stat a, b;
    if (stat(part, &a) != 0) return false;
    for (uint32_t i = 1, n = gguf_parts_count(path, NULL); i <= n; i++) {
        char *other = gguf_parts_path(path, i);
        bool same = other && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
        mem_free(other);
        if (same) return true;
    }
    return false;
}

/* Nothing that goes wrong here is worth more than a line: the kernel takes the pages when it needs them. */
static void forget_left(struct weights_ahead *w, const struct job *j, uint32_t n_parts) {
    int64_t began_ns = clock_now_ns();
    enum err err = ERR_OK;
    for (uint32_t i = 1; i <= n_parts && !given_up(w, j); i++) {
        char *part = gguf_parts_path(j->left_path, i);
        enum err e = !part ? ERR_NOMEM : is_part_of(part, j->path) ? ERR_OK : page_cache_forget(part);
        if (e) err = e;
        mem_free(part);
    }
    log_debug("weights.forgotten", "path=%s err=%s ms=%lld", log_q(j->left_path), err_name(err),
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS));
}

/* Memory that is short is made, then what fits is read. */
static void job_do(struct weights_ahead *w, struct job *j) {
    uint32_t n_parts = gguf_parts_count(j->path, NULL);
    uint32_t n_left = j->left_path ? gguf_parts_count(j->left_path, NULL) : 0;
    uint64_t size = size_of_parts(j->path, n_parts), available = available_bytes(), in_use = j->in_use_bytes;
    uint64_t left = n_left ? size_of_parts(j->left_path, n_left) : 0;
    if (left && weights_ahead_short(size, left, in_use, available))
        forget_left(w, j, n_left);
    else
        in_use = left > UINT64_MAX - in_use ? UINT64_MAX : in_use + left;
    int64_t began_ns = clock_now_ns();
    uint64_t before = j->done_bytes;
    if (size > 0 && weights_ahead_fits(size, in_use, available)) read_parts(w, j, n_parts);
    log_debug("weights.ahead", "path=%s bytes=%llu of=%llu ms=%lld available=%llu", log_q(j->path),
              (unsigned long long)(j->done_bytes - before), (unsigned long long)size,
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS), (unsigned long long)available);
}

static void *ahead_thread(void *arg) {
    struct weights_ahead *w = arg;
    for (;;) {
        struct job *j = mailbox_take(w->jobs, -1);
        if (!j) continue;
        if (j == &w->stop) return NULL;
        j->done_bytes = already_read(w, j);
        if (!given_up(w, j)) job_do(w, j);
        job_free(w->last);
        w->last = j;
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
    job_free(w->last);
    mem_free(w->piece);
    mem_free(w);
}

/* The last one counts: what is being read is given up. */
static void job_post(struct weights_ahead *w, const char *path, const char *left_path,
                     uint64_t in_use_bytes) {
    atomic_fetch_add(&w->wanted, 1);
    if (mailbox_count(w->jobs) >= JOBS_MAX) return; /* a disk that hangs */
    struct job *j = mem_alloc(sizeof *j);
    if (!j) return;
    *j = (struct job){.path = mem_strdup(path),
                      .left_path = mem_strdup(left_path),
                      .in_use_bytes = in_use_bytes,
                      .serial = atomic_load(&w->wanted),
                      .round = w->round};
    if (!j->path || (left_path && !j->left_path) || mailbox_post(w->jobs, j)) job_free(j);
}

void weights_ahead_begin(struct weights_ahead *w, const char *path, uint64_t in_use_bytes) {
    w->round++;
    job_post(w, path, NULL, in_use_bytes);
}

void weights_ahead_left(struct weights_ahead *w, const char *next_path, const char *left_path,
                        uint64_t beside_bytes) {
    job_post(w, next_path, left_path, beside_bytes);
}

void weights_ahead_end(struct weights_ahead *w) {
    w->round++;
    atomic_fetch_add(&w->wanted, 1);
}
