#include "seat/seat.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"
#include "link/channel.h"
#include "seat/room.h"

#define STATS_EVERY_NS NS_PER_S
#define CANCEL_PATIENCE_NS (200 * NS_PER_MS) /* steps are shorter on a machine that suits its model */
#define CANCEL_LOOK_MS 50
#define ENGINE_STACK_BYTES ((size_t)64 << 20)

struct seat {
    struct channel *channel;
    struct engine *engine;
    struct mailbox *engine_inbox;
    struct outbox *out;
    struct disk_worker *disk;
    struct room *room;
    struct seat_stats stats;
    pthread_t engine_thread;
    bool engine_started, measure, greeted, debug, exiting;
    uint64_t n_cancels;                     /* handed to the engine thread */
    int64_t cancel_since_ns, stop_since_ns; /* 0: none asked for, or (cancels) all are read */
    int64_t next_stats_ns;
};

/* ---- to the engine thread ---- */

/* Cancels and stops have a share of the box of their own. */
static enum err to_engine(struct seat *s, struct msg *m) {
    bool urgent = m->type == MSG_TYPE_CANCEL || m->type == MSG_TYPE_STOP;
    size_t room = urgent ? 2 * MAILBOX_MAIL_MAX : MAILBOX_MAIL_MAX;
    if (mailbox_count(s->engine_inbox) >= room) {
        atomic_fetch_add(&s->stats.full_mailboxes, 1);
        return ERR_QUEUE_FULL;
    }
    struct mail_msg *mail = mail_msg_new(m);
    if (!mail) return ERR_NOMEM;
    enum err err = mailbox_post(s->engine_inbox, &mail->mail);
    if (err) mail_msg_free(mail);
    return err;
}

static void op_to_engine(struct seat *s, struct msg *m, uint64_t op) {
    enum err err = to_engine(s, m);
    if (err) outbox_op_failed(s->out, op, err, NULL);
}

static void submit(struct seat *s, struct msg *m) {
    uint64_t request = m->submit.request;
    enum err err = to_engine(s, m);
    if (err) outbox_failed(s->out, request, err, NULL);
}

/* ---- to the disk thread ---- */

static enum err to_disk(struct seat *s, enum disk_job_kind kind, struct msg *m) {
    struct disk_job *job = disk_job_new(kind, 0);
    if (!job) return ERR_NOMEM;
    job->msg = *m;
    enum err err = disk_worker_post(s->disk, job, true);
    *m = (struct msg){0};
    if (err) disk_job_free(job);
    return err;
}

static bool hello(struct seat *s, struct msg *m) {
    if (s->greeted) return false;
    s->greeted = true;
    s->debug = m->hello.debug != 0;
    log_set_level(m->hello.log_level <= LOG_DEBUG ? (enum log_level)m->hello.log_level : LOG_INFO);
    return to_disk(s, DISK_OPEN, m) == ERR_OK;
}

static void settings(struct seat *s, struct msg *m) {
    log_set_level(m->settings.log_level <= LOG_DEBUG ? (enum log_level)m->settings.log_level : LOG_INFO);
    enum err err = to_disk(s, DISK_SETTINGS, m);
    if (err) log_warn("seat.settings", "err=%s", err_name(err));
}

static void query(struct seat *s, struct msg *m) {
    uint64_t op = m->query.op;
    enum err err = to_disk(s, DISK_QUERY, m);
    if (err) outbox_reply(s->out, op, err, NULL, NULL);
}

static void read_ahead(struct seat *s, struct msg *m) {
    enum err err = to_disk(s, DISK_READ_AHEAD, m);
    if (err) log_debug("seat.read_ahead", "err=%s", err_name(err)); /* a hint */
}

static void arm_fault(struct seat *s, const struct msg_fault *m) {
    enum err err = s->debug ? fault_arm(m->name, m->times, m->arg) : ERR_FORBIDDEN;
    outbox_reply(s->out, m->op, err, NULL, NULL);
}

/* ---- dispatch ---- */

