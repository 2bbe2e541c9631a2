#include "seat/room.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define MAIL_PER_TURN                                                                                        \
    32 /* then a step: a prompt takes milliseconds to tokenize, and streams wait for their next token */

/* ---- the disk thread's jobs ---- */

bool room_post_job(struct room *r, struct disk_job *job) {
    if (r->n_jobs < SEAT_JOBS_MAX && disk_worker_post(r->disk, job, false) == ERR_OK) {
        r->n_jobs++;
        return true;
    }
    atomic_fetch_add(&r->stats->full_mailboxes, 1);
    atomic_fetch_sub(&r->stats->dirty_bytes, job->dirty_bytes);
    disk_job_free(job);
    return false;
}

/* Nobody's tokens. Of a model that is not ready the tag is not known here: then those of all that are not go. */
static void forget_recent(struct room *r, const char *model) {
    bool seated = r->state == ROOM_READY && strcmp(model, r->model) == 0;
    memset(r->asked, 0, sizeof r->asked);
    for (uint32_t i = 0; i < RECENT_CHAINS; i++) {
        if (model[0] && hash128_equal(r->recent[i].tag, r->tag) != seated) continue;
        mem_free(TAKE(r->recent[i].tokens));
        r->recent[i].n = 0;
    }
}

/* An administrator deleted it on disk: idle ones go, running ones will write everything again. */
static void forget(struct room *r, const struct msg_query *q) {
    if (q->what == MSG_QUERY_CACHE_DELETE) forget_recent(r, q->model);
    if (!r->model || (q->model[0] && strcmp(q->model, r->model) != 0)) return;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (q->what == MSG_QUERY_CACHE_DELETE || strcmp(s->agent, q->agent) == 0) sequence_drop(r, s);
    }
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->seq && (q->what == MSG_QUERY_CACHE_DELETE || strcmp(t->seq->agent, q->agent) == 0))
            sequence_forget_saved(t->seq);
    }
    r->residents_changed = true;
}

/* The store was opened anew, perhaps in a folder made anew: of nothing is known any more that it is there. */
static void look_at_opening(struct room *r, const struct disk_job *job) {
    if (job->opening == r->opening) return;
    r->opening = job->opening;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        sequence_forget_saved(s);
    }
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->seq) sequence_forget_saved(t->seq);
    }
    r->residents_changed = true;
}

static void take_job(struct room *r, struct disk_job *job) {
    if (job->kind == DISK_QUERY) { /* not ours: no count */
        forget(r, &job->msg.query);
        must(disk_worker_post(r->disk, job, false) == ERR_OK); /* seat_mail.h: there is always room */
        return;
    }
    must(r->n_jobs > 0);
    r->n_jobs--;
    r->n_answers++;
    look_at_opening(r, job);
    switch (job->kind) {
    case DISK_HASH:
    case DISK_SELF_TEST_GET:
    case DISK_FLUSH:
    case DISK_CLOSE: room_op_answer(r, job); break;
    case DISK_CHAINS: admit_chains(r, job); break;
    case DISK_PLAN: restore_planned(r, job); break;
    case DISK_GET: restore_got(r, TAKE(job)); break;
    case DISK_PUT:
    case DISK_NOTE: save_written(r, job); break;
    case DISK_RESIDENTS: r->residents_posted = false; break;
    case DISK_SELF_TEST_PUT:
    case DISK_UNSAVED: break;
    case DISK_OPEN:
    case DISK_SETTINGS:
    case DISK_READ_AHEAD:
    case DISK_QUERY: must(false);
    }
    disk_job_free(job);
}

/* ---- mail of the link thread ---- */

static void cancel(struct room *r, uint64_t request) {
    atomic_fetch_add(&r->stats->cancels_read, 1);
    struct stream *t = stream_find_request(r, request);
    if (t) stream_end_failed(r, t, ERR_CANCELED, NULL);
}

static void take_msg(struct room *r, struct msg *m) {
    switch ((int)m->type) { /* int: most types are not for this direction */
    case MSG_TYPE_MEASURE: room_measure(r, &m->measure); break;
    case MSG_TYPE_LOAD: room_load(r, &m->load); break;
    case MSG_TYPE_CONFIGURE: room_configure(r, &m->configure); break;
    case MSG_TYPE_EVICT: room_op_begin(r, m->type, m->evict.op); break;
    case MSG_TYPE_STOP: room_op_begin(r, m->type, m->stop.op); break;
    case MSG_TYPE_UNLOAD: room_unload(r, m->unload.op); break;
    case MSG_TYPE_PARK:
        room_park_all(r);
        outbox_reply(r->out, m->park.op, ERR_OK, NULL, NULL);
        break;
    case MSG_TYPE_SUBMIT: admit_submit(r, &m->submit); break;
    case MSG_TYPE_CANCEL: cancel(r, m->cancel.request); break;
    default: must(false); /* the link thread passes on nothing else */
    }
}

