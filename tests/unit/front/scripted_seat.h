/* scripted_seat.h - a seat for tests of the front: this very test program, started with --fd 3. What it does is written
 * in the prompts and in the models' names:
 *   prompt  "n=5"         five tokens, one a millisecond; text "t0 t1 ..."; a replay goes on where it stopped
 *           "die=3"       the process ends when the third token is due; "die=0": before any
 *           "hang"        no token ever
 *           "fail"        FAILED with ERR_CONTEXT_LENGTH
 *           "garbage"     bytes that are no frame
 *           "wait=100"    the first token after each submission comes 100 ms later
 *           "reads=2500"  before the first token blocks are put back for 2.5 s, as STATS say
 *           "life=50"     the process ends when this stream has brought 50 tokens in it
 *           "stuck"       is not parked, and PARK gets no answer
 *           "dirty"       STOP is not answered: STATS say the same dirty bytes for ever
 *           "counts"      figures of 5, 9, 7 and 10 restores: the third are older ones that come late
 *           "hinted"      the first token's text is the agent that READ_AHEAD named last
 *           "told"        at once a text without tokens: what SUBMIT says of agent, seed, ids and whether STARTED must say them
 *   agent   "never"       a question about it is not answered
 *   model   "killed..."   SIGKILL while it is measured   "killonce..."   the same, once for the word
 *   words, files in the folder HOTSEAT_FAKE_SCRIPT:
 *           kill          a seat that does not measure takes the file away and ends
 *           slowload      loads take 300 ms   failload   loads fail
 *   model   "dies..."     ends while it is measured     "silent..."   says nothing to that   "badload..."  fails to load     "big..."  needs 100 GB */
#ifndef HOTSEAT_TESTS_SCRIPTED_SEAT_H
#define HOTSEAT_TESTS_SCRIPTED_SEAT_H

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "link/channel.h"

struct scripted_stream {
    uint64_t id;
    char prompt[64];
    uint32_t at, replayed;
    int64_t since_ns;
};
struct scripted_seat {
    struct channel *channel;
    struct scripted_stream streams[64];
    uint32_t n_streams;
    bool garbage, dirty;
    uint64_t blocks_read;
    char hinted[64];
};

/* The path of a word; NULL when it is not there. */
static inline const char *scripted_word(const char *word) {
    static char path[256];
    const char *folder = getenv("HOTSEAT_FAKE_SCRIPT");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "", word);
    return access(path, F_OK) ? NULL : path;
}

static inline void scripted_say(struct scripted_seat *s, struct msg m) {
    if (channel_send(s->channel, &m) || channel_flush(s->channel)) _exit(0);
}

