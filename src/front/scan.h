/* scan.h - looks for models on the disk: every *.gguf of the folders and the files that sections name, each
 * read by gguf_info once per file identity. Knows nothing of the registry: it reports what it found.
 *   scan_run()      looks now, on the caller's thread: for the start
 *   scan_start()    from then on the scan thread owns it; scan_again() asks it to look, results go to `post`
 * Also runs small jobs that block on the disk for the control thread (scan_job). Thread: scan_again() and
 * scan_job() the control thread's; post is called on the scan thread. */
#ifndef HOTSEAT_FRONT_SCAN_H
#define HOTSEAT_FRONT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "front/config.h"
#include "model/gguf_info.h"
#include "model/model_tag.h"

#define SCAN_TEMPLATE_BYTES_MAX (1u << 20) /* templates are up to 100 KB */

struct scan_found {
    char *id, *path;
    struct file_identity identity;
    int64_t created_s; /* the file's modification time: what OpenAI's `created` says */
    enum err err; /* OK: info holds. NOMEM: it was not looked at. Else reason says why it can't be loaded */
    char reason[320];
    bool missing; /* err: it, a part of it or what a link leads to is not there */
    struct gguf_info info;
    char *template_source; /* a section's Jinja file, NULL: none */
};
struct scan_result {
    struct scan_found *found; /* by id */
    uint32_t n_found;
    bool limited;  /* more than MODELS_MAX */
    char **unread; /* folders that are there and could not be read: what is in them is not known */
    uint32_t n_unread;
};
void scan_result_free(struct scan_result *r);

struct scan;
/* config is borrowed by scan_run() only; sections are copied by scan_set_sections(). */
enum err scan_open(const struct config *config, struct scan **ret) NODISCARD;
/* Ends and joins the thread, and waits for a look that is under way, up to two seconds: after that both stay until the process
 * ends, and nothing is posted or done any more. */
void scan_free(struct scan *s);
enum err scan_run(struct scan *s, struct scan_result **ret) NODISCARD;
enum err scan_start(struct scan *s, void (*post)(void *ctx, struct scan_result *result), void *ctx) NODISCARD;
bool scan_again(
    struct scan *s); /* true: a look was asked for, a result (or NULL) will be posted; false: ask later */
/* Runs fn(arg) on the scan thread, after what was asked before, and then done(arg). fn may block on the disk, and so must use
 * nothing of whoever calls scan_free(); done may, and is left out once that has given up. ERR_QUEUE_FULL. */
enum err scan_job(struct scan *s, void (*fn)(void *arg), void (*done)(void *arg), void *arg) NODISCARD;
/* New [model] sections, on the scan thread (from a scan_job) or before scan_start(). */
enum err scan_set_sections(struct scan *s, const struct config *config) NODISCARD;

/* Whether a section's `template` names a file rather than a family. */
bool scan_template_is_file(const char *template_name);

#endif