static bool take_mail(struct room *r, int64_t timeout_ns) {
    struct mail *mail = mailbox_take(r->inbox, timeout_ns);
    if (!mail) return false;
    if (mail->kind == MAIL_JOB) {
        take_job(r, CONTAINER_OF(mail, struct disk_job, mail));
        return true;
    }
    struct mail_msg *m = CONTAINER_OF(mail, struct mail_msg, mail);
    take_msg(r, &m->msg);
    mail_msg_free(m);
    return true;
}

/* ---- place ---- */

/* NOBODY (save.h): asked once, by no name. */
static bool is_one_shot(const struct sequence *s) {
    return !s->agent[0] && !s->shared;
}

bool room_may_wait(struct room *r, struct sequence *s) {
    int64_t now = clock_now_ns();
    uint64_t signs = r->n_answers + atomic_load(&r->stats->scan_steps); /* of life */
    if (r->disk_hangs && signs == r->hangs_since) return false;
    r->disk_hangs = false;
    if (s->leave_since_ns == 0 || r->turn - s->leave_turn > 1) {
        s->leave_since_ns = now;
        s->leave_signs = signs;
    }
    s->leave_turn = r->turn;
    if (now - s->leave_since_ns < LEAVE_SECONDS_MAX * NS_PER_S) return true;
    r->disk_hangs = r->n_jobs > 0 && s->leave_signs == signs;
    r->hangs_since = signs;
    return false;
}

bool room_leave(struct room *r, struct sequence *s) {
    if (is_one_shot(s)) { /* not worth the disk */
        sequence_drop(r, s);
        return true;
    }
    bool saved = save_sequence(r, s, SAVE_LEAVING);
    if (!saved && room_may_wait(r, s)) return false;
    save_say_lost(r, s);
    sequence_drop(r, s);
    return true;
}

uint32_t room_blocks_idle(const struct room *r, const struct sequence *keep) {
    uint32_t n = 0;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (s != keep) n += s->held;
    }
    return n;
}

static bool slot_free(const struct room *r) {
    for (uint32_t i = 0; i < r->pool.n_seqs; i++)
        if (!r->slots[i]) return true;
    return false;
}

/* The oldest that leaves without work: on the disk, or not to be written; else the oldest. */
static struct sequence *next_to_leave(struct room *r, const struct sequence *keep) {
    struct sequence *oldest = NULL;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (s == keep) continue;
        if (is_one_shot(s) || save_is_done(r, s)) return s;
        if (!oldest) oldest = s;
    }
    return oldest;
}

bool room_make_place(struct room *r, uint32_t n_blocks, bool slot, const struct sequence *keep) {
    if (r->pool.n_free + room_blocks_idle(r, keep) < n_blocks) return false; /* nobody leaves in vain */
    for (;;) {
        if (r->pool.n_free >= n_blocks && (!slot || slot_free(r))) return true;
        struct sequence *next = next_to_leave(r, keep);
        if (!next || !room_leave(r, next)) return false;
    }
}

/* ADR 4: what lies idle in the cells costs every token of the others. */
static bool has_stayed(const struct room *r, const struct sequence *s) {
    return r->n_decoded - s->idle_since >= IDLE_TOKENS;
}

void room_leave_idle(struct room *r) {
    bool any = false;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        any = any || has_stayed(r, s);
    }
    if (!any) return;
    admit_mark_wanted(r);
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (!has_stayed(r, s) || s->wanted) continue;
        if (is_one_shot(s) || (r->cache_on && !s->turn_unsaved && save_is_done(r, s))) sequence_drop(r, s);
    }
}

bool room_asked_before(struct room *r, const int32_t *tokens, uint32_t n) {
    if (n < BLOCK_TOKENS) return false;
    struct block_name name = block_name_of((struct block_name){0}, r->tag, tokens, BLOCK_TOKENS);
    for (uint32_t i = 0; i < ASKED_BLOCKS; i++)
        if (hash128_equal(r->asked[i].h, name.h)) return true;
    r->asked[r->next_asked++ % ASKED_BLOCKS] = name;
    return false;
}

