#include "http/answer_parts.h"

#include "base/clock.h"
#include "base/limits.h"

enum err tool_pieces_read(const struct reply *r, struct json **ret) {
    struct json_error where;
    if (r->tool_calls.size == 0) return ERR_OK;
    *ret = json_read(r->tool_calls.data, r->tool_calls.size, &where);
    return json_type(*ret) == JSON_ARRAY ? ERR_OK : ERR_PROTOCOL;
}

enum err tool_piece_at(const struct json *pieces, size_t i, uint32_t n_calls, struct tool_piece *ret) {
    const struct json *piece = json_at(pieces, i), *function = json_get(piece, "function");
    int64_t index = json_int(json_get(piece, "index"), -1);
    if (index < 0 || index > n_calls || index >= TOOLS_MAX) return ERR_PROTOCOL;
    *ret = (struct tool_piece){.index = (uint32_t)index};
    ret->id = json_string(json_get(piece, "id"), NULL);
    ret->name = json_string(json_get(function, "name"), NULL);
    ret->arguments = json_string(json_get(function, "arguments"), &ret->arguments_size);
    return ERR_OK;
}

static void write_ms(struct json_out *w, const char *key, int64_t ns) {
    json_key(w, key);
    int64_t us = ns / NS_PER_US; /* finer is noise */
    json_f64(w, (double)us / 1000.0);
}

void answer_write_hotseat(struct json_out *w, const char *model, const struct reply *r) {
    const struct msg_done *d = &r->done;
    json_key(w, "hotseat");
    json_obj(w);
    json_key(w, "model");
    json_str(w, model ? model : "");
    json_key(w, "agent");
    json_str(w, r->agent && r->agent[0] ? r->agent : NULL);
    write_ms(w, "queue_ms", r->queue_ns);
    write_ms(w, "swap_ms", r->swap_ns);
    write_ms(w, "restore_ms", d->restore_ns);
    write_ms(w, "prefill_ms", d->prefill_ns);
    json_key(w, "prefill_tokens");
    json_u64(w, d->prefill_tokens);
    write_ms(w, "first_token_ms", d->first_token_ns);
    write_ms(w, "decode_ms", d->decode_ns);
    json_key(w, "decode_tokens");
    json_u64(w, d->decode_tokens);
    if (r->debug) {
        json_key(w, "debug");
        json_obj(w);
        json_key(w, "first_logits_xxh3");
        json_str(w, d->first_logits_xxh3 ? d->first_logits_xxh3 : "");
        json_key(w, "kv_xxh3");
        json_str(w, d->kv_xxh3 ? d->kv_xxh3 : "");
        json_key(w, "decoded_tokens");
        json_u64(w, d->decoded_tokens);
        json_end(w);
    }
    json_end(w);
}

void answer_write_bytes(struct json_out *w, const char *key, const struct buf *b) {
    json_key(w, key);
    json_strn(w, b->data ? (const char *)b->data : "", b->size);
}