static inline long scripted_number(const char *prompt, const char *key) {
    const char *at = strstr(prompt, key);
    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static inline void scripted_step(struct scripted_seat *s) {
    for (uint32_t i = 0; i < s->n_streams; i++) {
        struct scripted_stream *t = &s->streams[i];
        long n = scripted_number(t->prompt, "n="), die = scripted_number(t->prompt, "die=");
        if (strstr(t->prompt, "hang") || strstr(t->prompt, "stuck")) continue;
        if (t->at == t->replayed &&
            clock_now_ns() - t->since_ns < scripted_number(t->prompt, "wait=") * NS_PER_MS)
            continue;
        if (clock_now_ns() - t->since_ns < scripted_number(t->prompt, "reads=") * NS_PER_MS) {
            scripted_say(s, (struct msg){.type = MSG_TYPE_STATS, .stats.blocks_read = ++s->blocks_read});
            continue;
        }
        if (scripted_number(t->prompt, "life=") == (long)(t->at - t->replayed)) _exit(9);
        if (strstr(t->prompt, "garbage") &&
            send(channel_fd(s->channel), "garbage!garbage!garbage!", 24, 0) == 24)
            _exit(0);
        if (die == (long)t->at) _exit(9);
        if (strstr(t->prompt, "fail")) {
            static char text[] = "the prompt is too long", param[] = "messages";
            scripted_say(
                s,
                (struct msg){
                    .type = MSG_TYPE_FAILED,
                    .failed = {.request = t->id, .err = ERR_CONTEXT_LENGTH, .text = text, .param = param}});
            *t = s->streams[--s->n_streams];
            return;
        }
        if ((long)t->at < n) {
            char text[16];
            int32_t token = (int32_t)t->at;
            int size = strstr(t->prompt, "hinted") ? snprintf(text, sizeof text, "%.15s", s->hinted)
                                                   : snprintf(text, sizeof text, "t%u ", t->at);
            t->at++;
            scripted_say(s, (struct msg){.type = MSG_TYPE_DELTA,
                                         .delta = {.request = t->id,
                                                   .tokens = {&token, 1},
                                                   .text = {(uint8_t *)text, (uint32_t)size}}});
            continue;
        }
        scripted_say(s, (struct msg){.type = MSG_TYPE_DONE,
                                     .done = {.request = t->id,
                                              .finish = MSG_FINISH_STOP,
                                              .prompt_tokens = 7,
                                              .cached_tokens = 5,
                                              .generated_tokens = t->at}});
        *t = s->streams[--s->n_streams];
        return;
    }
}

static inline void scripted_submit(struct scripted_seat *s, const struct msg_submit *m) {
    struct scripted_stream *t = &s->streams[s->n_streams++];
    *t = (struct scripted_stream){
        .id = m->request, .at = m->replay.n, .replayed = m->replay.n, .since_ns = clock_now_ns()};
    snprintf(t->prompt, sizeof t->prompt, "%.*s", (int)m->prompt.size, (const char *)m->prompt.data);
    if (strstr(t->prompt, "dirty")) s->dirty = true;
    static const uint64_t counts[] = {5, 9, 7, 10};
    for (int i = 0; i < 4 && strstr(t->prompt, "counts"); i++)
        scripted_say(s, (struct msg){.type = MSG_TYPE_STATS, .stats.restores = counts[i]});
    int32_t ids[] = {1, 2, 3};
    struct msg_tokens said = {.ids = ids, .n = m->say_ids ? 3 : 0};
    scripted_say(
        s, (struct msg){
               .type = MSG_TYPE_STARTED,
               .started = {.request = t->id, .prompt_tokens = 7, .cached_tokens = 5, .prompt_ids = said}});
    if (!strstr(t->prompt, "told")) return;
    char text[128];
    int size = snprintf(text, sizeof text, "[%s %llu %u %u]", m->agent, (unsigned long long)m->seed,
                        m->prompt_ids.n, m->say_ids);
    scripted_say(s, (struct msg){.type = MSG_TYPE_DELTA,
                                 .delta = {.request = t->id, .text = {(uint8_t *)text, (uint32_t)size}}});
}

static inline void scripted_cancel(struct scripted_seat *s, uint64_t id) {
    for (uint32_t i = 0; i < s->n_streams; i++) {
        if (s->streams[i].id != id) continue;
        s->streams[i] = s->streams[--s->n_streams];
        scripted_say(s,
                     (struct msg){.type = MSG_TYPE_FAILED, .failed = {.request = id, .err = ERR_CANCELED}});
        return;
    }
}

static inline void scripted_measure(struct scripted_seat *s, const struct msg_measure *m) {
    const char *name = strrchr(m->path, '/') + 1;
    if (!strncmp(name, "dies", 4)) abort();
    if (!strncmp(name, "killed", 6)) raise(SIGKILL);
    if (!strncmp(name, "silent", 6)) return;
    const char *once = strncmp(name, "killonce", 8) ? NULL : scripted_word("killonce");
    if (once && !unlink(once)) raise(SIGKILL);
    uint64_t weights = strncmp(name, "big", 3) ? 1u << 20 : UINT64_C(100) << 30;
    scripted_say(s, (struct msg){.type = MSG_TYPE_MEASURED,
                                 .measured = {.op = m->op,
                                              .weights_bytes = weights,
                                              .base_bytes_per_token = 64,
                                              .context_train = 1024}});
}

static inline void scripted_take(struct scripted_seat *s, const struct msg *m) {
    static char none[] = "", text[] = "scripted", off[] = "no cache",
                json[] = "{\"agents\":[{\"id\":\"x\",\"model\":\"a\"}]}";
    switch ((int)m->type) {
    case MSG_TYPE_HELLO:
        scripted_say(s, (struct msg){.type = MSG_TYPE_READY,
                                     .ready = {.generation = m->hello.generation,
                                               .engine = text,
                                               .engine_version = m->hello.cache_dir[0] ? text : off}});
        break;
    case MSG_TYPE_MEASURE: scripted_measure(s, &m->measure); break;
    case MSG_TYPE_LOAD:
        if (scripted_word("slowload")) usleep(300000);
        if (!strncmp(m->load.model, "badload", 7) || scripted_word("failload")) {
            scripted_say(
                s, (struct msg){.type = MSG_TYPE_OP_FAILED,
                                .op_failed = {.op = m->load.op, .err = ERR_MODEL_INVALID, .text = text}});
            break;
        }
        scripted_say(
            s, (struct msg){.type = MSG_TYPE_PROGRESS, .progress = {.op = m->load.op, .permille = 500}});
        scripted_say(s, (struct msg){.type = MSG_TYPE_LOADED, .loaded = {.op = m->load.op}});
        break;
    case MSG_TYPE_CONFIGURE:
        scripted_say(
            s, (struct msg){.type = MSG_TYPE_CONFIGURED,
                            .configured = {
                                .op = m->configure.op, .n_cells = 1024, .tag = none, .cache_reason = none}});
        break;
    case MSG_TYPE_EVICT:
        scripted_say(s, (struct msg){.type = MSG_TYPE_EVICTED, .evicted.op = m->evict.op});
        break;
    case MSG_TYPE_UNLOAD:
        scripted_say(s, (struct msg){.type = MSG_TYPE_UNLOADED, .unloaded.op = m->unload.op});
        break;
    case MSG_TYPE_SUBMIT: scripted_submit(s, &m->submit); break;
    case MSG_TYPE_READ_AHEAD:
        for (uint32_t i = 0; i < m->read_ahead.agents.n; i++)
            snprintf(s->hinted, sizeof s->hinted, "%.*s", (int)m->read_ahead.agents.items[i].size,
                     (const char *)m->read_ahead.agents.items[i].data);
        break;
    case MSG_TYPE_CANCEL: scripted_cancel(s, m->cancel.request); break;
    case MSG_TYPE_PARK:
        if (s->n_streams && strstr(s->streams[0].prompt, "stuck")) break;
        while (s->n_streams)
            scripted_say(
                s, (struct msg){.type = MSG_TYPE_PARKED, .parked.request = s->streams[--s->n_streams].id});
        scripted_say(s, (struct msg){.type = MSG_TYPE_REPLY, .reply.op = m->park.op});
        break;
    case MSG_TYPE_QUERY:
        if (!strcmp(m->query.agent, "never")) break;
        scripted_say(s,
                     (struct msg){.type = MSG_TYPE_REPLY,
                                  .reply = {.op = m->query.op, .json = {(uint8_t *)json, sizeof json - 1}}});
        break;
    case MSG_TYPE_STOP:
        while (s->dirty) {
            scripted_say(s, (struct msg){.type = MSG_TYPE_STATS, .stats.dirty_bytes = 1});
            usleep(100000);
        }
        scripted_say(s, (struct msg){.type = MSG_TYPE_REPLY, .reply.op = m->stop.op});
        _exit(0);
    default: break;
    }
}

static inline int scripted_seat_run(int fd, bool measures) {
    struct scripted_seat s = {0};
    if (channel_open(fd, &s.channel)) return 1;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, s.n_streams ? 1 : 20);
        const char *kill_word = scripted_word("kill");
        if (kill_word && !measures && !unlink(kill_word)) _exit(9);
        for (;;) {
            struct msg m = {0};
            if (channel_receive(s.channel, &m)) _exit(0);
            if (m.type == MSG_NONE) break;
            scripted_take(&s, &m);
            msg_free(&m);
        }
        scripted_step(&s);
    }
}

#endif