void room_remember_chain(struct room *r, const int32_t *tokens, uint32_t n) {
    int32_t *copy = mem_dup(tokens, n * sizeof *tokens);
    if (!copy) return; /* only a splice less */
    uint32_t i = r->next_recent++ % RECENT_CHAINS;
    mem_free(r->recent[i].tokens);
    r->recent[i].tag = r->tag;
    r->recent[i].tokens = copy;
    r->recent[i].n = n;
}

void room_disk_answers(struct room *r) {
    r->save_again_ns = 0;
    r->save_again_wait_ns = SAVE_AGAIN_NS;
}

static int64_t idle_ns(void) {
    int64_t ms = IDLE_SECONDS * 1000;
    (void)fault_hit(FAULT_IDLE_SHORT, &ms);
    return ms * NS_PER_MS;
}

/* SAVED OR STAYS: s has been idle for so long that it leaves the cells, once all of it is on the disk. What the disk has refused is
 * tried again, one sequence at a time. Without a cache it stays: only its place is a reason to lose it.
 * PROBE: a disk that has refused twice is asked for one thing, every SAVE_AGAIN_MAX_NS; all the rest follows at once when it takes it
 * (or anything else: room_disk_answers). So a full disk costs nobody anything, and one that is back is noticed soon. The rest of a
 * turn's end of which something was refused waits for that, too: or beside running streams its first blocks would be taken out of
 * the cells in every turn of the loop. */
static void leave_or_stay(struct room *r, struct sequence *s, bool leaves, int64_t now) {
    if (!r->cache_on || s->turn_unsaved || s->n_posted > 0) return;
    if (save_is_done(r, s)) {
        if (leaves) sequence_drop(r, s);
        return;
    }
    if (now < r->save_again_ns) return;
    uint32_t before = r->n_jobs;
    if (r->save_again_wait_ns > SAVE_AGAIN_NS)
        save_probe(r, s);
    else
        s->turn_unsaved = !save_sequence(r, s, SAVE_TURN);
    if (r->n_jobs == before) return; /* nothing to ask for: the next one */
    if (r->save_again_wait_ns < SAVE_AGAIN_NS) r->save_again_wait_ns = SAVE_AGAIN_NS;
    r->save_again_ns = now + r->save_again_wait_ns;
    if (r->save_again_wait_ns < SAVE_AGAIN_MAX_NS) r->save_again_wait_ns *= 2;
}

/* Turns' ends that could not be saved at once, and idle ones whose time is up. */
static bool tend_idle(struct room *r) {
    bool did = false;
    int64_t now = clock_now_ns(), leave_after = r->idle.count > 0 ? idle_ns() : 0;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (is_one_shot(s)) {
            if (has_stayed(r, s) && now - s->idle_since_ns >= leave_after) sequence_drop(r, s);
            continue;
        }
        if (s->turn_unsaved && s->refused) {
            s->turn_unsaved = false; /* PROBE */
        } else if (s->turn_unsaved && save_sequence(r, s, SAVE_TURN)) {
            s->turn_unsaved = false;
            r->residents_changed = true;
            did = true;
        }
        leave_or_stay(r, s, now - s->idle_since_ns >= leave_after, now);
    }
    return did;
}

/* ---- figures ---- */

/* Who has several sequences is saved when all of them are. */
static bool is_saved(struct room *r, const char *agent) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->seq && strcmp(t->seq->agent, agent) == 0 && !save_is_done(r, t->seq)) return false;
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (strcmp(s->agent, agent) == 0 && !save_is_done(r, s)) return false;
    }
    return true;
}

/* An agent may have several sequences; keys must not repeat. The newest one speaks for it. */
static bool spoken_for(struct room *r, const struct sequence *s) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->seq && t->seq != s && strcmp(t->seq->agent, s->agent) == 0 && t->seq->serial > s->serial)
            return true;
    }
    LIST_EACH(&r->idle, struct sequence, node, other) {
        if (other != s && strcmp(other->agent, s->agent) == 0 && other->serial > s->serial) return true;
    }
    return false;
}

static bool speaks(struct room *r, const struct sequence *s) {
    return s && s->agent[0] && !spoken_for(r, s);
}