/* False: the front may not say this, now or ever. */
static bool dispatch(struct seat *s, struct msg *m) {
    if (m->type == MSG_TYPE_HELLO) return hello(s, m);
    if (!s->greeted || (s->measure && m->type != MSG_TYPE_MEASURE)) return false;
    switch ((int)m->type) { /* int: most types are not for this direction */
    case MSG_TYPE_MEASURE: op_to_engine(s, m, m->measure.op); return true;
    case MSG_TYPE_LOAD: op_to_engine(s, m, m->load.op); return true;
    case MSG_TYPE_CONFIGURE: op_to_engine(s, m, m->configure.op); return true;
    case MSG_TYPE_EVICT: op_to_engine(s, m, m->evict.op); return true;
    case MSG_TYPE_UNLOAD: op_to_engine(s, m, m->unload.op); return true;
    case MSG_TYPE_PARK: op_to_engine(s, m, m->park.op); return true;
    case MSG_TYPE_STOP:
        s->stop_since_ns = clock_now_ns();
        op_to_engine(s, m, m->stop.op);
        return true;
    case MSG_TYPE_CANCEL:
        if (s->cancel_since_ns == 0)
            s->cancel_since_ns = clock_now_ns(); /* the first one that waits counts */
        s->n_cancels++;
        return to_engine(s, m) == ERR_OK;
    case MSG_TYPE_SUBMIT: submit(s, m); return true;
    case MSG_TYPE_QUERY: query(s, m); return true;
    case MSG_TYPE_SETTINGS: settings(s, m); return true;
    case MSG_TYPE_READ_AHEAD: read_ahead(s, m); return true;
    case MSG_TYPE_FAULT: arm_fault(s, &m->fault); return true;
    default: return false; /* what only a seat says */
    }
}

/* False: the link is of no more use. */
static bool receive_all(struct seat *s) {
    for (;;) {
        struct msg m = {0};
        enum err err = channel_receive(s->channel, &m);
        if (err == ERR_EOF) _Exit(0); /* the front is gone */
        if (err == ERR_NOMEM) return true;
        if (err) {
            log_error("seat.link", "err=%s", err_name(err));
            return false;
        }
        if (m.type == MSG_NONE) return true;
        enum msg_type type = m.type;
        bool ok = dispatch(s, &m);
        msg_free(&m);
        if (!ok) {
            log_error("seat.link", "unexpected=%s", msg_type_name(type));
            return false;
        }
    }
}

/* A frame leaves the box only when the socket has taken those before it: a front that does not read is noticed there. */
static bool send_all(struct seat *s) {
    for (;;) {
        enum err err = channel_flush(s->channel);
        if (err == ERR_EOF) _Exit(0);
        if (err) return false;
        if (channel_wants_write(s->channel)) return true;
        struct buf *frame = outbox_take(s->out, &s->exiting);
        if (!frame) return true;
        err = channel_send_frame(s->channel, frame->data, frame->size);
        outbox_frame_free(frame);
        if (err) {
            log_error("seat.link", "err=%s", err_name(err));
            return false;
        }
    }
}

/* ---- the clock's work ---- */

static void send_stats(struct seat *s) {
    atomic_store(&s->stats.memory_bytes, proc_mem_private_bytes_about());
    seat_stats_send(&s->stats, s->out);
}

static bool is_overdue(int64_t asked_ns, int64_t started_ns, int64_t now) {
    return asked_ns && started_ns && now - asked_ns >= CANCEL_PATIENCE_NS;
}

/* Who was cancelled is told by mail; here only what keeps the engine thread from reading it is ended. Whether it was read says
 * a count: a step may begin after the cancel was sent and before it is read, for a turn of the loop takes its mail first. */
static void look_at_cancels(struct seat *s, int64_t now) {
    int64_t decode = atomic_load(&s->stats.decode_started_ns), load = atomic_load(&s->stats.load_started_ns);
    if (atomic_load(&s->stats.cancels_read) == s->n_cancels) s->cancel_since_ns = 0;
    if (is_overdue(s->cancel_since_ns, decode, now)) engine_cancel(s->engine, true);
    if (is_overdue(s->stop_since_ns, decode ? decode : load, now)) engine_cancel(s->engine, true);
}

