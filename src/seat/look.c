#include "seat/look.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "seat/room.h"

struct look {
    int32_t *ids; /* owned, as the others */
    uint32_t n_ids;
    int32_t *ends;
    uint32_t n_ends;
    struct buf text;
    const char *wrong; /* the parameter that FAILED names; NULL. Static */
    char why[512];
};

/* Control tokens give their text, too. */
static enum err put_pieces(struct room *r, struct look *l, const struct msg_tokens *ids) {
    for (uint32_t i = 0; i < ids->n; i++) {
        enum err err = engine_piece(r->engine, ids->ids[i], true, &l->text);
        if (err) return err;
        if (l->ends) l->ends[l->n_ends++] = (int32_t)l->text.size;
    }
    return ERR_OK;
}

static enum err look_tokens(struct room *r, const struct msg_submit *req, struct look *l) {
    const char *text = req->prompt.size ? (const char *)req->prompt.data : "";
    enum err err = engine_tokenize(r->engine, text, req->prompt.size, req->parse_special != 0,
                                   req->add_special != 0, &l->ids, &l->n_ids);
    l->wrong = "content";
    if (err) return err;
    if (l->n_ids > LOOK_TOKENS_MAX) {
        snprintf(l->why, sizeof l->why, "content: has %u tokens; at most %u are taken", l->n_ids,
                 LOOK_TOKENS_MAX);
        return ERR_LIMIT;
    }
    if (!req->with_pieces || l->n_ids == 0) return ERR_OK;
    l->ends = mem_array(l->n_ids, sizeof *l->ends);
    return l->ends ? put_pieces(r, l, &(struct msg_tokens){.ids = l->ids, .n = l->n_ids}) : ERR_NOMEM;
}

static enum err look_text(struct room *r, const struct msg_submit *req, struct look *l) {
    l->wrong = "tokens";
    for (uint32_t i = 0; i < req->prompt_ids.n; i++) {
        int32_t id = req->prompt_ids.ids[i];
        if (id >= 0 && (uint32_t)id < r->info.n_vocab) continue;
        snprintf(l->why, sizeof l->why, "tokens[%u]: %d is not in the vocabulary of %u tokens", i, id,
                 r->info.n_vocab);
        return ERR_INVALID;
    }
    return put_pieces(r, l, &req->prompt_ids);
}

static enum err look_prompt(struct room *r, const struct msg_submit *req, struct look *l) {
    struct engine_chat *chat = NULL;
    enum err err = engine_chat_render(r->engine, req, &chat, l->why, sizeof l->why);
    size_t size = 0;
    const char *prompt = err ? "" : engine_chat_prompt(chat, &size);
    buf_put(&l->text, prompt, size);
    engine_chat_free(chat);
    return err ? err : l->text.error;
}

void look_answer(struct room *r, const struct msg_submit *req) {
    struct look l = {.text = BUF(ANSWER_BYTES_MAX)};
    enum err err = req->look == MSG_LOOK_TOKENS ? look_tokens(r, req, &l)
                   : req->look == MSG_LOOK_TEXT ? look_text(r, req, &l)
                                                : look_prompt(r, req, &l);
    if (err == ERR_LIMIT && !l.why[0])
        snprintf(l.why, sizeof l.why, "the text is longer than %u MB", ANSWER_BYTES_MAX >> 20);
    struct msg m = {.type = MSG_TYPE_DONE,
                    .done = {.request = req->request,
                             .finish = MSG_FINISH_STOP,
                             .ids = {.ids = l.ids, .n = l.n_ids},
                             .text = {.data = l.text.data, .size = (uint32_t)l.text.size},
                             .ends = {.ids = l.ends, .n = l.n_ends}}};
    if (err) m = outbox_failed_msg(req->request, err, l.why[0] ? l.why : NULL, l.wrong);
    outbox_send(r->out, &m);
    mem_free(l.ids);
    mem_free(l.ends);
    buf_free(&l.text);
}