static void resident_write(struct room *r, struct json_out *w, const struct sequence *s) {
    if (!speaks(r, s)) return;
    json_key(w, s->agent), json_obj(w);
    json_key(w, "tokens"), json_u64(w, s->n_tokens);
    json_key(w, "saved"), json_boolean(w, is_saved(r, s->agent));
    json_end(w);
}

static uint64_t count_residents(struct room *r) {
    uint64_t n = 0;
    LIST_EACH(&r->streams, struct stream, node, t) {
        n += speaks(r, t->seq);
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        n += speaks(r, s);
    }
    return n;
}

static void publish_residents(struct room *r) {
    if (!r->residents_changed || r->residents_posted) return;
    struct disk_job *job = disk_job_new(DISK_RESIDENTS, 0);
    if (!job) return;
    struct buf text = BUF(0);
    struct json_out w = json_out_into(&text);
    json_obj(&w);
    json_key(&w, "model"), json_str(&w, r->model ? r->model : "");
    json_key(&w, "agents"), json_obj(&w);
    LIST_EACH(&r->streams, struct stream, node, t) {
        resident_write(r, &w, t->seq);
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        resident_write(r, &w, s);
    }
    json_end(&w);
    json_end(&w);
    atomic_store(&r->stats->agents_resident, count_residents(r));
    job->text = buf_take_string(&text);
    if (!job->text) disk_job_free(TAKE(job));
    if (!job || !room_post_job(r, job)) return; /* next turn again */
    r->residents_changed = false;
    r->residents_posted = true;
}

static void publish_stats(struct room *r) {
    atomic_store(&r->stats->running, r->n_running);
    atomic_store(&r->stats->cells, (uint64_t)r->pool.n_blocks * BLOCK_TOKENS);
    atomic_store(&r->stats->cells_used, r->state == ROOM_READY ? engine_cells_used(r->engine) : 0);
}

void room_send_stats(struct room *r) {
    publish_stats(r);
    atomic_store(&r->stats->agents_resident, count_residents(r));
    seat_stats_send(r->stats, r->out);
}

/* ---- the loop ---- */

void room_reap(struct room *r) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_ENDED) stream_free(r, t);
    }
}

/* One turn. True: there is more to do at once. */
static bool step(struct room *r) {
    bool busy = false;
    save_step_begin(r);
    if (r->state == ROOM_READY) {
        busy = admit_step(r);
        busy = restore_step(r) || busy;
        busy = follow_step(r) || busy;
        busy = batch_step(r) || busy;
        if (r->op.step ==
            STEP_NONE) /* EVICT and STOP save for the last time: nothing is posted meanwhile that may be refused */
            busy = tend_idle(r) || busy;
    }
    room_reap(r);
    room_op_step(r);
    publish_residents(r);
    publish_stats(r);
    return busy;
}

/* While something waits for the disk its answer is mail; the clock matters for a step that waits for it, and for idle sequences. */
static int64_t sleep_ns(struct room *r) {
    int64_t due_ns = batch_word_due_ns(r), left = due_ns - clock_now_ns();
    if (due_ns) return left > 0 ? left : 0;
    if (r->op.step != STEP_NONE || r->streams.count > 0) return 100 * NS_PER_MS;
    return r->idle.count > 0 ? NS_PER_S : -1;
}

void room_run(struct room *r) {
    bool busy = false;
    while (!r->ended) {
        bool mail = take_mail(r, busy ? 0 : sleep_ns(r));
        for (int n = 1; mail && n < MAIL_PER_TURN && !r->ended; n++) mail = take_mail(r, 0);
        busy = step(r);
    }
}

enum err room_open(const struct room_ports *ports, struct room **ret) {
    struct room *r = mem_alloc(sizeof *r);
    if (!r) return ERR_NOMEM;
    r->engine = ports->engine;
    r->inbox = ports->inbox;
    r->disk = ports->disk;
    r->out = ports->out;
    r->stats = ports->stats;
    list_init(&r->streams);
    list_init(&r->idle);
    *ret = r;
    return ERR_OK;
}

void room_free(struct room *r) {
    if (!r) return;
    LIST_EACH(&r->streams, struct stream, node, t) {
        stream_drop_sequence(r, t);
        stream_free(r, t);
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        sequence_drop(r, s);
    }
    for (uint32_t i = 0; i < RECENT_CHAINS; i++) mem_free(r->recent[i].tokens);
    if (r->state != ROOM_EMPTY) engine_unload(r->engine);
    mem_free(r->model);
    mem_free(r->path);
    mem_free(r);
}