static int wait_ms(const struct seat *s, int64_t now) {
    if (s->cancel_since_ns || s->stop_since_ns) return CANCEL_LOOK_MS;
    int64_t left = s->next_stats_ns - now;
    return left <= 0 ? 0 : (int)(left / NS_PER_MS) + 1;
}

static bool link_loop(struct seat *s) {
    s->next_stats_ns = clock_now_ns() + STATS_EVERY_NS;
    while (!s->exiting) {
        bool writes = channel_wants_write(s->channel);
        struct pollfd p[2] = {
            {.fd = channel_fd(s->channel), .events = (short)(POLLIN | (writes ? POLLOUT : 0))},
            {.fd = writes ? -1 : outbox_fd(s->out), .events = POLLIN}};
        must(poll(p, 2, wait_ms(s, clock_now_ns())) >= 0 || errno == EINTR);
        if (p[0].revents && !receive_all(s)) return false;
        int64_t now = clock_now_ns();
        look_at_cancels(s, now);
        if (s->greeted && !s->measure && now >= s->next_stats_ns) send_stats(s);
        if (now >= s->next_stats_ns) s->next_stats_ns = now + STATS_EVERY_NS;
        if (!send_all(s)) return false;
        if (fault_hit(FAULT_SEAT_EXIT, NULL)) _Exit(1);
    }
    return true;
}

/* ---- start and end ---- */

static void *engine_thread(void *arg) {
    struct seat *s = arg;
    room_run(s->room);
    return NULL;
}

/* Templates, grammars and some tokenizers recurse over what clients send, and macOS gives a thread half a megabyte. Only what is
 * touched takes memory. */
static enum err start_engine_thread(struct seat *s) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) return ERR_NOMEM;
    bool ok = pthread_attr_setstacksize(&attr, ENGINE_STACK_BYTES) == 0 &&
              pthread_create(&s->engine_thread, &attr, engine_thread, s) == 0;
    (void)pthread_attr_destroy(&attr);
    return ok ? ERR_OK : ERR_NOMEM;
}

static enum err start(struct seat *s, int fd) {
    enum err err = channel_open(fd, &s->channel);
    if (err) {
        close(fd);
        return err;
    }
    err = outbox_open(&s->out);
    if (!err) err = mailbox_open(ROOM_INBOX_MAX, &s->engine_inbox);
    if (!err) err = engine_open(&s->engine);
    if (!err) err = disk_worker_open(s->engine_inbox, s->out, &s->stats, &s->disk);
    struct room_ports ports = {
        .engine = s->engine, .inbox = s->engine_inbox, .disk = s->disk, .out = s->out, .stats = &s->stats};
    if (!err) err = room_open(&ports, &s->room);
    if (!err) err = start_engine_thread(s);
    s->engine_started = !err;
    return err;
}

static void finish(struct seat *s) {
    if (s->engine_started) must(pthread_join(s->engine_thread, NULL) == 0);
    if (s->disk) disk_worker_stop(s->disk);
    room_free(s->room);
    for (struct mail *m; s->engine_inbox && (m = mailbox_take(s->engine_inbox, 0));) mail_free(m);
    disk_worker_free(s->disk);
    engine_free(s->engine);
    mailbox_free(s->engine_inbox);
    outbox_free(s->out);
    channel_free(s->channel);
}

int seat_run(int fd, bool measure) {
    struct seat *s = mem_alloc(sizeof *s);
    if (!s) return 1;
    s->measure = measure;
    enum err err = start(s, fd);
    if (err) log_error("seat.start", "err=%s", err_name(err));
    bool ok = !err && link_loop(s);
    if (!ok && s->engine_started) _Exit(1); /* the engine thread may be anywhere */
    finish(s);
    mem_free(s);
    return ok ? 0 : 1;
}
