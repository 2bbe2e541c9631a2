#include "http/look_answer.h"

#include "base/json.h"
#include "base/utf8.h"

static void write_piece(struct json_out *w, const uint8_t *piece, size_t size) {
    if (utf8_valid((const char *)piece, size)) {
        json_strn(w, (const char *)piece, size);
        return;
    }
    json_arr(w);
    for (size_t i = 0; i < size; i++) json_u64(w, piece[i]);
    json_end(w);
}

static enum err write_tokens(struct json_out *w, const struct msg_done *d) {
    static const uint8_t nothing[1];
    const uint8_t *text = d->text.data ? d->text.data : nothing;
    size_t from = 0;
    if (d->ends.n > 0 && d->ends.n != d->ids.n) return ERR_PROTOCOL;
    json_arr(w);
    for (uint32_t i = 0; i < d->ids.n; i++) {
        if (d->ends.n == 0) {
            json_i64(w, d->ids.ids[i]);
            continue;
        }
        size_t to = (size_t)d->ends.ids[i];
        if (d->ends.ids[i] < 0 || to < from || to > d->text.size) return ERR_PROTOCOL;
        json_obj(w);
        json_key(w, "id");
        json_i64(w, d->ids.ids[i]);
        json_key(w, "piece");
        write_piece(w, text + from, to - from);
        json_end(w);
        from = to;
    }
    json_end(w);
    return ERR_OK;
}

enum err look_answer_put(enum answer_kind kind, const struct reply *r, struct buf *out) {
    struct json_out w = json_out_into(out);
    enum err err = ERR_OK;
    json_obj(&w);
    if (kind == ANSWER_TOKENS) {
        json_key(&w, "tokens");
        err = write_tokens(&w, &r->done);
    } else {
        json_key(&w, kind == ANSWER_PROMPT ? "prompt" : "content");
        json_strn(&w, r->done.text.data ? (const char *)r->done.text.data : "", r->done.text.size);
    }
    if (err) return err;
    json_end(&w);
    return out->error;
}
