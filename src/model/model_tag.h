/* model_tag.h - the name under which a model's KV bytes are stored: everything that changes what a KV byte means.
 * Weights: XXH3-128 of every byte of every part (sampling is not enough: a patched file differs in few bytes).
 * Thread: any; model_hash_step() blocks on the disk. */
#ifndef HOTSEAT_MODEL_MODEL_TAG_H
#define HOTSEAT_MODEL_MODEL_TAG_H

#include "base/hash.h"
#include "model/model_spec.h"

/* What tells one state of a file from another without reading it; parts are summed up by hashing their identities. */
struct file_identity {
    uint64_t size_bytes;
    uint64_t inode;
    uint64_t device;
    int64_t mtime_ns;
    int64_t ctime_ns; /* a patch in place can't set it back, as it can the other one */
};
enum err file_identity_of(const char *path,
                          struct file_identity *ret) NODISCARD; /* follows links; all parts of a split */
bool file_identity_equal(const struct file_identity *a, const struct file_identity *b);

struct model_tag_inputs {
    struct hash128 weights;
    const char *architecture;
    uint32_t n_layers, n_kv_heads, head_k, head_v, window, n_window_layers;
    enum kv_type kv;
    bool flash_attention;
    bool swa_full;
    bool
        rope_long; /* the long rope factors are in use: spec.rope_long_short, and cells > spec.rope_context */
    const char *engine; /* "llama 0.3.36", "fake 1"; of a developer's source with a hash of its libraries */
    uint32_t format_version; /* store_format's */
    bool repack;             /* other matrix kernels write other KV bytes */
};
struct hash128 model_tag_of(const struct model_tag_inputs *in);

/* The whole-file hash in slices, so that its thread can do other work between them. */
struct model_hash;
enum err model_hash_open(const char *path,
                         struct model_hash **ret) NODISCARD; /* first part of a split: all are read */
/* Of the files that were opened: what the path means by now may be another one. ERR_NOMEM. */
enum err model_hash_identity(const struct model_hash *h, struct file_identity *ret) NODISCARD;
/* Reads up to slice_bytes. OK: *ret_done tells whether *ret_hash is there. ERR_IO. ERR_MISMATCH: the file changed meanwhile. */
enum err model_hash_step(struct model_hash *h, uint64_t slice_bytes, bool *ret_done,
                         struct hash128 *ret_hash) NODISCARD;
void model_hash_free(struct model_hash *h);

#endif
